package link

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"cairn/fsm"
)

// outcome is one row of the truth table in DESIGN.md.
type outcome struct {
	name string
	want error // ErrUnsent or ErrLost
	// call makes the situation and the call. started is signalled by b's
	// handler, which then never answers.
	call func(t *testing.T, a, b *Link, started <-chan struct{}) error
}

var outcomes = []outcome{
	{"no address is known", ErrUnsent, func(t *testing.T, a, _ *Link, _ <-chan struct{}) error {
		return ask(t, a, "nobody")
	}},
	{"nobody listens", ErrUnsent, func(t *testing.T, a, b *Link, _ <-chan struct{}) error {
		b.Close()
		err := ask(t, a, "b")
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the cause is lost: %v", err)
		}
		return err
	}},
	{"in the pause after a failed dial", ErrUnsent, func(t *testing.T, a, b *Link, _ <-chan struct{}) error {
		b.Close()
		ask(t, a, "b")
		start := time.Now()
		err := ask(t, a, "b")
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v, want at once", took)
		}
		return err
	}},
	{"the context had ended", ErrUnsent, func(_ *testing.T, a, _ *Link, _ <-chan struct{}) error {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := a.Call(ctx, "b", 1, 1, nil)
		return err
	}},
	{"the context had ended, connected", ErrUnsent, func(t *testing.T, a, _ *Link, _ <-chan struct{}) error {
		connect(t, a)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := a.Call(ctx, "b", 1, 1, nil)
		return err
	}},
	{"this link was closed before", ErrUnsent, func(t *testing.T, a, _ *Link, _ <-chan struct{}) error {
		a.Close()
		return ask(t, a, "b")
	}},
	{"this link is closed meanwhile", ErrLost, func(t *testing.T, a, _ *Link, started <-chan struct{}) error {
		go func() { <-started; a.Close() }()
		return ask(t, a, "b")
	}},
	{"the node stopped, and we noticed", ErrUnsent, func(t *testing.T, a, b *Link, _ <-chan struct{}) error {
		connect(t, a)
		b.Close()
		eventually(t, "the connection is given up", func() bool { return a.peers["b"].live() == nil })
		return ask(t, a, "b")
	}},
	{"the node stops while it handles the call", ErrLost, func(t *testing.T, a, b *Link, started <-chan struct{}) error {
		go func() { <-started; b.Close() }()
		return ask(t, a, "b")
	}},
	{"the connection is cut while it handles the call", ErrLost, func(t *testing.T, a, b *Link, started <-chan struct{}) error {
		go func() { <-started; b.Drop("a") }()
		return ask(t, a, "b")
	}},
	{"the deadline passes while it handles the call", ErrLost, func(_ *testing.T, a, _ *Link, _ <-chan struct{}) error {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_, err := a.Call(ctx, "b", 1, 1, nil)
		return err
	}},
}

func ask(t *testing.T, l *Link, node fsm.NodeID) error {
	_, err := l.Call(within(t, 30*time.Second), node, 1, 1, nil)
	return err
}

// connect makes a call of kind 2, which b answers.
func connect(t *testing.T, a *Link) {
	t.Helper()
	if _, err := a.Call(within(t, 10*time.Second), "b", 2, 1, nil); err != nil {
		t.Fatal(err)
	}
}

// live returns the open connection, if any.
func (p *peer) live() *callConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn
}

func TestOutcomes(t *testing.T) {
	for _, tt := range outcomes {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, newTCPNet())
			started, release := make(chan struct{}, 1), make(chan struct{})
			b := r.start("b", func(c *Config) {
				c.Handle = func(ctx context.Context, _ fsm.NodeID, kind uint8, _ uint32, _ []byte) ([]byte, error) {
					if kind == 1 {
						started <- struct{}{}
						<-release // whatever happens: no answer
					}
					return nil, ctx.Err()
				}
			})
			a := r.start("a", func(c *Config) {
				c.Resolve = func(n fsm.NodeID) (string, bool) { return string(n), n != "nobody" }
			})
			t.Cleanup(func() { close(release) })
			err := tt.call(t, a, b, started)
			other := ErrLost
			if tt.want == ErrLost {
				other = ErrUnsent
			}
			if !errors.Is(err, tt.want) || errors.Is(err, other) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if k, want := fsm.KindOf(err), fsm.KindOf(tt.want); k != want {
				t.Errorf("kind %v, want %v", k, want)
			}
		})
	}
}

// TestHandshakeIsUnsent: a node that accepts and goes away at any point before it
// has said ready cannot have seen the request.
func TestHandshakeIsUnsent(t *testing.T) {
	r := newRig(t, newTCPNet())
	conf := must(r.creds("b").identity(time.Now())).serverTLS()
	for name, answer := range map[string]func(net.Conn){
		"at once":             func(net.Conn) {},
		"after the handshake": func(c net.Conn) { must(serverHandshake(c, conf)) },
		"with garbage":        func(c net.Conn) { must(serverHandshake(c, conf)).Write(make([]byte, headerSize)) },
		"with half of ready": func(c net.Conn) {
			must(serverHandshake(c, conf)).Write(appendFrame(nil, header{typ: typeReady}, nil)[:10])
		},
		"with a response": func(c net.Conn) {
			must(serverHandshake(c, conf)).Write(appendFrame(nil, header{typ: typeResponse, id: 1}, nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			ln := r.net.listen("b")
			done := make(chan struct{})
			go func() {
				defer close(done)
				raw := must(ln.Accept())
				answer(raw)
				raw.Close()
			}()
			a := r.start("a", nil)
			if err := ask(t, a, "b"); !errors.Is(err, ErrUnsent) {
				t.Errorf("got %v, want ErrUnsent", err)
			}
			ln.Close()
			<-done
		})
	}
}
