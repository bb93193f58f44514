package store

import (
	"encoding/binary"
	"fmt"
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
// never changed; a commit works on a clone.
type state struct {
	replica     string
	first, last uint64 // 0, 0: no entries
	tail        uint32 // sum of entry last; 0: no entries
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

// appendState encodes s behind b: replica, first, last, tail, then the
// stable keys in order. Lengths are a byte, or two for values.
func appendState(b []byte, s *state) []byte {
	b = append(b, byte(len(s.replica)))
	b = append(b, s.replica...)
	b = binary.BigEndian.AppendUint64(b, s.first)
	b = binary.BigEndian.AppendUint64(b, s.last)
	b = binary.BigEndian.AppendUint32(b, s.tail)
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
	s.first, s.last, s.tail = r.uint64(), r.uint64(), r.uint32()
	for n := r.uint8(); n > 0 && !r.short; n-- {
		key := string(r.take(int(r.uint8())))
		s.stable[key] = slices.Clone(r.take(int(r.uint16())))
	}
	switch {
	case r.short || len(r.b) > 0:
		return nil, fmt.Errorf("a record of %d bytes does not end where it should", len(b))
	case s.first > s.last, s.first == 0 && s.last > 0:
		return nil, fmt.Errorf("a record with first %d and last %d", s.first, s.last)
	}
	return s, nil
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
