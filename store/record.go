package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
)

const (
	// maxReplica is the length of the longest replica name.
	maxReplica = 128
	// maxStable, maxStableKey and maxStableValue limit a stable store, which
	// for raft holds three keys.
	maxStable      = 16
	maxStableKey   = 64
	maxStableValue = 1024
)

// state is what is known of one log beside its entries. A published state is
// never changed; a transaction works on a clone.
type state struct {
	replica     string
	first, last uint64 // 0, 0: no entries
	tail        uint32 // sum of entry last; 0: no entries
	commit      uint64 // at most last
	stable      map[string][]byte
}

func (s *state) clone() *state {
	c := *s
	return &c
}

// set replaces the stable map, because clones share it.
func (s *state) set(key string, value []byte) error {
	if key == "" || len(key) > maxStableKey || len(value) > maxStableValue {
		return fmt.Errorf("store: key %q with %d bytes is beyond the limits (%d and %d)", key, len(value), maxStableKey, maxStableValue)
	}
	if _, ok := s.stable[key]; !ok && len(s.stable) >= maxStable {
		return fmt.Errorf("store: %q would be the %dth key", key, maxStable+1)
	}
	s.stable = maps.Clone(s.stable)
	if s.stable == nil {
		s.stable = map[string][]byte{}
	}
	s.stable[key] = slices.Clone(value)
	return nil
}

// appendState encodes s behind b: replica, first, last, tail, commit, then the
// stable keys in order. Lengths are a byte, or two for values.
func appendState(b []byte, s *state) []byte {
	b = append(b, byte(len(s.replica)))
	b = append(b, s.replica...)
	b = binary.BigEndian.AppendUint64(b, s.first)
	b = binary.BigEndian.AppendUint64(b, s.last)
	b = binary.BigEndian.AppendUint32(b, s.tail)
	b = binary.BigEndian.AppendUint64(b, s.commit)
	b = append(b, byte(len(s.stable)))
	for _, key := range slices.Sorted(maps.Keys(s.stable)) {
		b = append(b, byte(len(key)))
		b = append(b, key...)
		b = binary.BigEndian.AppendUint16(b, uint16(len(s.stable[key])))
		b = append(b, s.stable[key]...)
	}
	return b
}

// decodeState is the inverse of appendState for a whole b.
func decodeState(b []byte) (*state, error) {
	r := reader{b: b}
	s := &state{stable: map[string][]byte{}}
	s.replica = string(r.take(int(r.uint8())))
	s.first, s.last, s.tail, s.commit = r.uint64(), r.uint64(), r.uint32(), r.uint64()
	for n := r.uint8(); n > 0 && !r.short; n-- {
		key := string(r.take(int(r.uint8())))
		s.stable[key] = slices.Clone(r.take(int(r.uint16())))
	}
	switch {
	case r.short || len(r.b) > 0:
		return nil, fmt.Errorf("a record of %d bytes does not end where it should", len(b))
	case s.first > s.last, s.first == 0 && s.last > 0, s.commit > s.last:
		return nil, fmt.Errorf("a record with first %d, last %d, commit %d", s.first, s.last, s.commit)
	}
	return s, nil
}

// line is the head's line about one group.
type line struct {
	group uint32
	sum   uint32 // of the group's record
}

// The head says which groups the file holds and what their records are. It is
// written by every transaction with that transaction's number:
//
//	0  txid   uint64
//	8  n      uint32
//	12 n times group uint32, sum uint32, by group
//	   sum    uint32  CRC32C over the above
//
// bbolt's meta page has the same number under a checksum of its own. So a page
// of an older transaction cannot pass for the head, nor an older record for the
// one that the head names, nor older entries for those that end in the record's
// tail.
const (
	headFixed = 12
	lineSize  = 8
)

func encodeHead(txid uint64, lines []line) []byte {
	b := make([]byte, 0, headFixed+len(lines)*lineSize+4)
	b = binary.BigEndian.AppendUint64(b, txid)
	b = binary.BigEndian.AppendUint32(b, uint32(len(lines)))
	for _, l := range lines {
		b = binary.BigEndian.AppendUint32(b, l.group)
		b = binary.BigEndian.AppendUint32(b, l.sum)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeHead(b []byte) (txid uint64, lines []line, err error) {
	if len(b) < headFixed+4 || (len(b)-headFixed-4)%lineSize != 0 {
		return 0, nil, fmt.Errorf("a head of %d bytes", len(b))
	}
	end := len(b) - 4
	if binary.BigEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli) {
		return 0, nil, fmt.Errorf("the head's checksum is wrong")
	}
	r := reader{b: b[:end]}
	txid = r.uint64()
	if n := r.uint32(); int(n) != len(r.b)/lineSize {
		return 0, nil, fmt.Errorf("a head of %d bytes with %d groups", len(b), n)
	}
	for len(r.b) > 0 {
		l := line{group: r.uint32(), sum: r.uint32()}
		if len(lines) > 0 && lines[len(lines)-1].group >= l.group {
			return 0, nil, fmt.Errorf("the head's groups are out of order")
		}
		lines = append(lines, l)
	}
	return txid, lines, nil
}

// withLine returns lines with the sum of one group, or without it if sum is nil.
func withLine(lines []line, group uint32, sum *uint32) []line {
	at, found := slices.BinarySearchFunc(lines, group, func(l line, g uint32) int {
		return int(int64(l.group) - int64(g))
	})
	switch {
	case sum != nil && found:
		lines[at].sum = *sum
	case sum != nil:
		lines = slices.Insert(lines, at, line{group, *sum})
	case found:
		lines = slices.Delete(lines, at, at+1)
	}
	return lines
}

// reader takes big-endian fields off b. Beyond the end it gives zeros and sets
// short.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.b, r.short = nil, true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (s *state) get(key []byte) ([]byte, error) {
	v, ok := s.stable[string(key)]
	if !ok {
		return nil, errNotFound
	}
	return slices.Clone(v), nil
}

func (s *state) getUint64(key []byte) (uint64, error) {
	v, err := s.get(key)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("store: the value of %q has %d bytes and is no number", key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}
