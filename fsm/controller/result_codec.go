package controller

import (
	"cairn/fsm"
	"cairn/fsm/wire"
)

// resultVersion is the first byte of an encoded Result.
const resultVersion = 1

// AppendResult appends the encoding of r, in which it travels between nodes:
// a version byte and the fields in order.
func AppendResult(w *wire.Writer, r *Result) {
	w.U8(resultVersion)
	r.fields(&codec{w: w})
}

// ReadResult is the inverse of AppendResult and accepts nothing else; errors are
// the Reader's. An error of a kind this build does not know is kept, and shows
// as internal.
func ReadResult(rd *wire.Reader) Result {
	if v := rd.U8(); rd.Err() == nil && v != resultVersion {
		rd.Fail("version %d of a result is unknown to this build", v)
	}
	var r Result
	if r.fields(&codec{r: rd}); rd.Err() != nil {
		return Result{}
	}
	return r
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
