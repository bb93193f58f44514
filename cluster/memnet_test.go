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
	conns     []memConn
	late      map[string]time.Duration // of every message from and to a node
	mute      map[string]bool          // nothing reaches or leaves it, and nobody is told
	pipes     []net.Conn
	gone      chan struct{} // closed by close
}

func newMemNet() *memNet {
	return &memNet{
		listeners: map[string]*memListener{}, cut: map[[2]string]bool{},
		late: map[string]time.Duration{}, mute: map[string]bool{}, gone: make(chan struct{}),
	}
}

// close ends what connections leave behind: in a bubble nothing may.
func (m *memNet) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.gone)
	for _, c := range m.pipes {
		c.Close()
	}
}

type memConn struct {
	from, to string
	near     net.Conn
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

func (m *memNet) listen(name string) net.Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := &memListener{name: name, in: make(chan net.Conn, 16), done: make(chan struct{})}
	m.listeners[name] = l
	return l
}

func (m *memNet) dialer(from string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, to string) (net.Conn, error) {
		m.mu.Lock()
		l, cut := m.listeners[to], m.cut[[2]string{from, to}]
		m.mu.Unlock()
		if cut {
			return nil, errors.New("no route to host")
		}
		if l == nil {
			return nil, syscall.ECONNREFUSED
		}
		select {
		case <-l.done: // before there is room in its backlog
			return nil, syscall.ECONNREFUSED
		default:
		}
		if !m.pass(from, to, ctx.Done()) {
			return nil, ctx.Err()
		}
		near, far := m.pipe(from, to)
		select {
		case l.in <- far:
		case <-l.done:
			near.Close()
			return nil, syscall.ECONNREFUSED // its process ended
		case <-ctx.Done():
			near.Close()
			return nil, ctx.Err()
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.conns = append(m.conns, memConn{from, to, near})
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
	for _, c := range m.conns {
		if cut && (c.from == name || c.to == name) {
			c.near.Close()
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
}

// pass waits for as long as a message between two nodes takes to be let through;
// false: it never is, for stop was closed.
func (m *memNet) pass(from, to string, stop <-chan struct{}) bool {
	for waited := false; ; waited = true {
		m.mu.Lock()
		mute, late := m.mute[from] || m.mute[to], m.late[from]+m.late[to]
		m.mu.Unlock()
		if !mute && (waited || late == 0) {
			return true
		}
		if mute {
			late = 50 * time.Millisecond
		}
		select {
		case <-time.After(late):
		case <-stop:
			return false
		case <-m.gone:
			return false
		}
	}
}

func (m *memNet) pipe(from, to string) (near, far *memEnd) {
	a, b := net.Pipe()
	near = &memEnd{Conn: a, net: m, from: from, to: to, out: make(chan []byte, memBuffer), end: make(chan struct{})}
	far = &memEnd{Conn: b, net: m, from: to, to: from, out: make(chan []byte, memBuffer), end: make(chan struct{})}
	near.other, far.other = far.end, near.end
	m.mu.Lock()
	m.pipes = append(m.pipes, a, b)
	m.mu.Unlock()
	go near.pump()
	go far.pump()
	return near, far
}

// memBuffer is how many writes are on their way before another one has to wait.
const memBuffer = 64

// memEnd is one end of a connection. As with TCP, a write is done when it is
// buffered, and what was written before Close still arrives.
type memEnd struct {
	net.Conn
	net        *memNet
	from, to   string
	out        chan []byte
	end, other chan struct{} // closed with this end, and with the other one
	once       sync.Once
	deadline   atomic.Int64 // of writes: Unix time in nanoseconds, or 0
}

func (e *memEnd) Write(b []byte) (int, error) {
	var late <-chan time.Time
	if at := e.deadline.Load(); at != 0 {
		timer := time.NewTimer(time.Until(time.Unix(0, at)))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-e.end:
		return 0, net.ErrClosed
	case <-e.other:
		return 0, syscall.EPIPE
	default:
	}
	select {
	case e.out <- bytes.Clone(b):
		return len(b), nil
	case <-e.end:
		return 0, net.ErrClosed
	case <-e.other:
		return 0, syscall.EPIPE
	case <-late:
		return 0, os.ErrDeadlineExceeded
	}
}

// pump brings over what was written.
func (e *memEnd) pump() {
	for {
		select {
		case b := <-e.out:
			if !e.bring(b) {
				return
			}
		case <-e.other: // nobody reads; what it sent may still be read here
			select {
			case <-e.end:
			case <-e.net.gone:
			}
			e.Conn.Close()
			return
		case <-e.net.gone:
			return
		case <-e.end:
			for len(e.out) > 0 && e.bring(<-e.out) {
			}
			e.Conn.Close()
			return
		}
	}
}

func (e *memEnd) bring(b []byte) bool {
	if !e.net.pass(e.from, e.to, e.other) {
		return false
	}
	_, err := e.Conn.Write(b)
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
		close(e.end)
	})
	return nil
}
