package partition

import (
	"slices"

	"github.com/cespare/xxhash/v2"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// record is a recorded submission as it is kept: clues by their number in the
// game's dictionary.
//
//	key string, verdict|ranked<<7 u8, clue uvarint, at varint, version uvarint, digest u64,
//	points varint, score varint, solves uvarint, attempts uvarint, limit uvarint,
//	reply string, answer string, player string, unlocked (count, then uvarint each)
type record struct {
	key      string
	verdict  Verdict
	ranked   bool
	clue     uint32
	at       fsm.Time
	version  uint64
	digest   uint64
	points   int64
	score    int64  // of the team after it
	solves   uint32 // of the team after it
	attempts uint32 // on the clue after it
	limit    uint32
	reply    string
	answer   string
	player   string
	unlocked []uint32
}

const rankedBit = 1 << 7

func (rec *record) append(w *wire.Writer) {
	w.String(rec.key)
	w.U8(uint8(rec.verdict) | bitIf(rec.ranked, rankedBit))
	w.Uvarint(uint64(rec.clue))
	w.Varint(int64(rec.at))
	w.Uvarint(rec.version)
	w.U64(rec.digest)
	w.Varint(rec.points)
	w.Varint(rec.score)
	w.Uvarint(uint64(rec.solves))
	w.Uvarint(uint64(rec.attempts))
	w.Uvarint(uint64(rec.limit))
	w.String(rec.reply)
	w.String(rec.answer)
	w.String(rec.player)
	w.Uvarint(uint64(len(rec.unlocked)))
	for _, n := range rec.unlocked {
		w.Uvarint(uint64(n))
	}
}

func (r *reader) record() record {
	rec := record{key: r.str()}
	v := r.U8()
	rec.verdict, rec.ranked = Verdict(v&^rankedBit), v&rankedBit != 0
	if rec.verdict >= verdictEnd {
		r.Fail("unknown verdict %d", rec.verdict)
	}
	rec.clue, rec.at, rec.version, rec.digest = r.uint32(), fsm.Time(r.Varint()), r.Uvarint(), r.U64()
	rec.points, rec.score = r.Varint(), r.Varint()
	rec.solves, rec.attempts, rec.limit = r.uint32(), r.uint32(), r.uint32()
	rec.reply, rec.answer, rec.player = r.str(), r.str(), r.str()
	if n := r.Count(MaxClues); n > 0 {
		rec.unlocked = make([]uint32, n)
		for i := range rec.unlocked {
			rec.unlocked[i] = r.uint32()
		}
	}
	return rec
}

// history is a team's records, oldest first: their bytes, which snapshots copy
// as they are, and an index derived from them.
//
// Lookups scan the index: 12 bytes a record, 10,000 records at most, a few
// hundred in a real hunt. Measured against a hash map, the scan is as fast at
// those sizes, takes half the memory, and cannot be attacked with collisions.
type history struct {
	log   []byte // append-only; a Frozen shares the array up to its own length
	index []entry
}

// entry is a record's place, with hashes to find it by; a hit is always verified.
type entry struct {
	key   uint32 // of the key
	wrong uint32 // of clue and digest, for an incorrect one
	start uint32 // in the log; MaxHistory keeps it in 32 bits
}

// add appends rec, whose bytes the caller has made.
func (h *history) add(rec *record, encoded []byte) {
	h.index = append(h.index, entry{hashKey(rec.key), hashWrong(rec.clue, rec.digest), uint32(len(h.log))})
	h.log = append(h.log, encoded...)
}

// at returns record i, counted from 0.
func (h *history) at(i int) record {
	end := len(h.log)
	if i+1 < len(h.index) {
		end = int(h.index[i+1].start)
	}
	r := newReader(h.log[h.index[i].start:end])
	rec := r.record()
	if err := r.Done(); err != nil {
		panic("partition: a record in memory does not decode: " + err.Error())
	}
	return rec
}

// find returns the number (from 0) of the record with this key, or -1.
func (h *history) find(key string) int {
	hash := hashKey(key)
	return slices.IndexFunc(h.index, func(e entry) bool {
		if e.key != hash {
			return false
		}
		r := wire.Reader{B: h.log[e.start:]}
		return string(r.Bytes(MaxKey)) == key
	})
}

// wasWrong reports whether an answer with this digest was already incorrect on
// this clue.
func (h *history) wasWrong(clue uint32, digest uint64) bool {
	hash := hashWrong(clue, digest)
	for i := range h.index {
		if h.index[i].wrong == hash {
			if rec := h.at(i); rec.verdict == VerdictIncorrect && rec.clue == clue && rec.digest == digest {
				return true
			}
		}
	}
	return false
}

func hashKey(key string) uint32 { return uint32(xxhash.Sum64String(key)) }

func hashWrong(clue uint32, digest uint64) uint32 {
	return uint32(digest>>32) ^ uint32(digest) ^ clue*0x9e3779b1
}
