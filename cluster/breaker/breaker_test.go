package breaker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
)

// peer is a node that can be stopped, and a log of what its breaker does.
type peer struct {
	mu      sync.Mutex
	hung    bool // answers neither calls nor probes
	stuck   bool // answers probes, but no calls
	refuses bool // answers calls with an error
	probes  int
	log     []string
	start   time.Time
}

var (
	errGone    = errors.New("connection refused")
	errRefused = errors.New("not the leader")
)

func (p *peer) set(change func(p *peer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// seen returns the number of probes and the log so far.
func (p *peer) seen() (int, []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.probes, slices.Clone(p.log)
}

func (p *peer) note(what string) {
	p.set(func(p *peer) { p.log = append(p.log, fmt.Sprintf("%s at %v", what, time.Since(p.start))) })
}

func (p *peer) probe(ctx context.Context, _ fsm.NodeID) error {
	p.mu.Lock()
	hung := p.hung
	p.probes++
	p.mu.Unlock()
	if hung {
		<-ctx.Done()
		return ctx.Err()
	}
	time.Sleep(time.Millisecond)
	return nil
}

func (p *peer) call(ctx context.Context) error {
	p.mu.Lock()
	hung, refuses := p.hung || p.stuck, p.refuses
	p.mu.Unlock()
	switch {
	case hung:
		<-ctx.Done()
		return ctx.Err()
	case refuses:
		return errRefused
	}
	time.Sleep(time.Millisecond)
	return nil
}

// with runs test in virtual time with a Set whose one node is p.
func with(t *testing.T, test func(t *testing.T, s *Set, p *peer)) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{start: time.Now()}
		ctx, cancel := context.WithCancel(t.Context())
		s := New(ctx, Config{
			Probe:  p.probe,
			Failed: func(err error) bool { return !errors.Is(err, errRefused) },
			Opened: func(fsm.NodeID) { p.note("open") },
			Closed: func(fsm.NodeID) { p.note("closed") },
		})
		test(t, s, p)
		cancel()
		s.Wait()
	})
}

const limit = 3 * time.Second

// TestHang: calls to a node that has stopped end within a second, not at their
// limit; the next are not sent; and they come back when the node does.
func TestHang(t *testing.T) {
	with(t, func(t *testing.T, s *Set, p *peer) {
		p.set(func(p *peer) { p.hung = true })
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				begun := time.Now()
				err := s.Do(t.Context(), "n", limit, p.call)
				if took := time.Since(begun); !errors.Is(err, context.Canceled) || took > Silence+ProbeTimeout {
					t.Errorf("call %d: %v after %v", i, err, took)
				}
			})
		}
		all.Wait()
		begun := time.Now()
		if err := s.Do(t.Context(), "n", limit, p.call); !errors.Is(err, ErrOpen) || time.Since(begun) != 0 {
			t.Errorf("a call to a cut node: %v after %v", err, time.Since(begun))
		}
		time.Sleep(10 * time.Second)
		if n, _ := p.seen(); n < 4 || n > 10 {
			t.Errorf("%d probes in ten seconds", n)
		}
		p.set(func(p *peer) { p.hung = false })
		time.Sleep(pauseMax + ProbeTimeout)
		if err := s.Do(t.Context(), "n", limit, p.call); err != nil {
			t.Errorf("a call to a node that is back: %v", err)
		}
		if _, log := p.seen(); len(log) != 2 || log[0] != "open at 1s" || s.Count() != 0 {
			t.Errorf("%v, %d open; want open at 1s and closed", log, s.Count())
		}
	})
}

// TestAnswersProbes: a node whose process answers is not cut off, however many
// calls to one of its partitions time out, and its other calls go on.
func TestAnswersProbes(t *testing.T) {
	with(t, func(t *testing.T, s *Set, p *peer) {
		p.set(func(p *peer) { p.stuck = true })
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				if err := s.Do(t.Context(), "n", limit, p.call); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("call %d: %v, want its own limit", i, err)
				}
			})
		}
		all.Wait()
		if n, log := p.seen(); len(log) > 0 || n == 0 {
			t.Errorf("%v after %d probes, want none and some", log, n)
		}
	})
}

// TestLostProbe: a node that answers calls is not cut off because it was slow to
// answer the question; it is once it answers nothing.
func TestLostProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		ctx, cancel := context.WithCancel(t.Context())
		s := New(ctx, Config{
			Probe:  func(ctx context.Context, _ fsm.NodeID) error { <-ctx.Done(); return ctx.Err() },
			Opened: func(fsm.NodeID) { opened++ },
		})
		_ = s.Do(t.Context(), "n", limit, func(context.Context) error { return errGone })
		for range 20 {
			time.Sleep(50 * time.Millisecond)
			if err := s.Do(t.Context(), "n", limit, func(context.Context) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if opened > 0 {
			t.Errorf("cut off %d times", opened)
		}
		time.Sleep(time.Second) // the last question is answered for
		_ = s.Do(t.Context(), "n", limit, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		cancel()
		s.Wait()
		if opened != 1 {
			t.Errorf("cut off %d times when it answered nothing any more, want once", opened)
		}
	})
}

// TestRefusals: neither an answer that is a refusal nor a caller that gives up is
// a reason to ask.
func TestRefusals(t *testing.T) {
	with(t, func(t *testing.T, s *Set, p *peer) {
		p.set(func(p *peer) { p.refuses = true })
		for range 10 {
			if err := s.Do(t.Context(), "n", limit, p.call); !errors.Is(err, errRefused) {
				t.Error(err)
			}
		}
		p.set(func(p *peer) { p.refuses, p.stuck = false, true })
		ctx, cancel := context.WithTimeout(t.Context(), Silence/2)
		defer cancel()
		if err := s.Do(ctx, "n", limit, p.call); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if n, _ := p.seen(); n != 0 {
			t.Errorf("%d probes", n)
		}
	})
}

// TestFailure: one failed call is enough to ask, and the calls beside it go on.
func TestFailure(t *testing.T) {
	with(t, func(t *testing.T, s *Set, p *peer) {
		if err := s.Do(t.Context(), "n", limit, func(context.Context) error { return errGone }); !errors.Is(err, errGone) {
			t.Error(err)
		}
		if err := s.Do(t.Context(), "n", limit, p.call); err != nil {
			t.Errorf("a call to a doubted node: %v", err)
		}
		time.Sleep(time.Second)
		if n, log := p.seen(); n != 1 || len(log) > 0 {
			t.Errorf("%d probes, %v", n, log)
		}
	})
}

// TestQuiet: a node that is not called is not asked, also after calls.
func TestQuiet(t *testing.T) {
	with(t, func(t *testing.T, s *Set, p *peer) {
		for range 1000 {
			if err := s.Do(t.Context(), "n", limit, p.call); err != nil {
				t.Fatal(err)
			}
		}
		p.set(func(p *peer) { p.hung = true })
		time.Sleep(time.Hour)
		if n, log := p.seen(); n != 0 || len(log) > 0 {
			t.Errorf("%d probes, %v", n, log)
		}
	})
}

// TestBusy: a node to which calls are always under way is not asked while it
// answers them.
func TestBusy(t *testing.T) {
	with(t, func(t *testing.T, s *Set, p *peer) {
		var calls sync.WaitGroup
		for range 100 {
			calls.Go(func() {
				err := s.Do(t.Context(), "n", limit, func(context.Context) error { time.Sleep(Silence / 2); return nil })
				if err != nil {
					t.Error(err)
				}
			})
			time.Sleep(Silence / 10)
		}
		calls.Wait()
		if n, log := p.seen(); n != 0 || len(log) > 0 {
			t.Errorf("%d probes, %v", n, log)
		}
	})
}

// TestForgotten: of a node that is no member any more nothing is kept.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := New(ctx, Config{
			Probe:  func(context.Context, fsm.NodeID) error { return errGone },
			Member: func(fsm.NodeID) bool { return false },
		})
		_ = s.Do(t.Context(), "n", limit, func(context.Context) error { return errGone })
		synctest.Wait()
		if len(s.nodes) != 0 || s.Open("n") {
			t.Errorf("%d nodes are kept", len(s.nodes))
		}
		cancel()
		s.Wait()
	})
}

// TestLess: the quicker node, the one with less under way, and one that is not
// cut off come first.
func TestLess(t *testing.T) {
	s := New(t.Context(), Config{Probe: func(context.Context, fsm.NodeID) error { return nil }})
	under := func(n int) map[*flight]struct{} {
		out := map[*flight]struct{}{}
		for range n {
			out[&flight{}] = struct{}{}
		}
		return out
	}
	s.nodes = map[fsm.NodeID]*node{
		"idle":    {took: 10 * time.Millisecond},
		"busy":    {took: 10 * time.Millisecond, flights: under(5)},
		"slow":    {took: 40 * time.Millisecond},
		"doubted": {state: doubted},
		"open":    {state: open},
	}
	order := []fsm.NodeID{"unknown", "idle", "slow", "busy", "doubted", "open"}
	for i, a := range order {
		for j, b := range order {
			if s.Less(a, b) != (i < j) {
				t.Errorf("Less(%s, %s) is %v", a, b, i >= j)
			}
		}
	}
	if !s.Open("open") || s.Open("doubted") || s.Open("unknown") || s.Count() != 1 {
		t.Error("the wrong breakers are open")
	}
}
