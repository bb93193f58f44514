package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"sync"
	"time"

	"cairn/fsm"
)

// Limits of joining. Everything here is done for somebody who has proved
// nothing, so all of it is small.
const (
	MaxJoinRequest = 16 << 10 // bytes
	MaxJoinAnswer  = 1 << 20  // bytes
	// joinTimeout bounds one join, on both sides, handshake included.
	joinTimeout = 10 * time.Second
	// maxJoins is how many join requests are handled at a time.
	maxJoins = 8
	// joinBurst and joinRate: so many requests are let through at once, and so
	// many more each second. The token's 256 bits need no protection from
	// guessing; the controller, which looks it up, does.
	joinBurst = 16
	joinRate  = 4
)

// joinGate decides which join requests are handled: a token bucket, and a
// limit on those under way.
type joinGate struct {
	mu     sync.Mutex
	busy   int
	tokens float64
	last   time.Time
}

func newJoinGate(now time.Time) *joinGate { return &joinGate{tokens: joinBurst, last: now} }

// enter lets a request through at a time, or says when to come back. Every
// enter without an error needs a leave.
func (g *joinGate) enter(now time.Time) *fsm.Error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens = min(joinBurst, g.tokens+joinRate*max(now.Sub(g.last), 0).Seconds())
	g.last = now
	switch {
	case g.busy >= maxJoins:
		return &fsm.Error{Kind: fsm.Overloaded, Msg: "too many nodes are joining at this moment: try again", After: time.Second}
	case g.tokens < 1:
		return &fsm.Error{Kind: fsm.RateLimited, Msg: "too many nodes have tried to join: try again", After: time.Second}
	}
	g.tokens--
	g.busy++
	return nil
}

func (g *joinGate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy--
}

// serveJoin answers one request over a connection whose peer is unknown.
func (l *Link) serveJoin(tc *tls.Conn, remote string) {
	tc.SetDeadline(time.Now().Add(joinTimeout))
	body, err := l.answerJoin(tc, remote)
	answer := header{typ: typeResponse}
	if err == nil && len(body) > MaxJoinAnswer {
		err = fsm.Errorf(fsm.TooLarge, "the answer to a join of %d bytes is over the limit of %d", len(body), MaxJoinAnswer)
	}
	if err != nil {
		l.conf.Events.Refused(remote, fmt.Errorf("join: %w", err))
		answer.typ, body = typeError, encodeError(err)
	}
	tc.Write(appendFrame(nil, answer, body)) // the joiner finds out by itself
	tc.Close()
}

// answerJoin reads the request before it looks whether it may be handled: a
// connection that is closed with bytes unread resets, and the reason is lost.
func (l *Link) answerJoin(tc *tls.Conn, remote string) ([]byte, error) {
	h, err := readHeader(tc, MaxJoinRequest)
	if err != nil {
		return nil, err
	}
	if h.typ != typeRequest {
		return nil, fmt.Errorf("%w: type %d in place of a join request", errFrame, h.typ)
	}
	req, err := readBody(tc, h)
	if err != nil {
		return nil, err
	}
	if refusal := l.joins.enter(time.Now()); refusal != nil {
		return nil, refusal
	}
	defer l.joins.leave()
	ctx, cancel := context.WithTimeout(l.ctx, joinTimeout)
	defer cancel()
	return l.conf.Join(ctx, remote, req)
}

// Join sends a request to the node at addr and returns its answer. Nothing is
// sent before the node has proved to belong to the cluster whose CA has the
// fingerprint: Forbidden if it does not. Otherwise errors are the handler's, or
// ErrUnsent and ErrLost as for calls. A join takes at most ten seconds.
func Join(ctx context.Context, addr, fingerprint string, req []byte) ([]byte, error) {
	return JoinOver(ctx, dialTCP, addr, fingerprint, req)
}

// JoinOver is Join with another network.
func JoinOver(ctx context.Context, dial Dialer, addr, fingerprint string, req []byte) ([]byte, error) {
	if len(req) > MaxJoinRequest {
		return nil, fsm.Errorf(fsm.TooLarge, "a join request of %d bytes is over the limit of %d", len(req), MaxJoinRequest)
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	raw, err := dial(ctx, addr)
	if err != nil {
		return nil, unsent(fmt.Errorf("dial %s: %w", addr, err))
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()

	tc := tls.Client(raw, joinTLS(fingerprint))
	if err := tc.Handshake(); err != nil {
		return nil, unsent(fmt.Errorf("connect to %s: %w", addr, orEnd(ctx, err)))
	}
	if _, err := tc.Write(appendFrame(nil, header{typ: typeRequest}, req)); err != nil {
		return nil, lost(orEnd(ctx, err))
	}
	body, remote, err := readJoinAnswer(tc)
	if err != nil {
		return nil, lost(orEnd(ctx, err))
	}
	if remote != nil {
		return nil, remote
	}
	return body, nil
}

func readJoinAnswer(r io.Reader) (body []byte, remote *fsm.Error, err error) {
	h, err := readHeader(r, MaxJoinAnswer)
	if err != nil {
		return nil, nil, err
	}
	switch h.typ {
	case typeResponse:
		body, err = readBody(r, h)
	case typeError:
		remote, err = readRemote(r, h)
	default:
		err = fmt.Errorf("%w: type %d in answer to a join", errFrame, h.typ)
	}
	return body, remote, err
}

// orEnd returns ctx's error if ctx has ended, because err is then only what
// came of closing the connection.
func orEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
