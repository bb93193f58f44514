package link

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"
)

const (
	// maxCalls is how many calls may wait on one connection, and how many
	// requests of one connection are served at a time: the caller's Link
	// refuses the next one before the other node has to.
	maxCalls = 4096
	// readBuffer of each connection, in bytes: two TLS records.
	readBuffer = 32 << 10
)

// callConn is the dialling end of the connection for calls to one node. Three
// goroutines: read delivers answers, write empties the outbox, watch listens for
// silence. The first of them that fails ends the connection, once, and with it
// every call that waits.
//
// A goroutine of its own writes, and not the caller that finds the outbox idle:
// a write can hang for writeTimeout when the other node's process is stopped,
// and a caller must return when its context ends. DESIGN.md has the price.
type callConn struct {
	peer   *peer
	tls    *tls.Conn
	track  *tracked
	opened time.Time
	out    outbox
	heard  pulse
	kick   chan struct{} // tells write that there is something to flush
	done   chan struct{} // closed by fail

	mu      sync.Mutex
	waiting map[uint64]chan<- answer // by id; nil: the connection failed
	lastID  uint64
}

// answer is what a call gets, exactly once, from whoever removes its channel from
// waiting; the channel has room for it. broken: the connection failed with err,
// and the verdict depends on whether the request had been sent.
type answer struct {
	body   []byte
	err    error
	broken bool
}

func newCallConn(p *peer, tc *tls.Conn, t *tracked) *callConn {
	return &callConn{
		peer:    p,
		tls:     tc,
		track:   t,
		opened:  time.Now(),
		out:     outbox{conn: tc, sent: &p.link.sent},
		kick:    make(chan struct{}, 1),
		done:    make(chan struct{}),
		waiting: map[uint64]chan<- answer{},
	}
}

// start runs the connection's goroutines. The caller is counted in the Link's
// wait group.
func (c *callConn) start() {
	wg := &c.peer.link.wg
	wg.Go(func() { c.fail(c.read()) })
	wg.Go(func() { c.fail(c.write()) })
	wg.Go(func() { c.fail(c.heard.watch(c.done, callerPatience, c.ping)) })
}

// call sends a request and waits for its answer.
func (c *callConn) call(ctx context.Context, kind uint8, group uint32, body []byte) ([]byte, error) {
	h := header{typ: typeRequest, kind: kind, group: group}
	if end, ok := ctx.Deadline(); ok {
		h.deadline = deadlineIn(time.Until(end))
	}
	if err := ctx.Err(); err != nil {
		return nil, unsent(err)
	}
	answered := make(chan answer, 1)
	id, err := c.register(answered)
	if err != nil {
		return nil, unsent(err)
	}
	h.id = id
	at, first, err := c.out.put(ctx, h, body)
	if err != nil {
		c.remove(id)
		return nil, unsent(err)
	}
	if first {
		c.kick <- struct{}{}
	}
	select {
	case a := <-answered:
		return c.verdict(a, at)
	case <-ctx.Done():
	}
	if c.remove(id) == nil { // it is being answered at this moment
		return c.verdict(<-answered, at)
	}
	c.control(header{typ: typeCancel, id: id})
	return nil, lost(ctx.Err())
}

// verdict turns an answer into Call's result. at is the request's position.
func (c *callConn) verdict(a answer, at uint64) ([]byte, error) {
	switch {
	case !a.broken:
		return a.body, a.err
	case c.out.wasTaken(at):
		return nil, lost(a.err)
	default:
		return nil, unsent(a.err)
	}
}

// register makes a call wait under a new id.
func (c *callConn) register(answered chan<- answer) (id uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.waiting == nil:
		return 0, errClosed
	case len(c.waiting) >= maxCalls:
		return 0, errBusy
	}
	c.lastID++
	c.waiting[c.lastID] = answered
	return c.lastID, nil
}

// remove takes a call out of waiting. nil: somebody else did, or its caller.
func (c *callConn) remove(id uint64) chan<- answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	answered := c.waiting[id]
	delete(c.waiting, id)
	return answered
}

// read delivers answers until the connection fails.
func (c *callConn) read() error {
	r := bufio.NewReaderSize(c.heard.reader(c.tls), readBuffer)
	for {
		h, err := readHeader(r, MaxBody)
		if err != nil {
			return err
		}
		var a answer
		switch h.typ {
		case typePong:
			continue
		case typeResponse:
			a.body, err = readBody(r, h)
		case typeError:
			a.err, err = readRemote(r, h)
		default:
			err = fmt.Errorf("%w: type %d from the accepting side", errFrame, h.typ)
		}
		if err != nil {
			return err
		}
		if answered := c.remove(h.id); answered != nil { // else its caller gave up
			answered <- a
		}
	}
}

// write flushes whenever a put found the outbox idle.
func (c *callConn) write() error {
	for {
		select {
		case <-c.kick:
			if err := c.out.flush(); err != nil {
				return err
			}
		case <-c.done:
			return errClosed
		}
	}
}

func (c *callConn) ping() { c.control(header{typ: typePing}) }

// control sends a frame that nobody waits for.
func (c *callConn) control(h header) {
	first, err := c.out.putControl(h, nil)
	if err != nil {
		c.fail(err)
	} else if first {
		c.kick <- struct{}{}
	}
}

// fail ends the connection: its peer dials anew for the next call, and every
// call that waits is told. Only the first call of fail has an effect.
func (c *callConn) fail(cause error) {
	c.mu.Lock()
	waiting := c.waiting
	c.waiting = nil
	c.mu.Unlock()
	if waiting == nil {
		return
	}
	c.out.close() // from here on it is settled which requests were taken
	close(c.done)
	c.peer.link.conns.remove(c.track)
	// Before the calls learn of it: one that tries again must not meet this
	// connection.
	c.peer.broken(c, cause)
	for _, answered := range waiting {
		answered <- answer{err: cause, broken: true}
	}
}
