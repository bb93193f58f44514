package link

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"cairn/fsm"
)

const (
	// handshakeTimeout bounds everything from dialling, or accepting, to the
	// frame that says ready.
	handshakeTimeout = 5 * time.Second
	// acceptRetry is the pause after the listener failed to accept.
	acceptRetry = 100 * time.Millisecond
)

// Handler answers one request. It runs in its own goroutine; requests of one
// connection run at the same time and in no order. ctx ends with the caller's
// deadline, when the caller gives up, and when the connection or the Link
// closes. body is valid until the handler returns; the result is not kept
// beyond the write. An error travels as the *fsm.Error in its chain.
type Handler func(ctx context.Context, from fsm.NodeID, kind uint8, group uint32, body []byte) ([]byte, error)

// StreamHandler owns a stream that a node opened, in its own goroutine; the
// stream is closed when it returns. Close and Drop close it from outside. io.EOF
// means that the other end closed it properly after everything it wrote; a
// stream that was cut ends with another error.
type StreamHandler func(from fsm.NodeID, kind uint8, group uint32, c net.Conn)

// JoinHandler answers one request (at most 16 KiB) of somebody who has not
// proved anything, with at most 1 MiB. ctx ends after ten seconds.
type JoinHandler func(ctx context.Context, remote string, req []byte) ([]byte, error)

// Dialer opens a connection to an address, until ctx ends.
type Dialer func(ctx context.Context, addr string) (net.Conn, error)

// Config is what a Link is made of.
type Config struct {
	// Credentials prove who this node is.
	Credentials Credentials
	// Listener accepts the other nodes. The Link closes it.
	Listener net.Listener
	// Resolve returns the address of a node, asked at every dial. It must not
	// block.
	Resolve func(fsm.NodeID) (addr string, ok bool)
	// Dial opens connections; nil is TCP.
	Dial Dialer
	// Handle answers calls; nil refuses them.
	Handle Handler
	// HandleStream takes streams; nil closes them.
	HandleStream StreamHandler
	// Join answers joining nodes; nil refuses them.
	Join JoinHandler
	// Member reports whether a node may be talked to, asked of every new
	// connection in both directions; nil lets every certificate of the
	// cluster in. It must not block. When its answer becomes false, call Drop.
	Member func(fsm.NodeID) bool
	// Events is told what happens.
	Events EventListener
}

// WithDefaults returns c with what may be nil filled in.
func (c Config) WithDefaults() Config {
	if c.Dial == nil {
		c.Dial = dialTCP
	}
	if c.Member == nil {
		c.Member = func(fsm.NodeID) bool { return true }
	}
	if c.Handle == nil {
		c.Handle = func(context.Context, fsm.NodeID, uint8, uint32, []byte) ([]byte, error) {
			return nil, fsm.Errorf(fsm.Unavailable, "this node does not answer calls yet")
		}
	}
	if c.HandleStream == nil {
		c.HandleStream = func(fsm.NodeID, uint8, uint32, net.Conn) {}
	}
	if c.Join == nil {
		c.Join = func(context.Context, string, []byte) ([]byte, error) {
			return nil, fsm.Errorf(fsm.Unavailable, "this node does not admit members yet: try again, or another address")
		}
	}
	c.Events = c.Events.withDefaults()
	return c
}

// Validate checks that nothing is missing and that the credentials hold now.
func (c Config) Validate() error {
	if c.Listener == nil || c.Resolve == nil {
		return fsm.Errorf(fsm.Invalid, "a link needs a Listener and Resolve")
	}
	return c.Credentials.Validate(time.Now())
}

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

// Link is a node's end of the channel to all others. All methods may be called
// at the same time.
type Link struct {
	conf      Config
	id        *identity
	serverTLS *tls.Config
	conns     *registry
	joins     *joinGate

	ctx    context.Context // of every handler and dial; ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of the Link
	sent   traffic

	mu     sync.Mutex
	peers  map[fsm.NodeID]*peer
	closed bool
}

// Sent is how many frames (requests, answers, pings) and bytes of them were
// queued for other nodes so far, without streams and what TLS adds.
func (l *Link) Sent() (frames, bytes uint64) { return l.sent.frames.Load(), l.sent.bytes.Load() }

// New makes a Link. It owns the listener from now on, but accepts only in Serve;
// calls can be made at once.
func New(conf Config) (*Link, error) {
	conf = conf.WithDefaults()
	if err := conf.Validate(); err != nil {
		return nil, err
	}
	id, err := conf.Credentials.identity(time.Now())
	if err != nil {
		return nil, err
	}
	l := &Link{
		conf:      conf,
		id:        id,
		serverTLS: id.serverTLS(),
		conns:     newRegistry(),
		joins:     newJoinGate(time.Now()),
		peers:     map[fsm.NodeID]*peer{},
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l, nil
}

// Serve accepts connections until Close, and returns nil then. A failure to
// accept (too many open files, say) is reported and tried again; only a listener
// that somebody else closed ends Serve with an error.
func (l *Link) Serve() error {
	if !l.enter() {
		return nil
	}
	defer l.wg.Done()
	for {
		raw, err := l.conf.Listener.Accept()
		switch {
		case err == nil:
			l.wg.Go(func() { l.accept(raw) })
		case l.isClosed():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			l.conf.Events.AcceptFailed(err)
			select {
			case <-time.After(acceptRetry):
			case <-l.ctx.Done():
			}
		}
	}
}

// Close closes the listener and every connection and stream, ends the contexts
// of all handlers, and waits for them and for every goroutine of the Link. It
// must not be called from a handler. Calls under way end with ErrLost or
// ErrUnsent.
func (l *Link) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.conf.Listener.Close()
	// Before the contexts end: what a handler says because its context ended is
	// no answer, and must not reach the caller as one.
	l.conns.close()
	l.cancel()
	l.wg.Wait()
}

func (l *Link) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Drop cuts every connection and stream with a node, in both directions. Call it
// after Member has begun to refuse the node: a connection that is being opened
// at the same moment is then either cut here or refused there.
func (l *Link) Drop(node fsm.NodeID) {
	l.conns.cut(node)
}

// enter counts the caller as a goroutine that Close waits for (until it calls
// wg.Done), unless the Link is closed. Goroutines that are counted may start
// others without asking.
func (l *Link) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.wg.Add(1)
	return true
}

// Call sends a request to a node and waits for its answer, which the caller
// owns. Any number of calls run at the same time, over one connection, in no
// order; body is not kept. kind and group are the callers' business. Without a
// verdict of the remote handler the error is ErrUnsent or ErrLost: see there.
// The remote handler's context ends when ctx does.
//
// Limits: body and answer MaxBody (TooLarge), maxCalls at a time to one node
// (Overloaded).
func (l *Link) Call(ctx context.Context, node fsm.NodeID, kind uint8, group uint32, body []byte) ([]byte, error) {
	if len(body) > MaxBody {
		return nil, fsm.Errorf(fsm.TooLarge, "a request between nodes of %d bytes is over the limit of %d", len(body), MaxBody)
	}
	p, err := l.peer(node)
	if err != nil {
		return nil, unsent(err)
	}
	c, err := p.connect(ctx)
	if err != nil {
		return nil, unsent(err)
	}
	return c.call(ctx, kind, group, body)
}

// peer returns the state of a node. Only one that can be resolved gets a state,
// so there are no more of them than members there ever were.
func (l *Link) peer(node fsm.NodeID) (*peer, error) {
	if p, err := l.known(node); p != nil || err != nil {
		return p, err
	}
	if _, ok := l.conf.Resolve(node); !ok { // not under the lock: it is the caller's code
		return nil, errUnknown
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.peers[node]
	if p == nil {
		p = &peer{link: l, node: node}
		l.peers[node] = p
	}
	return p, nil
}

func (l *Link) known(node fsm.NodeID) (*peer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed
	}
	return l.peers[node], nil
}
