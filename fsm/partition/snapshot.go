package partition

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"io"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// A snapshot is a magic string and frames, each a u32 length and as many bytes:
//
//	head   initialised bool, partition, first slot, last slot, epoch uvarint, log time varint, hunts uvarint
//	hunt   id string, deleted uvarint, incarnation uvarint (0: nothing installed, and nothing follows),
//	       version uvarint, packed rules bytes, dictionary (count, then string each), teams uvarint
//	team   id, name string, kind, status u8, division, meta string, created varint, generation uvarint,
//	       create key, rotate key string, history bytes
//
// Hunts stand in order of id, each followed by its teams in order of id; then
// the file ends. Only what cannot be derived is in it, so what is derived
// cannot be stored wrong, and equal states are equal bytes. Damage is the
// business of the store, which keeps a checksum.
const snapshotMagic = "cairn partition 1\n"

// Limits of a frame. A team's is its history and its texts.
const (
	maxHuntFrame = MaxPacked + MaxClueIDs*(fsm.MaxID+1) + 1<<10
	maxTeamFrame = MaxHistory + 2*MaxName + MaxMeta + 2*MaxKey + 1<<10
)

// Frozen is a machine's state at one moment. It never changes, whatever the
// machine applies, and may be used by another goroutine.
type Frozen struct {
	info  Info
	now   fsm.Time
	hunts []frozenHunt
}

type frozenHunt struct {
	id      fsm.HuntID
	deleted fsm.Incarnation
	game    *game // incarnation, version, packed, dict and teams only; nil: nothing installed
}

// Freeze returns the present state. It copies a few words for each hunt; teams
// are copied when they are next written, if ever.
func (m *Machine) Freeze() *Frozen {
	m.gen++
	f := m.image()
	for i := range f.hunts {
		if g := f.hunts[i].game; g != nil {
			g.teams = g.teams.Copy()
		}
	}
	return f
}

// image is the present state, good until the next Apply.
func (m *Machine) image() *Frozen {
	f := &Frozen{info: m.info, now: m.now, hunts: make([]frozenHunt, 0, m.hunts.Len())}
	m.hunts.Scan(func(id fsm.HuntID, h *hunt) bool {
		fh := frozenHunt{id: id, deleted: h.deleted}
		if g := h.game; g != nil {
			fh.game = &game{incarnation: g.incarnation, version: g.version, packed: g.packed, dict: g.dict, teams: g.teams}
		}
		f.hunts = append(f.hunts, fh)
		return true
	})
	return f
}

// Hash is the SHA-256 of what WriteTo writes.
func (f *Frozen) Hash() (sum [sha256.Size]byte) {
	h := sha256.New()
	if _, err := f.WriteTo(h); err != nil {
		panic("partition: a hash refused to be written to: " + err.Error())
	}
	h.Sum(sum[:0])
	return sum
}

// WriteTo writes the canonical snapshot, a team at a time, and returns the
// number of bytes written and w's first error.
func (f *Frozen) WriteTo(w io.Writer) (int64, error) {
	s := &snapshotWriter{out: bufio.NewWriterSize(w, 64<<10)}
	s.bytes([]byte(snapshotMagic))
	s.head(f)
	for i := range f.hunts {
		h := &f.hunts[i]
		s.hunt(h)
		if h.game != nil {
			h.game.teams.Scan(func(_ fsm.TeamID, t *team) bool {
				s.team(t)
				return s.err == nil
			})
		}
	}
	if s.err == nil {
		s.err = s.out.Flush()
	}
	return s.n, s.err
}

type snapshotWriter struct {
	out *bufio.Writer
	w   wire.Writer // of the frame being made
	len [4]byte     // of it
	n   int64
	err error
}

func (s *snapshotWriter) bytes(b []byte) {
	if s.err == nil {
		_, s.err = s.out.Write(b)
		s.n += int64(len(b))
	}
}

// frame writes the frame made in s.w, with tail behind it.
func (s *snapshotWriter) frame(tail []byte) {
	binary.LittleEndian.PutUint32(s.len[:], uint32(len(s.w.B)+len(tail)))
	s.bytes(s.len[:])
	s.bytes(s.w.B)
	s.bytes(tail)
	s.w.B = s.w.B[:0]
}

func (s *snapshotWriter) head(f *Frozen) {
	s.w.Bool(f.info.Initialised)
	s.w.Uvarint(uint64(f.info.Partition))
	s.w.Uvarint(uint64(f.info.Range.First))
	s.w.Uvarint(uint64(f.info.Range.Last))
	s.w.Uvarint(f.info.Epoch)
	s.w.Varint(int64(f.now))
	s.w.Uvarint(uint64(len(f.hunts)))
	s.frame(nil)
}

func (s *snapshotWriter) hunt(h *frozenHunt) {
	s.w.String(string(h.id))
	s.w.Uvarint(uint64(h.deleted))
	if g := h.game; g == nil {
		s.w.Uvarint(0)
	} else {
		s.w.Uvarint(uint64(g.incarnation))
		s.w.Uvarint(g.version)
		s.w.Bytes(g.packed)
		s.w.Uvarint(uint64(len(g.dict)))
		for _, id := range g.dict {
			s.w.String(string(id))
		}
		s.w.Uvarint(uint64(g.teams.Len()))
	}
	s.frame(nil)
}

func (s *snapshotWriter) team(t *team) {
	s.w.String(string(t.id))
	s.w.String(t.name)
	s.w.U8(uint8(t.kind))
	s.w.U8(uint8(t.status))
	s.w.String(t.division)
	s.w.String(t.meta)
	s.w.Varint(int64(t.created))
	s.w.Uvarint(uint64(t.generation))
	s.w.String(t.createKey)
	s.w.String(t.rotateKey)
	s.w.Uvarint(uint64(len(t.history.log)))
	s.frame(t.history.log) // as it is, without a copy
}
