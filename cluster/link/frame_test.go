package link

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cairn/fsm"
)

// TestFrameGolden fixes the bytes of every type: a change of any of them is a
// new version of the protocol.
func TestFrameGolden(t *testing.T) {
	refusal := encodeError(&fsm.Error{Kind: fsm.Overloaded, Msg: "no", After: time.Second})
	for _, tt := range []struct {
		name string
		h    header
		body string
		want string
	}{
		{"request", header{typ: typeRequest, id: 0x0102, kind: 3, group: 4, deadline: 5}, "hi", "14000000 01 0201000000000000 03 04000000 05000000 6869"},
		{"response", header{typ: typeResponse, id: 7}, "", "12000000 02 0700000000000000 00 00000000 00000000"},
		{"error", header{typ: typeError, id: 7}, string(refusal), "1b000000 03 0700000000000000 00 00000000 00000000 11 80a8d6b907 026e6f"},
		{"cancel", header{typ: typeCancel, id: 7}, "", "12000000 04 0700000000000000 00 00000000 00000000"},
		{"ping", header{typ: typePing}, "", "12000000 05 0000000000000000 00 00000000 00000000"},
		{"pong", header{typ: typePong}, "", "12000000 06 0000000000000000 00 00000000 00000000"},
		{"stream", header{typ: typeStream, kind: 8, group: 9}, "", "12000000 07 0000000000000000 08 09000000 00000000"},
		{"ready", header{typ: typeReady}, "", "12000000 08 0000000000000000 00 00000000 00000000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := appendFrame(nil, tt.h, []byte(tt.body))
			if want := strings.ReplaceAll(tt.want, " ", ""); hex.EncodeToString(got) != want {
				t.Errorf("got %x, want %s", got, want)
			}
			h, err := readHeader(bytes.NewReader(got), MaxBody)
			tt.h.size = len(tt.body)
			if h != tt.h || err != nil {
				t.Errorf("read back %+v, %v", h, err)
			}
		})
	}
}

// endless is a reader that fails the test when anybody asks for a body.
type endless struct {
	t    *testing.T
	head []byte
}

func (e *endless) Read(b []byte) (int, error) {
	if len(e.head) == 0 {
		e.t.Error("a frame that breaks the rules was read beyond its header")
		return 0, io.EOF
	}
	n := copy(b, e.head)
	e.head = e.head[n:]
	return n, nil
}

func TestFrameRefused(t *testing.T) {
	request := func(size uint32) []byte {
		b := appendFrame(nil, header{typ: typeRequest, id: 1}, nil)
		b[0], b[1], b[2], b[3] = byte(size), byte(size>>8), byte(size>>16), byte(size>>24)
		return b
	}
	for name, tt := range map[string]struct {
		frame []byte
		limit int
	}{
		"4 GiB":               {request(math.MaxUint32), MaxBody},
		"one over":            {request(MaxFrame + 1), MaxBody},
		"one over a small":    {request(18 + 101), 100},
		"shorter than header": {request(17), MaxBody},
		"empty":               {request(0), MaxBody},
		"type 0":              {appendFrame(nil, header{}, nil), MaxBody},
		"type 9":              {appendFrame(nil, header{typ: typeEnd}, nil), MaxBody},
		"a ping with an id":   {appendFrame(nil, header{typ: typePing, id: 1}, nil), MaxBody},
		"a pong with a body":  {appendFrame(nil, header{typ: typePong}, []byte("x")), MaxBody},
		"an answer's group":   {appendFrame(nil, header{typ: typeResponse, id: 1, group: 1}, nil), MaxBody},
		"an answer's time":    {appendFrame(nil, header{typ: typeResponse, id: 1, deadline: 1}, nil), MaxBody},
	} {
		t.Run(name, func(t *testing.T) {
			if h, err := readHeader(&endless{t, tt.frame[:headerSize]}, tt.limit); !errors.Is(err, errFrame) {
				t.Errorf("got %+v, %v, want errFrame", h, err)
			}
		})
	}
	if _, err := readHeader(bytes.NewReader(request(MaxFrame)), MaxBody); err != nil {
		t.Errorf("the largest frame is refused: %v", err)
	}
}

// FuzzFrame: every frame that is read is the encoding of what was read, and
// nothing that is read goes over the limit.
func FuzzFrame(f *testing.F) {
	f.Add(appendFrame(nil, header{typ: typeRequest, id: 1, kind: 2, group: 3, deadline: 4}, []byte("body")))
	f.Add(appendFrame(nil, header{typ: typeError, id: 1}, encodeError(ErrLost)))
	f.Add(appendFrame(appendFrame(nil, header{typ: typePing}, nil), header{typ: typeStream, kind: 1}, nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 10
		r := bytes.NewReader(in)
		for at := 0; ; at = len(in) - r.Len() {
			h, err := readHeader(r, limit)
			if err != nil {
				return
			}
			if h.size > limit {
				t.Fatalf("a body of %d is let through", h.size)
			}
			body, err := readBody(r, h)
			if err != nil {
				return
			}
			if h.typ == typeError {
				checkError(t, body)
			}
			if again := appendFrame(nil, h, body); !bytes.Equal(again, in[at:at+len(again)]) {
				t.Fatalf("%x was read as %+v, which is %x", in[at:], h, again)
			}
		}
	})
}

// checkError: an error's body that decodes to a kind we know encodes the same.
func checkError(t *testing.T, body []byte) {
	e, err := decodeError(body)
	if err != nil || e.Kind == fsm.Internal {
		return
	}
	if again := encodeError(e); !bytes.Equal(again, body) {
		t.Fatalf("%x was read as %#v, which is %x", body, e, again)
	}
}

func TestErrorTravels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &fsm.Error{
			Kind:  fsm.Kind(rapid.IntRange(0, fsm.Kinds-1).Draw(t, "kind")),
			Msg:   rapid.StringN(-1, -1, maxErrorMsg).Draw(t, "msg"),
			After: time.Duration(rapid.Int64().Draw(t, "after")),
		}
		body := encodeError(fmt.Errorf("wrapped: %w", want))
		if len(body) > maxErrorBody {
			t.Fatalf("%d bytes are over maxErrorBody", len(body))
		}
		if got, err := decodeError(body); err != nil || *got != *want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
	for _, tt := range []struct {
		err  error
		want fsm.Error
	}{
		{errors.New("boom"), fsm.Error{Kind: fsm.Internal, Msg: "boom"}},
		{context.DeadlineExceeded, fsm.Error{Kind: fsm.OutcomeUnknown, Msg: "context deadline exceeded"}},
		{errors.New(strings.Repeat("x", 2*maxErrorMsg)), fsm.Error{Kind: fsm.Internal, Msg: strings.Repeat("x", maxErrorMsg)}},
	} {
		if got, err := decodeError(encodeError(tt.err)); err != nil || *got != tt.want {
			t.Errorf("%.40v: got %+v, %v", tt.err, got, err)
		}
	}
	newer := encodeError(&fsm.Error{Kind: fsm.Kind(fsm.Kinds), Msg: "from the future"})
	if got, err := decodeError(newer); err != nil || got.Kind != fsm.Internal || got.Msg != "from the future" {
		t.Errorf("a newer kind: got %+v, %v", got, err)
	}
}

func TestDeadlineIn(t *testing.T) {
	for left, want := range map[time.Duration]uint32{
		-time.Second:                 1, // 0 would be no deadline at all
		time.Nanosecond:              1,
		time.Millisecond:             1,
		time.Millisecond + 1:         2,
		time.Minute:                  60_000,
		time.Duration(math.MaxInt64): math.MaxUint32,
	} {
		if got := deadlineIn(left); got != want {
			t.Errorf("%v: got %d, want %d", left, got, want)
		}
	}
}
