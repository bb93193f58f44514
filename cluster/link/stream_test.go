package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"cairn/fsm"
)

// TestStream: bytes pass both ways whole, from the first on, and both ends see a
// proper end as one.
func TestStream(t *testing.T) {
	r := newRig(t, newTCPNet())
	type opened struct {
		from  fsm.NodeID
		kind  uint8
		group uint32
	}
	seen := make(chan opened, 1)
	r.start("b", func(c *Config) {
		c.HandleStream = func(from fsm.NodeID, kind uint8, group uint32, s net.Conn) {
			seen <- opened{from, kind, group}
			io.Copy(s, s)
		}
	})
	a := r.start("a", nil)
	s, err := a.Stream(within(t, 10*time.Second), "b", 7, 1<<31)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := <-seen, (opened{"a", 7, 1 << 31}); got != want {
		t.Errorf("the handler saw %+v, want %+v", got, want)
	}
	sent := bytes.Repeat([]byte("snapshot "), 1<<18)
	go func() {
		s.Write(sent)
		s.(interface{ CloseWrite() error }).CloseWrite()
	}()
	if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes, %v, want %d", len(got), err, len(sent))
	}
	s.Close()
	eventually(t, "both ends are forgotten", func() bool { return openConns(a) == 0 })
}

func openConns(l *Link) int {
	l.conns.mu.Lock()
	defer l.conns.mu.Unlock()
	return len(l.conns.open)
}

// TestStreamCut: an end that nobody meant is never io.EOF.
func TestStreamCut(t *testing.T) {
	for name, cut := range map[string]func(a, b *Link){
		"the node stops":      func(_, b *Link) { b.Close() },
		"the node drops us":   func(_, b *Link) { b.Drop("a") },
		"we drop the node":    func(a, _ *Link) { a.Drop("b") },
		"we stop":             func(a, _ *Link) { a.Close() },
		"the process is gone": func(a, _ *Link) { hangUp(a) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, newTCPNet())
			arrived, ends := make(chan error, 1), make(chan error, 1)
			half := []byte("half of a snapshot")
			b := r.start("b", func(c *Config) {
				c.HandleStream = func(_ fsm.NodeID, _ uint8, _ uint32, s net.Conn) {
					_, err := io.ReadFull(s, make([]byte, len(half)))
					arrived <- err
					_, err = io.Copy(io.Discard, s) // nil at io.EOF
					ends <- err
				}
			})
			a := r.start("a", nil)
			s := must(a.Stream(within(t, 10*time.Second), "b", 1, 1))
			defer s.Close()
			if _, err := s.Write(half); err != nil {
				t.Fatal(err)
			}
			if err := <-arrived; err != nil {
				t.Fatal(err)
			}
			cut(a, b)
			if err := <-ends; err == nil {
				t.Error("the accepting end took it for a proper end")
			}
			s.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("the dialling end: %v", err)
			}
		})
	}
}

// hangUp closes every connection as the kernel does for a process that died.
func hangUp(l *Link) {
	l.conns.mu.Lock()
	defer l.conns.mu.Unlock()
	for t := range l.conns.open {
		t.raw.Close()
	}
}

// TestStreamRefused: a stream that could not be opened says that nothing was sent.
func TestStreamRefused(t *testing.T) {
	r := newRig(t, newTCPNet())
	a := r.start("a", nil)
	r.start("b", nil)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := a.Stream(within(t, 10*time.Second), "nobody", 1, 1); !errors.Is(err, ErrUnsent) {
		t.Errorf("nobody there: got %v, want ErrUnsent", err)
	}
	if _, err := a.Stream(cancelled, "b", 1, 1); !errors.Is(err, ErrUnsent) {
		t.Errorf("the context had ended: got %v, want ErrUnsent", err)
	}
	a.Close()
	if _, err := a.Stream(within(t, 10*time.Second), "b", 1, 1); !errors.Is(err, ErrUnsent) {
		t.Errorf("this link is closed: got %v, want ErrUnsent", err)
	}
}

// TestPerPeerLimit: a member that opens more connections than it may is refused
// the next, and may open one again after it closed one.
func TestPerPeerLimit(t *testing.T) {
	r := newRig(t, newTCPNet())
	var open atomic.Int64
	r.start("b", func(c *Config) {
		c.HandleStream = func(_ fsm.NodeID, _ uint8, _ uint32, s net.Conn) {
			open.Add(1)
			io.Copy(io.Discard, s)
			open.Add(-1)
		}
	})
	a, c := r.start("a", nil), r.start("c", nil)
	var streams []net.Conn
	for range maxPerPeer {
		streams = append(streams, must(a.Stream(within(t, 10*time.Second), "b", 1, 1)))
	}
	eventually(t, "all are open", func() bool { return open.Load() == maxPerPeer })
	if _, err := a.Stream(within(t, 10*time.Second), "b", 1, 1); !errors.Is(err, ErrUnsent) || fsm.KindOf(err) != fsm.Overloaded {
		t.Errorf("one more: got %v, want ErrUnsent, Overloaded", err)
	}
	s := must(c.Stream(within(t, 10*time.Second), "b", 1, 1)) // another node
	s.Close()
	streams[0].Close()
	eventually(t, "one more after one was closed", func() bool {
		s, err := a.Stream(within(t, 10*time.Second), "b", 1, 1)
		if err == nil {
			s.Close()
		}
		return err == nil
	})
	for _, s := range streams {
		s.Close()
	}
}
