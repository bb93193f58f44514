package partition

import (
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
// as they are, and what is derived to find one, 12 bytes a record.
//
// Lookups scan the hashes, at most MaxSubmissions of them. Up to some 400, the
// most a team of a real hunt made, that is as fast as a hash map's cache miss;
// at the limit it takes microseconds. It needs a third of a map's memory.
type history struct {
	log    []byte   // append-only; a Frozen shares the array up to its own length
	starts []uint32 // of each record in the log; MaxHistory keeps it in 32 bits
	keys   []uint32 // hash of its key
	wrongs []uint32 // hash of its clue and digest
}

func (h *history) len() int { return len(h.starts) }

// add appends rec, whose bytes the caller has made.
func (h *history) add(rec *record, encoded []byte) {
	h.starts = append(h.starts, uint32(len(h.log)))
	h.keys = append(h.keys, hashKey(rec.key))
	h.wrongs = append(h.wrongs, hashWrong(rec.clue, rec.digest))
	h.log = append(h.log, encoded...)
}

// at returns record i, counted from 0.
func (h *history) at(i int) record {
	end := len(h.log)
	if i+1 < h.len() {
		end = int(h.starts[i+1])
	}
	r := newReader(h.log[h.starts[i]:end])
	rec := r.record()
	if err := r.Done(); err != nil {
		panic("partition: a record in memory does not decode: " + err.Error())
	}
	return rec
}

// find returns the number (from 0) of the record with this key, or -1.
func (h *history) find(key string) int {
	hash := hashKey(key)
	for i, k := range h.keys {
		if k == hash {
			r := wire.Reader{B: h.log[h.starts[i]:]}
			if string(r.Bytes(MaxKey)) == key {
				return i
			}
		}
	}
	return -1
}

// wasWrong reports whether an answer with this digest was already incorrect on
// this clue.
func (h *history) wasWrong(clue uint32, digest uint64) bool {
	hash := hashWrong(clue, digest)
	for i, w := range h.wrongs {
		if w == hash {
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
