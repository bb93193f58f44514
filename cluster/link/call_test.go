package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/fsm"
)

// TestCallCarriesEverything: the handler sees what the caller said, and the
// caller what the handler answered, at the edges of every field.
func TestCallCarriesEverything(t *testing.T) {
	r := newRig(t, newTCPNet())
	type seen struct {
		from  fsm.NodeID
		kind  uint8
		group uint32
		size  int
		left  time.Duration // 0: no deadline
	}
	var got seen
	r.start("b", func(c *Config) {
		c.Handle = func(ctx context.Context, from fsm.NodeID, kind uint8, group uint32, body []byte) ([]byte, error) {
			got = seen{from: from, kind: kind, group: group, size: len(body)}
			if end, ok := ctx.Deadline(); ok {
				got.left = time.Until(end)
			}
			return append([]byte(nil), body...), nil
		}
	})
	a := r.start("a", nil)
	for _, tt := range []struct {
		kind  uint8
		group uint32
		size  int
		limit time.Duration
	}{
		{0, 0, 0, 0},
		{255, 1<<32 - 1, 1, time.Hour},
		{1, 2, maxPooled + 1, 5 * time.Second},
		{1, 2, MaxBody, 5 * time.Second},
		{1, 2, 100, 0}, // after a large one: a reused buffer shows only its own bytes
	} {
		ctx := context.Background()
		if tt.limit != 0 {
			ctx = within(t, tt.limit)
		}
		body := make([]byte, tt.size)
		for i := range body {
			body[i] = byte(i * 7)
		}
		answer, err := a.Call(ctx, "b", tt.kind, tt.group, body)
		if err != nil || !bytes.Equal(answer, body) {
			t.Fatalf("%+v: %d bytes, %v", tt, len(answer), err)
		}
		left := got.left
		got.left = 0
		if want := (seen{from: "a", kind: tt.kind, group: tt.group, size: tt.size}); got != want {
			t.Errorf("the handler saw %+v, want %+v", got, want)
		}
		if left > tt.limit || tt.limit != 0 && left < tt.limit-5*time.Second/2 {
			t.Errorf("the handler had %v, of %v", left, tt.limit)
		}
	}
	if _, err := a.Call(t.Context(), "b", 1, 1, make([]byte, MaxBody+1)); fsm.KindOf(err) != fsm.TooLarge {
		t.Errorf("a body over MaxBody: got %v, want TooLarge", err)
	}
}

// TestRemoteErrors: what the handler says arrives as it was said, and is never
// taken for a verdict about the connection.
func TestRemoteErrors(t *testing.T) {
	r := newRig(t, newTCPNet())
	var fail error
	r.start("b", func(c *Config) {
		c.Handle = func(context.Context, fsm.NodeID, uint8, uint32, []byte) ([]byte, error) { return nil, fail }
	})
	a := r.start("a", nil)
	for _, tt := range []struct {
		fail error
		want fsm.Error
	}{
		{&fsm.Error{Kind: fsm.Cooldown, Msg: "wait", After: 3 * time.Second}, fsm.Error{Kind: fsm.Cooldown, Msg: "wait", After: 3 * time.Second}},
		{errors.New("disk on fire"), fsm.Error{Kind: fsm.Internal, Msg: "disk on fire"}},
		{ErrUnsent, *ErrUnsent.(*fsm.Error)},
		{ErrLost, *ErrLost.(*fsm.Error)},
	} {
		fail = tt.fail
		_, err := a.Call(within(t, 10*time.Second), "b", 1, 1, nil)
		got, ok := err.(*fsm.Error)
		if !ok || *got != tt.want {
			t.Errorf("%v: got %#v", tt.fail, err)
		}
		if errors.Is(err, ErrUnsent) || errors.Is(err, ErrLost) {
			t.Errorf("%v: a remote verdict looks like a local one", tt.fail)
		}
	}
}

// TestAnswerTooLarge: an answer over the limit is an error, and the connection
// lives on.
func TestAnswerTooLarge(t *testing.T) {
	r := newRig(t, newTCPNet())
	size := MaxBody + 1
	r.start("b", func(c *Config) {
		c.Handle = func(context.Context, fsm.NodeID, uint8, uint32, []byte) ([]byte, error) {
			return make([]byte, size), nil
		}
	})
	var lost atomic.Int64
	a := r.start("a", func(c *Config) { c.Events.Disconnected = func(fsm.NodeID, error) { lost.Add(1) } })
	if _, err := a.Call(within(t, 10*time.Second), "b", 1, 1, nil); fsm.KindOf(err) != fsm.TooLarge {
		t.Errorf("got %v, want TooLarge", err)
	}
	size--
	if b, err := a.Call(within(t, 10*time.Second), "b", 1, 1, nil); err != nil || len(b) != MaxBody {
		t.Errorf("the largest answer: %d bytes, %v", len(b), err)
	}
	if lost.Load() != 0 {
		t.Error("the connection was lost")
	}
}

// TestAnswersOutOfOrder: a call that takes long holds up nobody.
func TestAnswersOutOfOrder(t *testing.T) {
	r := newRig(t, newTCPNet())
	release := make(chan struct{})
	r.start("b", func(c *Config) {
		c.Handle = func(_ context.Context, _ fsm.NodeID, kind uint8, _ uint32, _ []byte) ([]byte, error) {
			if kind == 1 {
				<-release
			}
			return []byte{kind}, nil
		}
	})
	a := r.start("a", nil)
	slow := make(chan error, 1)
	go func() {
		b, err := a.Call(within(t, 30*time.Second), "b", 1, 0, nil)
		if err == nil && b[0] != 1 {
			err = errors.New("another call's answer")
		}
		slow <- err
	}()
	for range 100 {
		if b, err := a.Call(within(t, 10*time.Second), "b", 2, 0, nil); err != nil || b[0] != 2 {
			t.Fatalf("got %v, %v", b, err)
		}
	}
	close(release)
	if err := <-slow; err != nil {
		t.Error(err)
	}
}

// TestCancel: a caller that gives up returns at once, its handler's context ends
// long before the deadline, and neither disturbs another call.
func TestCancel(t *testing.T) {
	r := newRig(t, newTCPNet())
	started, ended := make(chan struct{}, 1), make(chan error, 1)
	r.start("b", func(c *Config) {
		c.Handle = func(ctx context.Context, _ fsm.NodeID, kind uint8, _ uint32, body []byte) ([]byte, error) {
			if kind == 2 {
				return echo(ctx, "", 0, 0, body)
			}
			started <- struct{}{}
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		}
	})
	a := r.start("a", nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	go func() { <-started; cancel() }()
	if _, err := a.Call(ctx, "b", 1, 1, nil); !errors.Is(err, ErrLost) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ErrLost for the caller's own reason", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler's context ended with %v", err)
	}
	if _, err := a.Call(within(t, 10*time.Second), "b", 2, 1, nil); err != nil {
		t.Error(err)
	}
}

// TestManyCallers: 10,000 calls at a time, from three nodes, each gets its own
// answer. Many are cancelled on the way, which must not mix anything up; their
// requests are still being served, so the next ones may be refused for a while.
func TestManyCallers(t *testing.T) {
	r := newRig(t, newTCPNet())
	all := make(chan struct{})
	var arrived atomic.Int64
	const callers = 10_000
	r.start("b", func(c *Config) {
		c.Handle = func(ctx context.Context, _ fsm.NodeID, _ uint8, _ uint32, body []byte) ([]byte, error) {
			out := append([]byte(nil), body...) // before waiting: a reused buffer would show
			if arrived.Add(1) == callers {
				close(all)
			}
			<-all
			return out, nil
		}
	})
	nodes := []*Link{r.start("a", nil), r.start("c", nil), r.start("d", nil)}
	ctx := within(t, time.Minute)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for round := range 3 {
				body := binary.LittleEndian.AppendUint64(nil, uint64(i*10+round))
				body = append(body, make([]byte, rand.IntN(300))...)
				if round == 1 && i%3 == 0 {
					short, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(2000))*time.Microsecond)
					nodes[i%3].Call(short, "b", 1, 1, body)
					cancel()
					continue
				}
				answer, err := nodes[i%3].Call(ctx, "b", 1, 1, body)
				for round > 0 && fsm.KindOf(err) == fsm.Overloaded {
					runtime.Gosched()
					answer, err = nodes[i%3].Call(ctx, "b", 1, 1, body)
				}
				if err != nil || !bytes.Equal(answer, body) {
					t.Errorf("caller %d round %d: %d bytes, %v", i, round, len(answer), err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestTooManyCalls: the call after the last one that may wait is refused by this
// node, at once, and when one is answered there is room again.
func TestTooManyCalls(t *testing.T) {
	r := newRig(t, newTCPNet())
	release := make(chan struct{})
	var arrived atomic.Int64
	r.start("b", func(c *Config) {
		c.Handle = func(context.Context, fsm.NodeID, uint8, uint32, []byte) ([]byte, error) {
			arrived.Add(1)
			<-release
			return nil, nil
		}
	})
	a := r.start("a", nil)
	ctx := within(t, time.Minute)
	var wg sync.WaitGroup
	for range maxCalls {
		wg.Go(func() {
			if _, err := a.Call(ctx, "b", 1, 1, nil); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all calls are served", func() bool { return arrived.Load() == maxCalls })
	if _, err := a.Call(ctx, "b", 1, 1, nil); fsm.KindOf(err) != fsm.Overloaded || !errors.Is(err, ErrUnsent) {
		t.Errorf("got %v, want Overloaded and ErrUnsent", err)
	}
	close(release)
	wg.Wait()
	if _, err := a.Call(ctx, "b", 1, 1, nil); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
