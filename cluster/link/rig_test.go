package link

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cairn/fsm"
)

// TestMain fails the package when any test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testCluster = "01JCLUSTER"

// network is what a rig's nodes meet on: addresses, and what dials and listens.
type network interface {
	listen(node fsm.NodeID) net.Listener
	dial(ctx context.Context, addr string) (net.Conn, error)
}

// tcpNet is loopback. An address is a node's id.
type tcpNet struct {
	mu    sync.Mutex
	addrs map[string]string
}

func newTCPNet() *tcpNet { return &tcpNet{addrs: map[string]string{}} }

func (n *tcpNet) listen(node fsm.NodeID) net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs[string(node)] = ln.Addr().String()
	return ln
}

func (n *tcpNet) dial(ctx context.Context, addr string) (net.Conn, error) {
	n.mu.Lock()
	real := n.addrs[addr]
	n.mu.Unlock()
	return dialTCP(ctx, real)
}

// memNet is a network of net.Pipe: all its blocking is on channels, so it works
// in a synctest bubble, where a socket would stop the clock.
type memNet struct {
	hole atomic.Bool // what is written arrives nowhere

	mu  sync.Mutex
	lns map[string]*memListener
}

// memConn is one end of a connection that falls silent while the net has a hole.
type memConn struct {
	net.Conn
	net *memNet
}

func (c memConn) Write(b []byte) (int, error) {
	if c.net.hole.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func newMemNet() *memNet { return &memNet{lns: map[string]*memListener{}} }

type memListener struct {
	addr     string
	accepted chan net.Conn
	done     chan struct{}
	once     sync.Once
}

type memAddr string

func (a memAddr) Network() string { return "mem" }
func (a memAddr) String() string  { return string(a) }

func (l *memListener) Addr() net.Addr { return memAddr(l.addr) }
func (l *memListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

var errUnreachable = errors.New("memNet: unreachable")

func (n *memNet) listen(node fsm.NodeID) net.Listener {
	l := &memListener{addr: string(node), accepted: make(chan net.Conn), done: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lns[l.addr] = l
	return l
}

func (n *memNet) dial(ctx context.Context, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.lns[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, errUnreachable
	}
	near, far := net.Pipe()
	select {
	case l.accepted <- memConn{far, n}:
		return memConn{near, n}, nil
	case <-l.done:
		return nil, errUnreachable
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// rig is a set of nodes of one cluster on one network. A node's address is its
// id. What it starts is stopped when the test ends.
type rig struct {
	tb  testing.TB
	ca  *Authority
	net network
}

func newRig(tb testing.TB, net network) *rig {
	return &rig{tb: tb, ca: must(NewAuthority(testCluster)), net: net}
}

// creds are of a node of the rig's cluster.
func (r *rig) creds(node fsm.NodeID) Credentials {
	key, pub, err := NewKey()
	if err != nil {
		r.tb.Fatal(err)
	}
	cert := must(r.ca.Issue(pub, r.ca.Cluster(), node, time.Now()))
	return Credentials{Cluster: r.ca.Cluster(), Node: node, CA: r.ca.CertPEM(), Cert: cert, Key: key}
}

// start runs a node. tune may change its config.
func (r *rig) start(node fsm.NodeID, tune func(*Config)) *Link {
	r.tb.Helper()
	conf := Config{
		Credentials: r.creds(node),
		Listener:    r.net.listen(node),
		Resolve:     func(n fsm.NodeID) (string, bool) { return string(n), true },
		Dial:        r.net.dial,
		Handle:      echo,
	}
	if tune != nil {
		tune(&conf)
	}
	l, err := New(conf)
	if err != nil {
		r.tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- l.Serve() }()
	r.tb.Cleanup(func() {
		l.Close()
		if err := <-served; err != nil {
			r.tb.Errorf("Serve: %v", err)
		}
	})
	return l
}

// echo answers with the request.
func echo(_ context.Context, _ fsm.NodeID, _ uint8, _ uint32, body []byte) ([]byte, error) {
	return append([]byte(nil), body...), nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// eventually polls until ok, for at most ten seconds.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("%s: not within ten seconds", what)
		}
	}
}

// within is a context for a call that must end by itself.
func within(tb testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	tb.Cleanup(cancel)
	return ctx
}

// serverHandshake is the accepting side's TLS, for tests that go on by hand.
func serverHandshake(raw net.Conn, conf *tls.Config) (*tls.Conn, error) {
	tc := tls.Server(raw, conf)
	return tc, tc.Handshake()
}
