package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
)

// joinTo joins over the rig's network.
func joinTo(t *testing.T, r *rig, print string, req []byte) ([]byte, error) {
	return JoinOver(within(t, 30*time.Second), r.net.dial, "b", print, req)
}

func TestJoin(t *testing.T) {
	r := newRig(t, newTCPNet())
	r.start("b", func(c *Config) {
		c.Join = func(_ context.Context, _ string, req []byte) ([]byte, error) {
			switch string(req) {
			case "used":
				return nil, fsm.Errorf(fsm.Unauthenticated, "the token has been used")
			case "huge":
				return make([]byte, MaxJoinAnswer+1), nil
			}
			return append([]byte("welcome "), req...), nil
		}
	})
	print := r.ca.Fingerprint()
	largest := bytes.Repeat([]byte("x"), MaxJoinRequest)
	for _, req := range [][]byte{nil, []byte("me"), largest} {
		if got, err := joinTo(t, r, print, req); err != nil || string(got) != "welcome "+string(req) {
			t.Errorf("%d bytes: got %.20q, %v", len(req), got, err)
		}
	}
	for req, want := range map[string]fsm.Kind{"used": fsm.Unauthenticated, "huge": fsm.TooLarge, string(largest) + "x": fsm.TooLarge} {
		if _, err := joinTo(t, r, print, []byte(req)); fsm.KindOf(err) != want || errors.Is(err, ErrLost) {
			t.Errorf("%.20q: got %v, want %v", req, err, want)
		}
	}
}

// TestJoinNeverTellsStrangers: the request, which holds the token, is not sent to
// a server that does not prove to belong to the token's cluster. A false server
// may well show the right CA's certificate: it is public.
func TestJoinNeverTellsStrangers(t *testing.T) {
	good := newRig(t, newTCPNet())
	foreign := newRig(t, newTCPNet())
	b, theirs := good.creds("b"), foreign.creds("b")
	key := must(parseKey(b.Key))
	server := func(cert, key []byte, chain ...[]byte) *tls.Config {
		conf := baseTLS(protoJoin)
		c := tls.Certificate{PrivateKey: must(parseKey(key))}
		for _, p := range append([][]byte{cert}, chain...) {
			c.Certificate = append(c.Certificate, must(parseCert(p)).Raw)
		}
		conf.Certificates = []tls.Certificate{c}
		return conf
	}
	bad := map[string]*tls.Config{
		"not TLS":                 nil,
		"another cluster":         server(theirs.Cert, theirs.Key, theirs.CA),
		"the right CA shown":      server(theirs.Cert, theirs.Key, b.CA),
		"both CAs shown":          server(theirs.Cert, theirs.Key, theirs.CA, b.CA),
		"no CA shown":             server(b.Cert, b.Key),
		"the CA itself as a node": server(b.CA, good.ca.Key(), b.CA),
		"TLS 1.2":                 server(b.Cert, b.Key, b.CA),
		"no ALPN":                 server(b.Cert, b.Key, b.CA),
		"the node protocol":       server(b.Cert, b.Key, b.CA),
	}
	bad["TLS 1.2"].MinVersion, bad["TLS 1.2"].MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	bad["no ALPN"].NextProtos = nil
	bad["the node protocol"].NextProtos = []string{protoNode}
	for name, change := range forgeries {
		bad[name] = server(forge(good.ca, key.Public(), change), b.Key, b.CA)
	}
	token := must(NewJoinToken("t1", good.ca.Fingerprint()))
	for name, conf := range bad {
		t.Run(name, func(t *testing.T) {
			r := &rig{tb: t, ca: good.ca, net: newTCPNet()}
			i := startImpostor(t, r, "b", conf)
			_, err := joinTo(t, r, good.ca.Fingerprint(), []byte(token))
			if !errors.Is(err, ErrUnsent) {
				t.Errorf("got %v, want ErrUnsent", err)
			}
			if got := i.received(); bytes.Contains(got, []byte(token)) {
				t.Error("the token was sent")
			}
		})
	}
	r := &rig{tb: t, ca: good.ca, net: newTCPNet()}
	i := startImpostor(t, r, "b", server(forge(good.ca, key.Public(), func(*x509.Certificate) {}), b.Key, b.CA))
	if _, err := JoinOver(within(t, 300*time.Millisecond), r.net.dial, "b", good.ca.Fingerprint(), []byte(token)); !errors.Is(err, ErrLost) {
		t.Errorf("a true server that never answers properly: got %v, want ErrLost: the table shows nothing", err)
	}
	eventually(t, "the true server has the token", func() bool { return bytes.Contains(i.received(), []byte(token)) })
}

// TestJoinForeignIsForbidden: a wrong address is not something to retry.
func TestJoinForeignIsForbidden(t *testing.T) {
	r := newRig(t, newTCPNet())
	r.start("b", nil)
	_, err := joinTo(t, r, newRig(t, newTCPNet()).ca.Fingerprint(), nil)
	if fsm.KindOf(err) != fsm.Forbidden || !errors.Is(err, ErrUnsent) {
		t.Errorf("got %v, want Forbidden and ErrUnsent", err)
	}
	if _, err := JoinOver(within(t, time.Second), r.net.dial, "nowhere", r.ca.Fingerprint(), nil); !errors.Is(err, ErrUnsent) || fsm.KindOf(err) != fsm.Unavailable {
		t.Errorf("nobody there: got %v, want Unavailable and ErrUnsent", err)
	}
}

// TestJoinBounded: a request over the limit is never read, and one that does not
// come ends after joinTimeout.
func TestJoinBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemNet())
		var reached atomic.Bool
		r.start("b", func(c *Config) {
			c.Join = func(context.Context, string, []byte) ([]byte, error) { reached.Store(true); return nil, nil }
		})
		for name, send := range map[string][]byte{
			"over the limit": appendFrame(nil, header{typ: typeRequest}, make([]byte, MaxJoinRequest+1))[:headerSize],
			"a ping":         appendFrame(nil, header{typ: typePing}, nil),
			"half a header":  appendFrame(nil, header{typ: typeRequest}, nil)[:10],
			"half a body":    appendFrame(nil, header{typ: typeRequest}, make([]byte, 100))[:headerSize+50],
			"nothing":        nil,
		} {
			start := time.Now()
			raw := must(r.net.dial(t.Context(), "b"))
			tc := tls.Client(raw, joinTLS(r.ca.Fingerprint()))
			if err := tc.Handshake(); err != nil {
				t.Fatal(err)
			}
			if send != nil {
				tc.Write(send)
			}
			// Either it is answered with an error, or the server hangs up.
			h, err := readHeader(tc, MaxJoinAnswer)
			if err == nil && h.typ != typeError {
				t.Errorf("%s: answered with type %d", name, h.typ)
			}
			if took := time.Since(start); took > joinTimeout {
				t.Errorf("%s: open for %v", name, took)
			}
			raw.Close()
		}
		if reached.Load() {
			t.Error("the handler was reached")
		}
	})
}

// TestJoinLimits: at most maxJoins requests are handled at a time, and beyond a
// burst only joinRate a second. Those refused are told when to come back.
func TestJoinLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemNet())
		var busy, most atomic.Int64
		r.start("b", func(c *Config) {
			c.Join = func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
				most.Store(max(most.Load(), busy.Add(1)))
				defer busy.Add(-1)
				<-time.After(500 * time.Millisecond)
				return nil, nil
			}
		})
		crowd := func(n int) (ok, overloaded, limited int) {
			var mu sync.Mutex
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					_, err := joinTo(t, r, r.ca.Fingerprint(), nil)
					mu.Lock()
					defer mu.Unlock()
					e := asError(errOr(err))
					switch {
					case err == nil:
						ok++
					case e.Kind == fsm.Overloaded && e.After > 0:
						overloaded++
					case e.Kind == fsm.RateLimited && e.After > 0:
						limited++
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			return ok, overloaded, limited
		}
		if ok, overloaded, _ := crowd(20); ok != maxJoins || overloaded != 20-maxJoins {
			t.Errorf("20 at once: %d handled and %d overloaded, want %d and the rest", ok, overloaded, maxJoins)
		}
		var limited int
		for range 4 * joinBurst { // one after the other, no pause but the handler's
			_, _, l := crowd(1)
			limited += l
		}
		if limited != 0 { // two a second: under the rate
			t.Errorf("%d refused under the rate", limited)
		}
		if m := most.Load(); m != maxJoins {
			t.Errorf("%d handled at once, want %d", m, maxJoins)
		}
	})
}

func errOr(err error) error {
	if err == nil {
		return errors.New("none")
	}
	return err
}

// TestJoinGateRate is the token bucket alone, against the arithmetic.
func TestJoinGateRate(t *testing.T) {
	now := time.Unix(0, 0)
	g := newJoinGate(now)
	let := func() (n int) {
		for g.enter(now) == nil {
			g.leave()
			n++
		}
		return n
	}
	if n := let(); n != joinBurst {
		t.Errorf("%d at once, want %d", n, joinBurst)
	}
	now = now.Add(2 * time.Second)
	if n := let(); n != 2*joinRate {
		t.Errorf("%d after two seconds, want %d", n, 2*joinRate)
	}
	now = now.Add(-time.Hour) // the clock was set back: no credit, no debt
	if n := let(); n != 0 {
		t.Errorf("%d after the clock was set back", n)
	}
	now = now.Add(time.Hour)
	if n := let(); n != joinBurst {
		t.Errorf("%d after an hour, want %d", n, joinBurst)
	}
}
