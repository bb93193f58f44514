package cluster

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// memNet is a network of net.Pipe connections with directed cuts, and nodes whose
// messages are late or do not arrive at all: all its blocking is on channels, so
// it works inside a bubble.
type memNet struct {
	mu        sync.Mutex
	listeners map[string]*memListener
	cut       map[[2]string]bool
	ends      map[*memEnd]bool
	late      map[string]time.Duration    // of every message from and to a node
	lag       map[[2]string]time.Duration // of every message from one node to another
	mute      map[string]bool             // nothing reaches or leaves it, and nobody is told
	held      map[[2]string]bool          // nothing gets from one node to another, and nobody is told
	dark      map[string]bool             // without power
	moved     chan struct{}               // closed when something is let through again
	gone      chan struct{}               // closed by close
}

func newMemNet() *memNet {
	return &memNet{
		listeners: map[string]*memListener{}, cut: map[[2]string]bool{}, ends: map[*memEnd]bool{},
		late: map[string]time.Duration{}, lag: map[[2]string]time.Duration{}, mute: map[string]bool{},
		held: map[[2]string]bool{}, dark: map[string]bool{}, moved: make(chan struct{}), gone: make(chan struct{}),
	}
}

// close ends what connections leave behind: in a bubble nothing may.
func (m *memNet) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.gone)
	for e := range m.ends {
		e.Conn.Close()
	}
}

// wake has everything that is held back look again. The caller holds mu.
func (m *memNet) wake() {
	close(m.moved)
	m.moved = make(chan struct{})
}

type memListener struct {
	name string
	in   chan net.Conn
	done chan struct{}
	once sync.Once
}

type memAddr string

func (a memAddr) Network() string { return "mem" }
func (a memAddr) String() string  { return string(a) }

// listen is a process that starts: where one died, what was connected to it learns
// of that now at the latest.
func (m *memNet) listen(name string) net.Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := &memListener{name: name, in: make(chan net.Conn, 16), done: make(chan struct{})}
	m.listeners[name] = l
	if m.dark[name] {
		delete(m.dark, name)
		m.wake()
	}
	for e := range m.ends {
		if e.isDead() && (e.from == name || e.to == name) {
			e.Conn.Close()
			delete(m.ends, e)
		}
	}
	return l
}

func (m *memNet) dialer(from string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, to string) (net.Conn, error) {
		m.mu.Lock()
		l, cut := m.listeners[to], m.cut[[2]string{from, to}]
		dark := m.dark[to]
		m.mu.Unlock()
		if cut {
			return nil, errors.New("no route to host")
		}
		if l == nil {
			return nil, syscall.ECONNREFUSED
		}
		if !dark && l.ended() { // before there is room in its backlog
			return nil, syscall.ECONNREFUSED
		}
		if !m.pass(from, to, time.Now(), ctx.Done(), nil) || !m.pass(to, from, time.Now(), ctx.Done(), nil) {
			return nil, ctx.Err()
		}
		m.mu.Lock()
		l = m.listeners[to] // it may have started again
		m.mu.Unlock()
		near, far := m.pipe(from, to)
		select {
		case l.in <- far:
		case <-l.done:
			near.Close()
			far.Close()
			return nil, syscall.ECONNREFUSED // its process ended
		case <-ctx.Done():
			near.Close()
			far.Close()
			return nil, ctx.Err()
		}
		return near, nil
	}
}

// divide keeps new connections from being made between some nodes and all others.
func (m *memNet) divide(side []string, cut bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range side {
		for other := range m.listeners {
			if !slices.Contains(side, other) {
				m.cut[[2]string{name, other}], m.cut[[2]string{other, name}] = cut, cut
			}
		}
	}
}

// cutFrom keeps a node from making connections; others may.
func (m *memNet) cutFrom(name string, cut bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for other := range m.listeners {
		m.cut[[2]string{name, other}] = cut
	}
}

// isolate cuts a node off, connections included, or lets it back.
func (m *memNet) isolate(name string, cut bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for other := range m.listeners {
		m.cut[[2]string{name, other}], m.cut[[2]string{other, name}] = cut, cut
	}
	for e := range m.ends {
		if cut && e.dialed && (e.from == name || e.to == name) {
			e.Close()
		}
	}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.in:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}
func (l *memListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *memListener) Addr() net.Addr { return memAddr(l.name) }

// slow makes every message from and to a node that much late; 0: no more.
func (m *memNet) slow(name string, by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.late[name] = by
}

// silence keeps everything from and to a node, without ending its connections, or
// lets what waits go on.
func (m *memNet) silence(name string, mute bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mute[name] = mute
	m.wake()
}

// pass waits for as long as a message between two nodes takes to be let through that
// was sent then; false: it never is, for stop or dead was closed.
func (m *memNet) pass(from, to string, sent time.Time, stop, dead <-chan struct{}) bool {
	for {
		m.mu.Lock()
		link := [2]string{from, to}
		mute := m.mute[from] || m.mute[to] || m.dark[from] || m.dark[to] || m.held[link]
		late, moved := m.late[from]+m.late[to]+m.lag[link], m.moved
		m.mu.Unlock()
		late -= time.Since(sent)
		if !mute && late <= 0 {
			return true
		}
		var arrives <-chan time.Time
		if !mute {
			arrives, moved = time.After(late), nil
		}
		select {
		case <-arrives:
		case <-moved:
		case <-stop:
			return false
		case <-dead:
			return false
		case <-m.gone:
			return false
		}
	}
}

func (m *memNet) pipe(from, to string) (near, far *memEnd) {
	a, b := net.Pipe()
	near, far = m.end(a, from, to), m.end(b, to, from)
	near.dialed = true
	near.other, far.other = far.closed, near.closed
	m.mu.Lock()
	m.ends[near], m.ends[far] = true, true
	m.mu.Unlock()
	go near.pump()
	go far.pump()
	return near, far
}

func (m *memNet) end(c net.Conn, from, to string) *memEnd {
	return &memEnd{
		Conn: c, net: m, from: from, to: to, out: make(chan sent, memBuffer),
		closed: make(chan struct{}), dead: make(chan struct{}),
	}
}

// forget ends the account of an end that nothing goes through any more.
func (m *memNet) forget(e *memEnd) {
	e.Conn.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.ends, e)
}

// memBuffer is how many writes are on their way before another one has to wait.
const memBuffer = 256

// memEnd is one end of a connection. As with TCP, a write is done when it is
// buffered, and what was written before Close still arrives.
type memEnd struct {
	net.Conn
	net           *memNet
	from, to      string
	dialed        bool // the other end was accepted
	out           chan sent
	closed, other chan struct{} // closed with this end, and with the other one
	once          sync.Once
	dead          chan struct{} // closed when the process at one of the ends dies
	died          sync.Once
	deadline      atomic.Int64 // of writes: Unix time in nanoseconds, or 0
}

// sent is one write on its way.
type sent struct {
	b  []byte
	at time.Time
}

func (e *memEnd) isDead() bool {
	select {
	case <-e.dead:
		return true
	default:
		return false
	}
}

func (e *memEnd) Write(b []byte) (int, error) {
	var late <-chan time.Time
	if at := e.deadline.Load(); at != 0 {
		timer := time.NewTimer(time.Until(time.Unix(0, at)))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-e.closed:
		return 0, net.ErrClosed
	case <-e.dead:
		return len(b), nil // to nowhere
	default:
	}
	select {
	case <-e.other:
		return 0, syscall.EPIPE
	default:
	}
	select {
	case e.out <- sent{bytes.Clone(b), time.Now()}:
		return len(b), nil
	case <-e.closed:
		return 0, net.ErrClosed
	case <-e.dead:
		return len(b), nil
	case <-e.other:
		return 0, syscall.EPIPE
	case <-late:
		return 0, os.ErrDeadlineExceeded
	}
}

// pump brings over what was written, until the end is closed. An end of a process
// that died is left to whoever starts it again: see memNet.kill.
func (e *memEnd) pump() {
	for e.carry() {
	}
	select {
	case <-e.closed:
	case <-e.dead:
	case <-e.net.gone:
	}
	if !e.isDead() {
		e.net.forget(e)
	}
}

// carry brings over one write; false: nothing more can be.
func (e *memEnd) carry() bool {
	select {
	case <-e.dead:
		return false
	default:
	}
	select {
	case b := <-e.out:
		return e.bring(b)
	case <-e.other: // nobody reads; what it sent may still be read here
		return false
	case <-e.dead:
		return false
	case <-e.net.gone:
		return false
	case <-e.closed:
		return len(e.out) > 0 && e.bring(<-e.out)
	}
}

func (e *memEnd) bring(s sent) bool {
	if !e.net.pass(e.from, e.to, s.at, e.other, e.dead) {
		return false
	}
	_, err := e.Conn.Write(s.b)
	return err == nil
}

func (e *memEnd) SetDeadline(t time.Time) error {
	return errors.Join(e.SetReadDeadline(t), e.SetWriteDeadline(t))
}

func (e *memEnd) SetWriteDeadline(t time.Time) error {
	e.deadline.Store(0)
	if !t.IsZero() {
		e.deadline.Store(t.UnixNano())
	}
	return nil
}

// Close ends reading at once, and writing when all has arrived or the other end
// is closed too.
func (e *memEnd) Close() error {
	e.once.Do(func() {
		e.Conn.SetReadDeadline(time.Unix(1, 0))
		e.Conn.SetWriteDeadline(time.Now().Add(time.Second)) // the other end may read no more
		close(e.closed)
	})
	return nil
}
