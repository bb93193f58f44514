package cluster

import (
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
}

func newMemNet() *memNet {
	return &memNet{
		listeners: map[string]*memListener{}, cut: map[[2]string]bool{},
		late: map[string]time.Duration{}, mute: map[string]bool{},
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
		if err := m.pass(from, to, ctx.Done(), nil, nil); err != nil {
			return nil, err
		}
		near, far := m.pipe(from, to)
		select {
		case l.in <- far:
		case <-l.done:
			return nil, syscall.ECONNREFUSED // its process ended
		case <-ctx.Done():
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

// pass waits for as long as a message between two nodes takes to be let through.
// It fails if one of the ends is closed before, or a deadline passes: Unix time in
// nanoseconds, 0 or nil for none.
func (m *memNet) pass(from, to string, end, other <-chan struct{}, deadline *atomic.Int64) error {
	for waited := false; ; waited = true {
		m.mu.Lock()
		mute, late := m.mute[from] || m.mute[to], m.late[from]+m.late[to]
		m.mu.Unlock()
		if !mute && (waited || late == 0) {
			return nil
		}
		if deadline != nil && deadline.Load() != 0 && time.Now().UnixNano() >= deadline.Load() {
			return os.ErrDeadlineExceeded
		}
		if mute {
			late = 50 * time.Millisecond
		}
		select {
		case <-time.After(late):
		case <-end:
			return net.ErrClosed
		case <-other:
			return net.ErrClosed
		}
	}
}

func (m *memNet) pipe(from, to string) (near, far net.Conn) {
	a, b := net.Pipe()
	ends := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	return &memEnd{Conn: a, net: m, from: from, to: to, end: ends[0], other: ends[1]},
		&memEnd{Conn: b, net: m, from: to, to: from, end: ends[1], other: ends[0]}
}

// memEnd is one end of a connection.
type memEnd struct {
	net.Conn
	net        *memNet
	from, to   string
	end, other chan struct{} // closed with this end, and with the other one
	once       sync.Once
	deadline   atomic.Int64 // of writes
}

func (e *memEnd) Write(b []byte) (int, error) {
	if err := e.net.pass(e.from, e.to, e.end, e.other, &e.deadline); err != nil {
		return 0, err
	}
	return e.Conn.Write(b)
}

func (e *memEnd) SetDeadline(t time.Time) error {
	return errors.Join(e.SetReadDeadline(t), e.SetWriteDeadline(t))
}

func (e *memEnd) SetWriteDeadline(t time.Time) error {
	e.deadline.Store(0)
	if !t.IsZero() {
		e.deadline.Store(t.UnixNano())
	}
	return e.Conn.SetWriteDeadline(t)
}

func (e *memEnd) Close() error {
	e.once.Do(func() { close(e.end) })
	return e.Conn.Close()
}
