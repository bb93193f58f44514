package link

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"cairn/fsm"
)

const (
	// maxServed is how many bytes of requests of one connection may be in
	// handlers at a time; beyond it, or beyond maxCalls, the answer is
	// Overloaded. A request alone is always let through.
	maxServed = 64 << 20
	// overloadedAfter is the advice that goes with that answer.
	overloadedAfter = 100 * time.Millisecond
	// maxPooled is the capacity up to which a request's buffer is used again.
	maxPooled = 64 << 10
)

// accept sees an accepted connection through to its end.
func (l *Link) accept(raw net.Conn) {
	remote := raw.RemoteAddr().String()
	t, err := l.conns.accept(raw)
	if err != nil {
		raw.Close()
		l.conf.Events.Refused(remote, err)
		return
	}
	defer l.conns.remove(t)
	raw.SetDeadline(time.Now().Add(handshakeTimeout))
	tc := tls.Server(hangup{raw}, l.serverTLS)
	if err := tc.Handshake(); err != nil {
		l.conf.Events.Refused(remote, fmt.Errorf("handshake: %w", err))
		return
	}
	cs := tc.ConnectionState()
	if cs.NegotiatedProtocol == protoJoin {
		l.serveJoin(tc, remote)
		return
	}
	// The handshake has verified this certificate, so its name is the peer's.
	from, err := nodeOf(cs.PeerCertificates[0], l.id.cluster)
	if err == nil {
		err = l.admit(t, tc, from)
	}
	if err != nil {
		l.conf.Events.Refused(remote, err)
		return
	}
	l.serve(tc, from)
	l.conf.Events.Hungup(from)
}

// admit tells a peer that proved its name whether it is welcome. A refusal
// carries its reason: the peer has sent nothing yet, and waits for this frame.
func (l *Link) admit(t *tracked, tc *tls.Conn, from fsm.NodeID) error {
	err := l.conns.identify(t, from)
	// Asked after the connection was registered as the node's, see Drop.
	if err == nil && !l.conf.Member(from) {
		err = errNotMember
	}
	if err != nil {
		tc.Write(appendFrame(nil, header{typ: typeError}, encodeError(err)))
		return err
	}
	_, err = tc.Write(appendFrame(nil, header{typ: typeReady}, nil))
	return err
}

// serve reads the first frame, which decides what the connection is for.
func (l *Link) serve(tc *tls.Conn, from fsm.NodeID) {
	tc.SetDeadline(time.Now().Add(serverPatience * beat))
	h, err := readHeader(tc, MaxBody)
	if err != nil {
		return // the peer has gone, or has nothing to say
	}
	tc.SetDeadline(time.Time{})
	if h.typ == typeStream {
		defer tc.Close() // says goodbye, where the registry only hangs up
		l.conf.HandleStream(from, h.kind, h.group, tc)
		return
	}
	newServerConn(l, tc, from).run(h)
}

// serverConn is the accepting end of a connection for calls. One goroutine
// reads, each request has its own, and whichever of them finds the outbox idle
// writes.
type serverConn struct {
	link  *Link
	tls   *tls.Conn
	from  fsm.NodeID
	out   outbox
	heard pulse

	ctx context.Context // of every request; ends with the connection
	end context.CancelFunc

	mu      sync.Mutex
	serving map[uint64]context.CancelFunc // by request id
	bytes   int                           // of their bodies
}

// request is one that is being served. Its body returns to the pool.
type request struct {
	header
	body *[]byte
}

func newServerConn(l *Link, tc *tls.Conn, from fsm.NodeID) *serverConn {
	s := &serverConn{link: l, tls: tc, from: from, out: outbox{conn: tc, sent: &l.sent}, serving: map[uint64]context.CancelFunc{}}
	s.ctx, s.end = context.WithCancel(l.ctx)
	return s
}

// run serves until the connection fails. h is the header of the first frame.
// When it returns, handlers may still be running: their context has ended, and
// Close waits for them.
func (s *serverConn) run(h header) {
	defer s.fail()
	s.link.wg.Go(func() {
		s.heard.watch(s.ctx.Done(), serverPatience, func() {})
		s.fail()
	})
	r := bufio.NewReaderSize(s.heard.reader(s.tls), readBuffer)
	for {
		if err := s.receive(r, h); err != nil {
			return
		}
		var err error
		if h, err = readHeader(r, MaxBody); err != nil {
			return
		}
	}
}

// fail ends the connection: the reader and the flusher find it closed, and the
// handlers' contexts end, in this order: what a handler says because its context
// ended must not go out as an answer.
func (s *serverConn) fail() {
	s.out.close()
	s.tls.NetConn().Close() // without TLS's goodbye, which can wait for the peer
	s.end()
}

// receive handles one frame. An error ends the connection.
func (s *serverConn) receive(r io.Reader, h header) error {
	switch h.typ {
	case typeRequest:
		return s.request(r, h)
	case typeCancel:
		s.cancel(h.id)
		return nil
	case typePing:
		return s.control(header{typ: typePong}, nil)
	default:
		return fmt.Errorf("%w: type %d from the dialling side", errFrame, h.typ)
	}
}

// request reads a request and starts its handler.
func (s *serverConn) request(r io.Reader, h header) error {
	req := &request{header: h, body: getBody(h.size)}
	if err := readFull(r, *req.body); err != nil {
		return err
	}
	ctx, cancel := s.context(h.deadline)
	if err := s.begin(h, cancel); err != nil {
		cancel()
		putBody(req.body)
		if refusal, ok := err.(*fsm.Error); ok {
			return s.control(header{typ: typeError, id: h.id}, encodeError(refusal))
		}
		return err
	}
	s.link.wg.Go(func() { s.handle(ctx, cancel, req) })
	return nil
}

// context is a request's: its deadline is the caller's, less the way here.
func (s *serverConn) context(deadline uint32) (context.Context, context.CancelFunc) {
	if deadline == 0 {
		return context.WithCancel(s.ctx)
	}
	return context.WithTimeout(s.ctx, time.Duration(deadline)*time.Millisecond)
}

// handle runs the handler and answers.
func (s *serverConn) handle(ctx context.Context, cancel context.CancelFunc, req *request) {
	out, err := s.link.conf.Handle(ctx, s.from, req.kind, req.group, *req.body)
	putBody(req.body)
	cancel()
	s.finish(req.header)
	answer := header{typ: typeResponse, id: req.id}
	if err == nil && len(out) > MaxBody {
		err = fsm.Errorf(fsm.TooLarge, "an answer between nodes of %d bytes is over the limit of %d", len(out), MaxBody)
	}
	if err != nil {
		answer.typ, out = typeError, encodeError(err)
	}
	// Waits while the peer reads too slowly; if it stops, a write fails, and
	// with it this connection and its context.
	if _, first, err := s.out.put(s.ctx, answer, out); err == nil && first {
		s.flush()
	}
}

// begin counts a request in. The error is an *fsm.Error if it is refused.
func (s *serverConn) begin(h header, cancel context.CancelFunc) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving[h.id] != nil {
		return fmt.Errorf("%w: request id %d is in use", errFrame, h.id)
	}
	n := len(s.serving)
	if n >= maxCalls || n > 0 && s.bytes+h.size > maxServed {
		return &fsm.Error{Kind: fsm.Overloaded, Msg: "this node is serving too many requests of the node that asked: try again", After: overloadedAfter}
	}
	s.serving[h.id] = cancel
	s.bytes += h.size
	return nil
}

func (s *serverConn) finish(h header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.serving, h.id)
	s.bytes -= h.size
}

// cancel ends a request's context. It may have been answered by now.
func (s *serverConn) cancel(id uint64) {
	s.mu.Lock()
	cancel := s.serving[id]
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// control sends a frame from the reading goroutine, which must not be the one
// that writes: a peer that reads slowly would keep us from reading.
func (s *serverConn) control(h header, body []byte) error {
	first, err := s.out.putControl(h, body)
	if err == nil && first {
		s.link.wg.Go(s.flush)
	}
	return err
}

func (s *serverConn) flush() {
	if s.out.flush() != nil {
		s.fail()
	}
}

// bodies are the buffers of small requests.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

func getBody(size int) *[]byte {
	b := bodies.Get().(*[]byte)
	if cap(*b) < size {
		*b = make([]byte, size)
	}
	*b = (*b)[:size]
	return b
}

func putBody(b *[]byte) {
	if cap(*b) <= maxPooled {
		bodies.Put(b)
	}
}
