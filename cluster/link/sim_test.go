package link

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
)

// These tests run in virtual time over net.Pipe: every timeout of the package is
// met, and measured, in milliseconds. A mutex held while something blocks, or a
// goroutine that Close leaves behind, stops the bubble's clock and fails them.

// TestSilence: when a link is cut so that nothing arrives and nothing breaks, a
// call fails with ErrLost within callerPatience beats, and when the link is back
// the next call goes through.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		r := newRig(t, n)
		r.start("b", nil)
		var cause error
		a := r.start("a", func(c *Config) { c.Events.Disconnected = func(_ fsm.NodeID, err error) { cause = err } })
		if err := ask(t, a, "b"); err != nil {
			t.Fatal(err)
		}
		n.hole.Store(true)
		start := time.Now()
		err := ask(t, a, "b")
		if took := time.Since(start); !errors.Is(err, ErrLost) || took > (callerPatience+1)*beat || took < (callerPatience-1)*beat {
			t.Errorf("after %v: %v, want ErrLost after about %v", took, err, callerPatience*beat)
		}
		if !errors.Is(cause, errSilent) {
			t.Errorf("Disconnected for %v", cause)
		}
		n.hole.Store(false)
		if err := ask(t, a, "b"); err != nil {
			t.Errorf("healed: %v", err)
		}
	})
}

// TestIdle: a connection that nobody uses stays open for a day, and notices by
// itself, on both sides, when the other end is no longer there.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		r := newRig(t, n)
		b := r.start("b", nil)
		var connected, lost atomic.Int64
		a := r.start("a", func(c *Config) {
			c.Events.Connected = func(fsm.NodeID, time.Duration) { connected.Add(1) }
			c.Events.Disconnected = func(fsm.NodeID, error) { lost.Add(1) }
		})
		for range 24 {
			if err := ask(t, a, "b"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		if connected.Load() != 1 || lost.Load() != 0 {
			t.Errorf("%d connections, %d lost, want one that stays", connected.Load(), lost.Load())
		}
		n.hole.Store(true)
		time.Sleep((serverPatience + 1) * beat)
		synctest.Wait()
		if lost.Load() != 1 || openConns(a) != 0 || openConns(b) != 0 {
			t.Errorf("lost %d, open %d and %d: a dead connection is kept", lost.Load(), openConns(a), openConns(b))
		}
	})
}

// TestLongCall: a call without a deadline may take for ever, as long as the
// connection lives.
func TestLongCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemNet())
		r.start("b", func(c *Config) {
			c.Handle = func(ctx context.Context, _ fsm.NodeID, _ uint8, _ uint32, _ []byte) ([]byte, error) {
				if _, ok := ctx.Deadline(); ok {
					t.Error("a deadline came from nowhere")
				}
				time.Sleep(time.Hour)
				return []byte("done"), nil
			}
		})
		if b, err := r.start("a", nil).Call(context.Background(), "b", 1, 1, nil); err != nil || string(b) != "done" {
			t.Errorf("got %q, %v", b, err)
		}
	})
}

// TestDeadlineTravels: the handler's context ends when the caller's does, to the
// millisecond, though nobody tells it.
func TestDeadlineTravels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		r := newRig(t, n)
		took := make(chan time.Duration, 1)
		r.start("b", func(c *Config) {
			c.Handle = func(ctx context.Context, _ fsm.NodeID, _ uint8, _ uint32, _ []byte) ([]byte, error) {
				start := time.Now()
				n.hole.Store(true) // the caller's cancel will not arrive
				<-ctx.Done()
				took <- time.Since(start)
				return nil, ctx.Err()
			}
		})
		a := r.start("a", nil)
		ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
		defer cancel()
		if _, err := a.Call(ctx, "b", 1, 1, nil); !errors.Is(err, ErrLost) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if got := <-took; got != 1500*time.Millisecond {
			t.Errorf("the handler had %v, want 1.5 s", got)
		}
	})
}

// TestBackoff: a node that is not there is dialled less and less often however
// often it is called, and calls in between fail at once; when it is there again,
// it is found within backoffMax.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		r := newRig(t, n)
		var dials []time.Time
		a := r.start("a", func(c *Config) {
			c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
				dials = append(dials, time.Now())
				return n.dial(ctx, addr)
			}
		})
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
			start := time.Now()
			if err := ask(t, a, "b"); !errors.Is(err, ErrUnsent) || !errors.Is(err, errUnreachable) || time.Since(start) != 0 {
				t.Fatalf("after %v: %v", time.Since(start), err)
			}
		}
		for i := 1; i < len(dials); i++ {
			full := min(backoffMin<<min(i-1, 10), backoffMax)
			if gap := dials[i].Sub(dials[i-1]); gap < full/2 || gap > full+time.Millisecond {
				t.Errorf("pause %d was %v, want %v to %v", i, gap, full/2, full)
			}
		}
		if len(dials) < 60 {
			t.Errorf("%d dials in a minute", len(dials))
		}
		r.start("b", nil)
		time.Sleep(backoffMax)
		if err := ask(t, a, "b"); err != nil {
			t.Errorf("it is back: %v", err)
		}
	})
}

// TestCrashLoop: a node that welcomes everybody and dies is not dialled in a
// tight loop.
func TestCrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemNet())
		var welcomed int
		byHand(t, r, "b", func(tc *tls.Conn) { welcomed++; tc.NetConn().Close() })
		a := r.start("a", nil)
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			ask(t, a, "b")
		}
		if welcomed < 5 || welcomed > 30 {
			t.Errorf("connected %d times in 10 s", welcomed)
		}
	})
}

// byHand runs node's listener: every connection is authenticated, told ready and
// given to serve.
func byHand(t *testing.T, r *rig, node fsm.NodeID, serve func(*tls.Conn)) {
	ln := r.net.listen(node)
	conf := must(r.creds(node).identity(time.Now())).serverTLS()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer raw.Close()
				if tc, err := serverHandshake(raw, conf); err == nil {
					tc.Write(appendFrame(nil, header{typ: typeReady}, nil))
					serve(tc)
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
}

// TestStalledNode: when a node takes no more bytes, a caller still returns when
// its context ends, and once the connection is given up, those whose request was
// being written get ErrLost and those behind them ErrUnsent.
func TestStalledNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemNet())
		stop := make(chan struct{})
		byHand(t, r, "b", func(*tls.Conn) { <-stop }) // reads nothing
		a := r.start("a", nil)
		t.Cleanup(func() { close(stop) })
		type result struct {
			err  error
			took time.Duration
		}
		ask := func(limit time.Duration, size int) <-chan result {
			out := make(chan result, 1)
			go func() {
				start := time.Now()
				_, err := a.Call(within(t, limit), "b", 1, 1, make([]byte, size))
				out <- result{err, time.Since(start)}
			}()
			synctest.Wait()
			return out
		}
		written, behind, hurried := ask(time.Minute, 100), ask(time.Minute, 100), ask(time.Second, 100)
		ask(time.Minute, MaxBody-1000)
		ask(time.Minute, MaxBody-1000)
		waiting := ask(time.Minute, MaxBody) // for room behind all that
		if got := <-hurried; !errors.Is(got.err, ErrLost) || got.took != time.Second {
			t.Errorf("a caller with a second: %v after %v", got.err, got.took)
		}
		if got := <-written; !errors.Is(got.err, ErrLost) || got.took > (callerPatience+1)*beat {
			t.Errorf("being written: %v after %v, want ErrLost", got.err, got.took)
		}
		if got := <-behind; !errors.Is(got.err, ErrUnsent) {
			t.Errorf("behind it: %v, want ErrUnsent", got.err)
		}
		if got := <-waiting; !errors.Is(got.err, ErrUnsent) || got.took > (callerPatience+1)*beat {
			t.Errorf("waiting for room: %v after %v, want ErrUnsent", got.err, got.took)
		}
	})
}

// TestSlowReader: a caller that reads no answers costs the server a bounded
// amount of memory for a bounded time, then its connection and its handlers end.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemNet())
		const size = 1 << 20
		var served atomic.Int64
		b := r.start("b", func(c *Config) {
			c.Handle = func(context.Context, fsm.NodeID, uint8, uint32, []byte) ([]byte, error) {
				served.Add(1)
				return make([]byte, size), nil
			}
		})
		id := must(r.creds("a").identity(time.Now()))
		raw := must(r.net.dial(t.Context(), "b"))
		defer raw.Close()
		tc := tls.Client(raw, id.clientTLS("b"))
		if err := tc.Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := awaitReady(tc); err != nil {
			t.Fatal(err)
		}
		for i := range uint64(100) {
			if _, err := tc.Write(appendFrame(nil, header{typ: typeRequest, id: i}, nil)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if served.Load() != 100 {
			t.Fatalf("%d served: not reading answers stopped the reading of requests", served.Load())
		}
		start := time.Now()
		time.Sleep(writeTimeout)
		synctest.Wait()
		if n := openConns(b); n != 0 {
			t.Errorf("%d connections open %v after the peer stopped reading", n, time.Since(start))
		}
	})
}

// TestHandshakeTimeout: a stranger that says nothing, or stops half way, is cut
// after handshakeTimeout, and no more than maxStrangers may try at a time.
func TestHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemNet())
		var refused atomic.Int64
		b := r.start("b", func(c *Config) { c.Events.Refused = func(string, error) { refused.Add(1) } })
		start := time.Now()
		var raws []net.Conn
		for range maxStrangers {
			raws = append(raws, must(r.net.dial(t.Context(), "b")))
		}
		synctest.Wait()
		if n := openConns(b); n != maxStrangers || refused.Load() != 0 {
			t.Errorf("%d open, %d refused", n, refused.Load())
		}
		extra := must(r.net.dial(t.Context(), "b"))
		if _, err := extra.Read(make([]byte, 1)); err == nil || time.Since(start) != 0 {
			t.Errorf("one more than may try: %v after %v", err, time.Since(start))
		}
		raws[0].Write([]byte{22, 3, 1}) // half of a record's header
		time.Sleep(handshakeTimeout)
		synctest.Wait()
		if n := openConns(b); n != 0 {
			t.Errorf("%d open after %v", n, time.Since(start))
		}
		for _, c := range append(raws, extra) {
			c.Close()
		}
		if err := ask(t, r.start("a", nil), "b"); err != nil {
			t.Errorf("a node afterwards: %v", err)
		}
	})
}

// TestDialTimeout: a node that accepts and then says nothing fails the call after
// handshakeTimeout, and a caller that has less time returns when it is up.
func TestDialTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemNet())
		ln := r.net.listen("b")
		go func() {
			for {
				raw, err := ln.Accept()
				if err != nil {
					return
				}
				defer raw.Close()
			}
		}()
		t.Cleanup(func() { ln.Close() })
		a := r.start("a", nil)
		for limit, want := range map[time.Duration]time.Duration{time.Second: time.Second, time.Minute: handshakeTimeout} {
			time.Sleep(2 * handshakeTimeout) // the last attempt is over
			start := time.Now()
			_, err := a.Call(within(t, limit), "b", 1, 1, nil)
			if took := time.Since(start); !errors.Is(err, ErrUnsent) || !errors.Is(err, context.DeadlineExceeded) || took != want {
				t.Errorf("limit %v: %v after %v, want ErrUnsent after %v", limit, err, took, want)
			}
		}
	})
}
