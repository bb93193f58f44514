package controller

import (
	"fmt"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// resultVersion is the first byte of an encoded Result.
const resultVersion = 1

// AppendResult appends the encoding of r, in which it travels between nodes:
// a version byte and the fields in order.
func AppendResult(b []byte, r Result) []byte {
	w := &wire.Writer{B: append(b, resultVersion)}
	r.fields(&codec{w: w})
	return w.B
}

// ReadResult is the inverse of AppendResult and accepts nothing else. An error
// of a kind this build does not know is kept, and shows as internal.
func ReadResult(b []byte) (Result, error) {
	rd := wire.NewReader(b)
	if v := rd.U8(); rd.Err() == nil && v != resultVersion {
		rd.Fail("version %d of a result is unknown to this build", v)
	}
	var r Result
	r.fields(&codec{r: rd})
	if err := rd.Done(); err != nil {
		return Result{}, fmt.Errorf("decode controller result: %w", err)
	}
	return r, nil
}

func (r *Result) fields(c *codec) {
	optional(c, &r.Err, func(c *codec, e *fsm.Error) {
		c.u8((*uint8)(&e.Kind))
		c.string(&e.Msg)
		c.duration(&e.After)
	})
	c.uint64(&r.Incarnation)
	optional(c, &r.Hunt, func(c *codec, h *Hunt) { h.fields(c) })
	c.bool(&r.Created)
	c.bool(&r.Changed)
}
