package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"cairn/fsm"
)

// Pauses between attempts to connect to a node that does not answer. Calls
// within a pause fail at once.
const (
	backoffMin = 50 * time.Millisecond
	backoffMax = time.Second
	// shortLived is the age below which a connection that breaks counts as a
	// failed attempt, or a node that accepts and dies would be dialled in a loop.
	shortLived = time.Second
)

// peer is the dialling side's state of one node: at most one connection for
// calls, opened by the first call that needs it.
type peer struct {
	link *Link
	node fsm.NodeID

	mu       sync.Mutex
	conn     *callConn // open
	dial     *attempt  // under way
	failures int       // in a row
	retry    time.Time // not before
	cause    error     // of the last failure
}

// attempt is a dial that several calls may wait for.
type attempt struct {
	done chan struct{} // closed when conn or err is set
	conn *callConn
	err  error
}

// connect returns the open connection, or opens it. It waits until ctx ends;
// the dial itself goes on for whoever comes next.
func (p *peer) connect(ctx context.Context) (*callConn, error) {
	p.mu.Lock()
	if c := p.conn; c != nil {
		p.mu.Unlock()
		return c, nil
	}
	a := p.dial
	if a == nil {
		if wait := time.Until(p.retry); wait > 0 {
			cause := p.cause
			p.mu.Unlock()
			return nil, fmt.Errorf("link: no connection to node %s, next attempt in %v: %w", p.node, wait.Round(time.Millisecond), cause)
		}
		if !p.link.enter() {
			p.mu.Unlock()
			return nil, errClosed
		}
		a = &attempt{done: make(chan struct{})}
		p.dial = a
		go p.run(a)
	}
	p.mu.Unlock()
	select {
	case <-a.done:
		return a.conn, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run makes an attempt and, if it succeeds, starts the connection.
func (p *peer) run(a *attempt) {
	defer p.link.wg.Done()
	start := time.Now()
	tc, t, err := p.link.open(p.link.ctx, p.node)
	var c *callConn
	if err == nil {
		c = newCallConn(p, tc, t)
	}

	p.mu.Lock()
	p.dial = nil
	if err == nil {
		p.conn = c
	} else {
		p.failed(err)
	}
	p.mu.Unlock()

	a.conn, a.err = c, err
	close(a.done)
	if err != nil {
		p.link.conf.Events.DialFailed(p.node, err)
		return
	}
	p.link.conf.Events.Connected(p.node, time.Since(start))
	c.start()
}

// broken is told by a connection that it takes no more calls.
func (p *peer) broken(c *callConn, cause error) {
	p.mu.Lock()
	if p.conn == c {
		p.conn = nil
		if time.Since(c.opened) < shortLived {
			p.failed(cause)
		} else {
			p.failures = 0
		}
	}
	p.mu.Unlock()
	p.link.conf.Events.Disconnected(p.node, cause)
}

// failed begins a pause. The caller holds mu.
func (p *peer) failed(cause error) {
	p.cause = cause
	p.retry = time.Now().Add(backoff(p.failures, rand.Float64()))
	p.failures++
}

// backoff returns the pause after a failure that followed n others: it doubles
// from backoffMin to backoffMax, and its second half is random (jitter in
// [0, 1)), so that nodes that lost the same peer do not come back as one.
func backoff(n int, jitter float64) time.Duration {
	pause := backoffMax
	if n < 10 { // beyond, the shift would be past backoffMax anyway
		pause = min(backoffMin<<n, backoffMax)
	}
	return pause/2 + time.Duration(jitter*float64(pause/2))
}

// open dials a node and returns once it has said that it is ready: until then
// nothing of a request has been sent, and being refused is not yet an unknown
// outcome. The connection is registered; its owner removes it.
func (l *Link) open(ctx context.Context, node fsm.NodeID) (*tls.Conn, *tracked, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	addr, ok := l.conf.Resolve(node)
	if !ok {
		return nil, nil, errUnknown
	}
	raw, err := l.conf.Dial(ctx, addr)
	if err != nil {
		return nil, nil, fmt.Errorf("dial node %s at %s: %w", node, addr, err)
	}
	t, err := l.conns.dialled(raw, node)
	if err != nil {
		raw.Close()
		return nil, nil, err
	}
	tc, err := l.greet(ctx, raw, node)
	if err != nil {
		l.conns.remove(t)
		return nil, nil, fmt.Errorf("connect to node %s at %s: %w", node, addr, err)
	}
	return tc, t, nil
}

// greet does the dialling side of the handshake.
func (l *Link) greet(ctx context.Context, raw net.Conn, node fsm.NodeID) (*tls.Conn, error) {
	// Asked after the connection was registered, see Drop.
	if !l.conf.Member(node) {
		return nil, errNotMember
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	tc := tls.Client(hangup{raw}, l.id.clientTLS(node))
	err := tc.Handshake()
	if err == nil {
		err = awaitReady(tc)
	}
	if !stop() {
		return nil, ctx.Err() // which closed the connection
	}
	return tc, err
}

// awaitReady reads the accepting side's first frame.
func awaitReady(tc *tls.Conn) error {
	h, err := readHeader(tc, maxErrorBody)
	if err != nil {
		return fmt.Errorf("wait to be accepted: %w", err)
	}
	switch h.typ {
	case typeReady:
		return nil
	case typeError:
		remote, err := readRemote(tc, h)
		if err != nil {
			return err
		}
		if fsm.KindOf(remote) == fsm.Forbidden {
			return fmt.Errorf("%w (%w)", remote, ErrStranger)
		}
		return remote
	default:
		return fmt.Errorf("%w: type %d in place of ready", errFrame, h.typ)
	}
}
