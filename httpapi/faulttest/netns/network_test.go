//go:build linux

package netns

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// soon is longer than any packet is on its way here, and patience how long a test
// waits for what must not come.
const (
	soon     = 10 * time.Second
	patience = 300 * time.Millisecond
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newNetwork skips the test where there can be none.
func newNetwork(t *testing.T, hosts int) *Network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NO NETWORK: it needs root")
	}
	w, err := New(hosts, 1)
	if err != nil {
		t.Skipf("NO NETWORK: %v", err)
	}
	t.Cleanup(w.Close)
	return w
}

// echo answers, on a host, with what it is sent, and returns its address.
func echo(t *testing.T, h *Host) string {
	t.Helper()
	listening := make(chan net.Listener)
	go func() {
		runtime.LockOSThread()
		if err := h.Enter(); err != nil {
			t.Error(err)
		}
		l, err := net.Listen("tcp", h.Addr.String()+":0")
		if err != nil {
			t.Error(err)
		}
		listening <- l
	}()
	l := <-listening
	if l == nil {
		t.FailNow()
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(t.Context(), func() { conn.Close() })
			all.Go(func() {
				defer conn.Close()
				io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// dial connects one host to another's echo.
func dial(t *testing.T, h *Host, address string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	conn, err := h.Dial(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends text and waits for its echo.
func ask(conn net.Conn, text string, within time.Duration) error {
	conn.SetDeadline(time.Now().Add(within))
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, len(text)))
	return err
}

func TestNetwork(t *testing.T) {
	w := newNetwork(t, 3)
	address := echo(t, w.Host(1))
	conn := dial(t, w.Host(0), address)
	if err := ask(conn, "hello", soon); err != nil {
		t.Fatal(err)
	}
	large := make([]byte, 1<<20)
	if err := ask(conn, string(large), soon); err != nil {
		t.Fatalf("a large message: %v", err)
	}
	if c := w.Counts(0, 1); c.Passed == 0 || c.Dropped != 0 {
		t.Errorf("counts %+v", c)
	}
	if c := w.Counts(0, 2); c != (Counts{}) {
		t.Errorf("to who was not asked: %+v", c)
	}
}

// TestDrop cuts each direction, and heals it: what was sent meanwhile arrives.
func TestDrop(t *testing.T) {
	w := newNetwork(t, 2)
	address := echo(t, w.Host(1))
	for _, way := range [][2]int{{0, 1}, {1, 0}} {
		conn := dial(t, w.Host(0), address)
		w.Set(way[0], way[1], Link{Drop: true})
		before := w.Counts(way[0], way[1])
		if err := ask(conn, "lost", patience); err == nil {
			t.Errorf("%v: it was answered", way)
		}
		if w.Counts(way[0], way[1]).Dropped == before.Dropped {
			t.Errorf("%v: nothing was dropped", way)
		}
		w.Set(way[0], way[1], Link{})
		conn.SetDeadline(time.Now().Add(soon))
		if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
			t.Errorf("%v: healed, and not answered: %v", way, err)
		}
	}
}

func TestDelayAndLoss(t *testing.T) {
	w := newNetwork(t, 2)
	conn := dial(t, w.Host(0), echo(t, w.Host(1)))
	const delay = 60 * time.Millisecond
	w.Set(0, 1, Link{Delay: delay, Jitter: delay / 3})
	begin := time.Now()
	if err := ask(conn, "later", soon); err != nil || time.Since(begin) < delay*2/3 {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
	w.Set(0, 1, Link{Loss: 0.2, Duplicate: 0.2})
	for range 30 {
		if err := ask(conn, "now and then", soon); err != nil {
			t.Fatal(err)
		}
	}
	if c := w.Counts(0, 1); c.Delayed == 0 || c.Dropped == 0 || c.Doubled == 0 {
		t.Errorf("counts %+v", c)
	}
}
