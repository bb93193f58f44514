package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const limit = 1 << 10

// A shape says which methods read and write a message: one letter each.
const shapes = "842uvbysi"

// write draws values for a shape and encodes them; it returns them too.
func write(t *rapid.T, shape string) ([]byte, []any) {
	var w Writer
	var values []any
	add := func(v any) { values = append(values, v) }
	for _, s := range shape {
		switch s {
		case '8':
			v := rapid.Uint64().Draw(t, "u64")
			w.U64(v)
			add(v)
		case '4':
			v := rapid.Uint32().Draw(t, "u32")
			w.U32(v)
			add(v)
		case '2':
			v := rapid.Uint8().Draw(t, "u8")
			w.U8(v)
			add(v)
		case 'u':
			v := rapid.Uint64().Draw(t, "uvarint")
			w.Uvarint(v)
			add(v)
		case 'v':
			v := rapid.Int64().Draw(t, "varint")
			w.Varint(v)
			add(v)
		case 'b':
			v := rapid.Bool().Draw(t, "bool")
			w.Bool(v)
			add(v)
		case 'y':
			v := rapid.SliceOfN(rapid.Byte(), 0, limit).Draw(t, "bytes")
			w.Bytes(v)
			add(string(v))
		case 's':
			v := rapid.StringN(0, 100, limit).Draw(t, "string")
			w.String(v)
			add(v)
		case 'i':
			v := rapid.IntRange(0, limit).Draw(t, "int")
			w.Uvarint(uint64(v))
			add(v)
		}
	}
	return w.B, values
}

func read(r *Reader, shape string) []any {
	var values []any
	for _, s := range shape {
		switch s {
		case '8':
			values = append(values, r.U64())
		case '4':
			values = append(values, r.U32())
		case '2':
			values = append(values, r.U8())
		case 'u':
			values = append(values, r.Uvarint())
		case 'v':
			values = append(values, r.Varint())
		case 'b':
			values = append(values, r.Bool())
		case 'y':
			values = append(values, string(r.Bytes(limit)))
		case 's':
			values = append(values, r.String(limit))
		case 'i':
			values = append(values, r.Int(limit))
		}
	}
	return values
}

func rewrite(values []any) []byte {
	var w Writer
	for _, v := range values {
		switch v := v.(type) {
		case uint64:
			w.U64(v)
		case uint32:
			w.U32(v)
		case uint8:
			w.U8(v)
		case bool:
			w.Bool(v)
		case string:
			w.String(v)
		}
	}
	return w.B
}

// TestRoundTrip: what was written is read, a cut message is refused, and so is
// one with a byte too many.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.StringOfN(rapid.SampledFrom([]rune(shapes)), 1, 12, -1).Draw(t, "shape")
		b, want := write(t, shape)
		r := NewReader(b)
		got := read(r, shape)
		if err := r.Done(); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("value %d of %q: wrote %v, read %v", i, shape, want[i], got[i])
			}
		}
		cut := NewReader(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")])
		read(cut, shape)
		if err := cut.Done(); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d of %d bytes of %q: %v", len(cut.B), len(b), shape, err)
		}
		long := NewReader(append(bytes.Clone(b), 0))
		read(long, shape)
		if err := long.Done(); !errors.Is(err, ErrMalformed) {
			t.Fatalf("a byte too many after %q: %v", shape, err)
		}
	})
}

// TestRefusesOtherEncodings: each of these is a second way to write something.
func TestRefusesOtherEncodings(t *testing.T) {
	for name, tc := range map[string]struct {
		b    []byte
		read func(*Reader)
	}{
		"zero in two bytes":       {[]byte{0x80, 0x00}, func(r *Reader) { r.Uvarint() }},
		"300 in three bytes":      {[]byte{0xac, 0x82, 0x00}, func(r *Reader) { r.Uvarint() }},
		"zero in ten bytes":       {append(bytes.Repeat([]byte{0x80}, 9), 0), func(r *Reader) { r.Uvarint() }},
		"more than 64 bits":       {append(bytes.Repeat([]byte{0xff}, 9), 2), func(r *Reader) { r.Uvarint() }},
		"eleven bytes":            {append(bytes.Repeat([]byte{0x80}, 10), 1), func(r *Reader) { r.Uvarint() }},
		"a varint in two bytes":   {[]byte{0x81, 0x00}, func(r *Reader) { r.Varint() }},
		"a length in two bytes":   {[]byte{0x81, 0x00, 'x'}, func(r *Reader) { r.Bytes(9) }},
		"a bool of 2":             {[]byte{2}, func(r *Reader) { r.Bool() }},
		"an int over its limit":   {[]byte{11}, func(r *Reader) { r.Int(10) }},
		"bytes over their limit":  {[]byte{2, 'x', 'x'}, func(r *Reader) { r.Bytes(1) }},
		"a string over its limit": {[]byte{2, 'x', 'x'}, func(r *Reader) { _ = r.String(1) }},
		"a rest over its limit":   {[]byte{'x', 'x'}, func(r *Reader) { r.Rest(1) }},
		"a length beyond the end": {[]byte{3, 'x'}, func(r *Reader) { r.Bytes(9) }},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(tc.b)
			if tc.read(r); !errors.Is(r.Err(), ErrMalformed) {
				t.Errorf("%x: %v", tc.b, r.Err())
			}
		})
	}
	for v, want := range map[int64]uint64{0: 0, -1: 1, 1: 2, math.MaxInt64: math.MaxUint64 - 1, math.MinInt64: math.MaxUint64} {
		b := binary.AppendUvarint(nil, want)
		if got := NewReader(b).Varint(); got != v {
			t.Errorf("zigzag %d is read as %d, want %d", want, got, v)
		}
	}
}

// TestCountHoldsBack: a list cannot claim more elements than bytes are left, so
// nobody allocates for a lie.
func TestCountHoldsBack(t *testing.T) {
	claim := func(n uint64, rest int) *Reader {
		return NewReader(append(binary.AppendUvarint(nil, n), make([]byte, rest)...))
	}
	if r := claim(3, 3); r.Count(9) != 3 || r.Err() != nil {
		t.Error("three elements in three bytes are fine")
	}
	for _, r := range []*Reader{claim(4, 3), claim(10, 20), claim(1<<62, 5), claim(math.MaxUint64, 5)} {
		if n := r.Count(9); n != 0 || r.Err() == nil {
			t.Errorf("Count gives %d: %v", n, r.Err())
		}
	}
}

// TestErrorSticks: after the first error everything is zero, and the first
// error is the one that is told.
func TestErrorSticks(t *testing.T) {
	r := NewReader([]byte{2, 1, 1, 1, 1, 1, 1, 1, 1, 1})
	r.Bool()
	first := r.Err()
	r.Fail("another")
	for i, v := range read(r, shapes) {
		switch v {
		case uint64(0), uint32(0), uint8(0), int64(0), 0, false, "":
		default:
			t.Errorf("value %d after the error is %v", i, v)
		}
	}
	if r.Count(9) != 0 || r.Rest(9) != nil || r.Done() != first {
		t.Errorf("the error changed from %v to %v", first, r.Done())
	}
	if !strings.Contains(first.Error(), "bool is 2") {
		t.Errorf("the error says %q", first)
	}
}

// FuzzReader: no input panics, and of one shape each message that is accepted
// has one encoding.
func FuzzReader(f *testing.F) {
	f.Add("842ys", []byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3, 1, 'x', 0})
	f.Add("uvi", []byte{0xac, 0x02, 1, 7})
	f.Add("b", []byte{1})
	f.Fuzz(func(t *testing.T, shape string, b []byte) {
		r := NewReader(b)
		values := read(r, shape)
		if r.Done() != nil {
			return
		}
		if strings.Trim(shape, "842bys") == "" {
			if again := rewrite(values); !bytes.Equal(again, b) {
				t.Fatalf("%q: %x and %x are the same values %v", shape, b, again, values)
			}
		}
	})
}

// FuzzUvarint: an accepted uvarint is the one AppendUvarint writes.
func FuzzUvarint(f *testing.F) {
	f.Add([]byte{0x80, 0x00})
	f.Add(binary.AppendUvarint(nil, math.MaxUint64))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b)
		v := r.Uvarint()
		if r.Done() == nil && !bytes.Equal(binary.AppendUvarint(nil, v), b) {
			t.Fatalf("%x is read as %d", b, v)
		}
	})
}
