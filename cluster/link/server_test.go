package link

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
)

// member connects to "b" as node "a", up to ready, and leaves the rest to the
// test.
func member(t *testing.T, r *rig) *tls.Conn {
	t.Helper()
	raw := must(r.net.dial(t.Context(), "b"))
	t.Cleanup(func() { raw.Close() })
	tc := tls.Client(raw, must(r.creds("a").identity(time.Now())).clientTLS("b"))
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := awaitReady(tc); err != nil {
		t.Fatal(err)
	}
	return tc
}

func requestFrame(id uint64, body string) []byte {
	return appendFrame(nil, header{typ: typeRequest, id: id}, []byte(body))
}

// TestServerEndsConnection: even an authenticated member that breaks the protocol
// is hung up on, at once, and its handlers' contexts end.
func TestServerEndsConnection(t *testing.T) {
	oversize := requestFrame(2, "")
	oversize[3] = 0xff
	for name, bad := range map[string][]byte{
		"a response":            appendFrame(nil, header{typ: typeResponse, id: 1}, nil),
		"ready":                 appendFrame(nil, header{typ: typeReady}, nil),
		"a stream in the midst": appendFrame(nil, header{typ: typeStream}, nil),
		"an id that is in use":  requestFrame(1, "again"),
		"4 GiB":                 oversize,
		"type 0":                make([]byte, headerSize),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, newMemNet())
				ended := make(chan struct{})
				b := r.start("b", func(c *Config) {
					c.Handle = func(ctx context.Context, _ fsm.NodeID, _ uint8, _ uint32, _ []byte) ([]byte, error) {
						<-ctx.Done()
						close(ended)
						return nil, ctx.Err()
					}
				})
				tc := member(t, r)
				tc.Write(requestFrame(1, "waits"))
				start := time.Now()
				tc.Write(bad)
				if _, err := readHeader(tc, MaxBody); err == nil {
					t.Error("it is answered")
				}
				<-ended
				synctest.Wait()
				if took := time.Since(start); took != 0 || openConns(b) != 0 {
					t.Errorf("after %v, %d open", took, openConns(b))
				}
			})
		})
	}
}

// TestServerRefusesOverload: a peer that does not count its own calls is refused
// what is over the limits, by number and by bytes, and nothing else happens to it.
func TestServerRefusesOverload(t *testing.T) {
	for _, tt := range []struct {
		name        string
		size, limit int
	}{
		{"by number", 0, maxCalls},
		{"by bytes", 2 << 20, maxServed / (2 << 20)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, newMemNet())
				release := make(chan struct{})
				r.start("b", func(c *Config) {
					c.Handle = func(context.Context, fsm.NodeID, uint8, uint32, []byte) ([]byte, error) {
						<-release
						return nil, nil
					}
				})
				tc := member(t, r)
				for range 2 { // what was answered leaves its room, and its id
					overload(t, tc, tt.limit, make([]byte, tt.size))
					for range tt.limit {
						release <- struct{}{}
						if h, err := readHeader(tc, MaxBody); err != nil || h.typ != typeResponse {
							t.Fatalf("got %+v, %v, want a response", h, err)
						}
					}
				}
			})
		})
	}
}

// overload sends as many requests as may be served, and one more, which must be
// refused.
func overload(t *testing.T, tc *tls.Conn, limit int, body []byte) {
	t.Helper()
	for id := range uint64(limit) {
		tc.Write(appendFrame(nil, header{typ: typeRequest, id: id}, body))
	}
	const last = 1 << 40
	tc.Write(appendFrame(nil, header{typ: typeRequest, id: last}, body))
	h, err := readHeader(tc, MaxBody)
	if err != nil || h.typ != typeError || h.id != last {
		t.Fatalf("got %+v, %v, want an error for the last", h, err)
	}
	if e, err := readRemote(tc, h); err != nil || e.Kind != fsm.Overloaded || e.After == 0 {
		t.Errorf("got %+v, %v, want Overloaded", e, err)
	}
}

// TestServerCutMidFrame: a request that does not arrive whole reaches no handler.
func TestServerCutMidFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemNet())
		b := r.start("b", func(c *Config) {
			c.Handle = func(context.Context, fsm.NodeID, uint8, uint32, []byte) ([]byte, error) {
				t.Error("the handler was reached")
				return nil, nil
			}
		})
		for _, cut := range []int{1, headerSize - 1, headerSize, headerSize + 3} {
			tc := member(t, r)
			tc.Write(requestFrame(1, "half")[:cut])
			tc.NetConn().Close()
			synctest.Wait()
			if n := openConns(b); n != 0 {
				t.Errorf("cut at %d: %d open", cut, n)
			}
		}
	})
}

// TestCallerEndsConnection: an accepting side that breaks the protocol loses the
// connection, and the call's outcome is unknown.
func TestCallerEndsConnection(t *testing.T) {
	oversize := appendFrame(nil, header{typ: typeResponse, id: 1}, nil)
	oversize[3] = 0xff
	for name, bad := range map[string][]byte{
		"a request":           requestFrame(1, ""),
		"ready again":         appendFrame(nil, header{typ: typeReady}, nil),
		"4 GiB":               oversize,
		"garbage for a error": appendFrame(nil, header{typ: typeError, id: 1}, []byte{0xff}),
		"a huge error":        appendFrame(nil, header{typ: typeError, id: 1}, make([]byte, maxErrorBody+1)),
		"half a response":     appendFrame(nil, header{typ: typeResponse, id: 1}, []byte("half"))[:headerSize+2],
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, newMemNet())
				byHand(t, r, "b", func(tc *tls.Conn) {
					h, err := readHeader(tc, MaxBody)
					if err != nil || h.typ != typeRequest {
						return
					}
					tc.Write(bad)
					if name == "half a response" {
						tc.Close()
					}
					io.Copy(io.Discard, tc)
				})
				start := time.Now()
				if err := ask(t, r.start("a", nil), "b"); !errors.Is(err, ErrLost) || time.Since(start) != 0 {
					t.Errorf("got %v after %v, want ErrLost at once", err, time.Since(start))
				}
			})
		})
	}
}

// TestUnknownAnswersAreIgnored: answers to calls that gave up, or never were, do
// no harm.
func TestUnknownAnswersAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemNet())
		byHand(t, r, "b", func(tc *tls.Conn) {
			for {
				h, err := readHeader(tc, MaxBody)
				if err != nil {
					return
				}
				for _, id := range []uint64{h.id + 7, h.id, h.id, 0} { // twice, too
					tc.Write(appendFrame(nil, header{typ: typeResponse, id: id}, []byte{byte(id)}))
				}
			}
		})
		a := r.start("a", nil)
		for want := byte(1); want < 10; want++ {
			b, err := a.Call(within(t, time.Second), "b", 1, 1, nil)
			if err != nil || b[0] != want {
				t.Fatalf("got %v, %v, want %d", b, err, want)
			}
		}
	})
}
