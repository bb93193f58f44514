// Package wire is the hand-laid encoding of everything replicated or sent
// between nodes: commands, snapshots, results.
//
// It is canonical: a value has one encoding and the Reader refuses every
// other, so equal states are equal bytes and replicas can be compared by hash.
//
//	uvarint   LEB128, minimal length, at most 10 bytes
//	varint    zigzag, then uvarint
//	bool      one byte, 0 or 1
//	bytes     uvarint length, then the bytes; string likewise
//	u32, u64  fixed, little endian
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped by every error of a Reader.
var ErrMalformed = errors.New("malformed encoding")

// Writer appends encoded values to B. The zero Writer is ready.
type Writer struct{ B []byte }

func (w *Writer) U8(v uint8)       { w.B = append(w.B, v) }
func (w *Writer) U32(v uint32)     { w.B = binary.LittleEndian.AppendUint32(w.B, v) }
func (w *Writer) U64(v uint64)     { w.B = binary.LittleEndian.AppendUint64(w.B, v) }
func (w *Writer) Uvarint(v uint64) { w.B = binary.AppendUvarint(w.B, v) }
func (w *Writer) Varint(v int64)   { w.B = binary.AppendVarint(w.B, v) }
func (w *Writer) Raw(v []byte)     { w.B = append(w.B, v...) }

func (w *Writer) Bool(v bool) {
	if v {
		w.U8(1)
	} else {
		w.U8(0)
	}
}

func (w *Writer) Bytes(v []byte) {
	w.Uvarint(uint64(len(v)))
	w.B = append(w.B, v...)
}

func (w *Writer) String(v string) {
	w.Uvarint(uint64(len(v)))
	w.B = append(w.B, v...)
}

// Reader decodes from B. Its error sticks: after the first one every method
// returns a zero value, so a decoder reads straight through and asks Done at
// the end. Strings and byte slices returned by Bytes alias B.
type Reader struct {
	B   []byte
	err error
}

// NewReader returns a Reader of b.
func NewReader(b []byte) *Reader { return &Reader{B: b} }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// Done returns the first error, or one that says bytes were left over.
func (r *Reader) Done() error {
	if r.err == nil && len(r.B) > 0 {
		r.Fail("%d bytes left over", len(r.B))
	}
	return r.err
}

// Fail records a decoding error found by the caller.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
	r.B = nil
}

func (r *Reader) take(n int) []byte {
	if r.err != nil || n > len(r.B) {
		r.Fail("%d bytes wanted, %d left", n, len(r.B))
		return nil
	}
	out := r.B[:n:n]
	r.B = r.B[n:]
	return out
}

func (r *Reader) U8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *Reader) U32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *Reader) U64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *Reader) Bool() bool {
	v := r.U8()
	if v > 1 {
		r.Fail("bool is %d", v)
	}
	return v == 1
}

func (r *Reader) Uvarint() uint64 {
	v, n := binary.Uvarint(r.B)
	if n <= 0 || n > 1 && r.B[n-1] == 0 {
		r.Fail("uvarint is cut, too long or not minimal")
		return 0
	}
	r.B = r.B[n:]
	return v
}

func (r *Reader) Varint() int64 {
	u := r.Uvarint()
	v := int64(u >> 1)
	if u&1 != 0 {
		v = ^v
	}
	return v
}

// Int reads a uvarint that may be at most limit.
func (r *Reader) Int(limit int) int {
	v := r.Uvarint()
	if v > uint64(limit) {
		r.Fail("%d is over the limit of %d", v, limit)
		return 0
	}
	return int(v)
}

// Count reads the length of a list of at most limit elements of at least one
// byte each: a count that the remaining bytes cannot hold is refused before
// anything is allocated for it.
func (r *Reader) Count(limit int) int {
	n := r.Int(limit)
	if n > len(r.B) {
		r.Fail("a list of %d in %d bytes", n, len(r.B))
		return 0
	}
	return n
}

// Bytes reads a byte string of at most limit bytes. The result aliases B.
func (r *Reader) Bytes(limit int) []byte { return r.take(r.Int(limit)) }

// String reads a string of at most limit bytes.
func (r *Reader) String(limit int) string { return string(r.Bytes(limit)) }

// Rest returns what is left, at most limit bytes of it.
func (r *Reader) Rest(limit int) []byte {
	if len(r.B) > limit {
		r.Fail("%d bytes left, over the limit of %d", len(r.B), limit)
	}
	return r.take(len(r.B))
}
