package partition

import (
	"math"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// entryVersion opens every entry, and every command that travels alone.
const entryVersion = 1

// Timed is a command with the time its leader stamped on it.
type Timed struct {
	Now     fsm.Time
	Command Command
}

// Batch builds a log entry out of commands. The zero Batch is ready, and is a
// legal entry without a command: a barrier for reads.
//
//	entry   = version u8, then to the end: delta uvarint, command
//	delta   = microseconds since the time of the command before, or since 1970
//	command = kind u8, then its fields in the order of the struct
//
// Whatever is in a command's fields, the entry decodes: what breaks a limit is
// refused by Apply, alike on every replica, and never stops one.
type Batch struct {
	w   wire.Writer
	n   int
	now fsm.Time
}

// Add appends c, stamped with now or with the time of the command before if
// that is later. It reports false, and adds nothing, when the entry would hold
// more than MaxBatch commands or MaxEntry bytes.
func (b *Batch) Add(now fsm.Time, c Command) bool {
	if b.n == MaxBatch {
		return false
	}
	if b.n == 0 {
		b.w.B = append(b.w.B[:0], entryVersion)
	}
	before := len(b.w.B)
	now = max(now, b.now)
	b.w.Uvarint(uint64(now - b.now))
	appendCommand(&b.w, c)
	if len(b.w.B) > MaxEntry {
		b.w.B = b.w.B[:before]
		return false
	}
	b.n, b.now = b.n+1, now
	return true
}

// Len is the number of commands.
func (b *Batch) Len() int { return b.n }

// Bytes returns the entry. It stays valid and unchanged after Reset, but not
// after another Add.
func (b *Batch) Bytes() []byte {
	if b.n == 0 {
		return []byte{entryVersion}
	}
	return b.w.B
}

// Reset empties b. The bytes handed out before are let go of, not reused: a
// log keeps them.
func (b *Batch) Reset() { *b = Batch{} }

// Decode reads an entry. The strings of its commands share one copy of the
// entry: clone what outlives them.
func Decode(entry []byte) ([]Timed, error) {
	r := newReader(entry)
	r.version(entryVersion)
	if len(entry) > MaxEntry {
		r.Fail("an entry of %d bytes, over the limit of %d", len(entry), MaxEntry)
	}
	var out []Timed
	now := fsm.Time(0)
	for len(r.B) > 0 {
		if len(out) == MaxBatch {
			r.Fail("more than %d commands", MaxBatch)
			break
		}
		delta := r.Uvarint()
		if delta > uint64(math.MaxInt64-now) {
			r.Fail("time overflows")
		}
		now += fsm.Time(delta)
		out = append(out, Timed{now, r.command()})
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return out, nil
}

// EncodeCommand encodes one command, to be forwarded to the leader.
func EncodeCommand(c Command) []byte {
	w := wire.Writer{B: make([]byte, 0, 256)}
	w.U8(entryVersion)
	appendCommand(&w, c)
	return w.B
}

// DecodeCommand reads what EncodeCommand wrote.
func DecodeCommand(b []byte) (Command, error) {
	r := newReader(b)
	r.version(entryVersion)
	c := r.command()
	if err := r.Done(); err != nil {
		return nil, err
	}
	return c, nil
}
