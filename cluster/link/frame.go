package link

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// Sizes of a frame; doc.go has the layout.
const (
	lengthSize = 4
	headerSize = 22 // with the length
	// MaxFrame is the largest value of a frame's length field: it is compared
	// before a byte is allocated for the frame.
	MaxFrame = 4 << 20
	// MaxBody is the longest body of a request or an answer, in bytes.
	MaxBody = MaxFrame - (headerSize - lengthSize)
)

// frameType says what a frame is. On the wire: append only.
type frameType uint8

const (
	typeRequest  frameType = 1 + iota
	typeResponse           // a request's answer
	typeError              // a request's answer that is an error; instead of ready: why not
	typeCancel             // the caller no longer waits
	typePing               // the caller has heard nothing for a while
	typePong
	typeStream // first frame of a stream; whatever follows is not frames
	typeReady  // first frame of the accepting side: the peer is welcome
	typeEnd
)

// shape says which fields a type uses. The others must be zero, so that a frame
// has one encoding and their values stay free for later versions.
type shape struct{ id, target, deadline, body bool }

var shapes = [typeEnd]shape{
	typeRequest:  {id: true, target: true, deadline: true, body: true},
	typeResponse: {id: true, body: true},
	typeError:    {id: true, body: true},
	typeCancel:   {id: true},
	typePing:     {},
	typePong:     {},
	typeStream:   {target: true},
	typeReady:    {},
}

// header is a frame without its body.
type header struct {
	typ      frameType
	id       uint64
	kind     uint8
	group    uint32
	deadline uint32 // milliseconds left, 0: none
	size     int    // of the body
}

// errFrame is wrapped by every error of a frame that breaks the format. The
// connection it came over cannot be used any more: where the next frame begins
// is unknown.
var errFrame = fmt.Errorf("frame: %w", wire.ErrMalformed)

// appendFrame appends the encoding of h and body to b. h.size is not used.
func appendFrame(b []byte, h header, body []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(headerSize-lengthSize+len(body)))
	b = append(b, byte(h.typ))
	b = binary.LittleEndian.AppendUint64(b, h.id)
	b = append(b, h.kind)
	b = binary.LittleEndian.AppendUint32(b, h.group)
	b = binary.LittleEndian.AppendUint32(b, h.deadline)
	return append(b, body...)
}

// parseHeader decodes a header whose body may have at most maxBody bytes.
func parseHeader(b *[headerSize]byte, maxBody int) (header, error) {
	length := binary.LittleEndian.Uint32(b[0:])
	h := header{
		typ:      frameType(b[4]),
		id:       binary.LittleEndian.Uint64(b[5:]),
		kind:     b[13],
		group:    binary.LittleEndian.Uint32(b[14:]),
		deadline: binary.LittleEndian.Uint32(b[18:]),
	}
	if length < headerSize-lengthSize || int64(length) > int64(maxBody)+headerSize-lengthSize {
		return header{}, fmt.Errorf("%w: length %d is outside %d to %d", errFrame, length, headerSize-lengthSize, maxBody+headerSize-lengthSize)
	}
	h.size = int(length) - (headerSize - lengthSize)
	if h.typ == 0 || h.typ >= typeEnd {
		return header{}, fmt.Errorf("%w: unknown type %d", errFrame, h.typ)
	}
	s := shapes[h.typ]
	if !s.id && h.id != 0 || !s.target && (h.kind != 0 || h.group != 0) || !s.deadline && h.deadline != 0 || !s.body && h.size != 0 {
		return header{}, fmt.Errorf("%w: a field that type %d does not use is set", errFrame, h.typ)
	}
	return h, nil
}

// readHeader reads one header. io.EOF means that the peer stopped between two
// frames, io.ErrUnexpectedEOF that it stopped within one.
func readHeader(r io.Reader, maxBody int) (header, error) {
	var b [headerSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return header{}, err
	}
	return parseHeader(&b, maxBody)
}

// readBody reads the body of h into a new slice.
func readBody(r io.Reader, h header) ([]byte, error) {
	body := make([]byte, h.size)
	if err := readFull(r, body); err != nil {
		return nil, err
	}
	return body, nil
}

// readFull is io.ReadFull for the inside of a frame, where even an end before
// the first byte is an unexpected one.
func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// deadlineIn returns the deadline field for what is left of a call's time:
// whole milliseconds, rounded up, at least 1.
func deadlineIn(left time.Duration) uint32 {
	ms := left / time.Millisecond
	if left%time.Millisecond > 0 {
		ms++
	}
	return uint32(min(max(ms, 1), math.MaxUint32))
}

// maxErrorMsg is the longest message that travels, in bytes; the rest is cut.
const maxErrorMsg = 4 << 10

// maxErrorBody is the longest body of an error frame: kind, After and message
// with its length.
const maxErrorBody = 3*binary.MaxVarintLen64 + maxErrorMsg

// encodeError lays out the body of an error frame: uvarint kind, varint
// nanoseconds of After, string message. An error without an *fsm.Error in its
// chain travels as the kind that fsm.KindOf gives it.
func encodeError(err error) []byte {
	e := asError(err)
	var w wire.Writer
	w.Uvarint(uint64(e.Kind))
	w.Varint(int64(e.After))
	w.String(e.Msg[:min(len(e.Msg), maxErrorMsg)])
	return w.B
}

// decodeError reads what encodeError wrote. A kind that this code does not
// know comes from a newer node and becomes Internal, with its message.
func decodeError(b []byte) (*fsm.Error, error) {
	r := wire.NewReader(b)
	kind := r.Uvarint()
	e := &fsm.Error{After: time.Duration(r.Varint()), Msg: r.String(maxErrorMsg)}
	if err := r.Done(); err != nil {
		return nil, err
	}
	if kind < uint64(fsm.Kinds) {
		e.Kind = fsm.Kind(kind)
	}
	return e, nil
}

// readRemote reads the body of an error frame: the error that it carries, or
// the one that reading it met.
func readRemote(r io.Reader, h header) (remote *fsm.Error, err error) {
	if h.size > maxErrorBody {
		return nil, fmt.Errorf("%w: an error of %d bytes", errFrame, h.size)
	}
	body, err := readBody(r, h)
	if err != nil {
		return nil, err
	}
	if remote, err = decodeError(body); err != nil {
		return nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	return remote, nil
}
