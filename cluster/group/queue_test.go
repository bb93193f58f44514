package group

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
	"cairn/fsm/partition"
)

// game is a partition's machine behind a group.
type game struct {
	mu          sync.Mutex
	m           *partition.Machine
	entries     int
	checkpoints map[uint64]int // by index
}

func (g *game) Apply(index uint64, entry []byte) (any, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.entries++
	results, err := g.m.Apply(entry)
	for _, r := range results {
		if r.Checkpoint {
			g.checkpoints[index]++
		}
	}
	return results, err
}

func (g *game) Freeze() io.WriterTo       { return g.m.Freeze() }
func (g *game) Restore(r io.Reader) error { return errors.New("not in this test") }
func (g *game) count() int                { g.mu.Lock(); defer g.mu.Unlock(); return g.entries }

// queued is a group of three whose leader has a queue.
type queued struct {
	w   *world
	all []*member
	g   *game
	q   *Queue
	ev  struct {
		sync.Mutex
		sizes   []int
		refused []string
	}
}

func newQueued(t *testing.T, p *Pacer) *queued { return newQueuedOf(t, p, 0) }

// newQueuedOf bounds how many commands an entry holds.
func newQueuedOf(t *testing.T, p *Pacer, most int) *queued {
	t.Helper()
	s := &queued{w: newWorld(), g: &game{m: partition.New(), checkpoints: map[uint64]int{}}}
	lead := newMember(0)
	conf := Config{
		ID: 1, Name: "p", Replica: fsm.Replica{Node: lead.node, Incarnation: 1}, Machine: s.g,
		Logs: lead.logs, Stable: lead.logs, Snapshots: lead.snaps, Link: &end{s.w, lead.node}, Unsent: errUnsent,
		Logger: discard, Fatal: func(err error) { t.Errorf("fatal: %v", err) },
	}
	var err error
	if lead.group, err = Open(conf); err != nil {
		t.Fatal(err)
	}
	s.w.nodes[lead.node] = lead.group.trans
	s.all = []*member{lead}
	if err := lead.group.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	until(t, lead.group.Leads)
	s.q = NewQueue(lead.group, p, most, QueueEvents{
		Committed: func(n int, _ time.Duration) { s.ev.Lock(); defer s.ev.Unlock(); s.ev.sizes = append(s.ev.sizes, n) },
		Refused:   func(r string) { s.ev.Lock(); defer s.ev.Unlock(); s.ev.refused = append(s.ev.refused, r) },
	})
	if _, err := s.q.Do(t.Context(), &partition.Init{Range: fsm.SplitSlots(1)[0]}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *queued) close(t *testing.T) {
	s.q.Close()
	closeAll(t, s.all)
}

// joined adds two followers that hold a counter, which is enough to acknowledge.
func (s *queued) joined(t *testing.T) {
	t.Helper()
	for i := range 2 {
		m := newMember(i + 1)
		conf := Config{
			ID: 1, Name: "p", Replica: fsm.Replica{Node: m.node, Incarnation: 1}, Machine: &game{m: partition.New()},
			Logs: m.logs, Stable: m.logs, Snapshots: m.snaps, Link: &end{s.w, m.node}, Unsent: errUnsent,
			Logger: discard, Fatal: func(err error) { t.Errorf("fatal: %v", err) },
		}
		var err error
		if m.group, err = Open(conf); err != nil {
			t.Fatal(err)
		}
		s.w.mu.Lock()
		s.w.nodes[m.node] = m.group.trans
		s.w.mu.Unlock()
		s.all = append(s.all, m)
		if err := s.all[0].group.AddVoter(m.group.Replica(), 0); err != nil {
			t.Fatal(err)
		}
	}
}

func submit(key string) *partition.Submit {
	return &partition.Submit{Hunt: "h", Incarnation: 1, Version: 1, Team: "t", Clue: "c", Answer: "x", Key: key}
}

// TestQueueBatches: what queues while an entry is being committed becomes one
// entry, in order, and everybody gets the answer to their own.
func TestQueueBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueued(t, NewPacer())
		defer s.close(t)
		s.joined(t)
		before := s.g.count()
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				res, err := s.q.Do(t.Context(), submit("k"))
				if err != nil || res.Err == nil || res.Err.Kind != fsm.Stale {
					t.Errorf("an answer is lost or somebody else's: %+v, %v", res, err)
				}
			})
		}
		all.Wait()
		if entries := s.g.count() - before; entries > 20 {
			t.Errorf("1,000 commands at once became %d entries", entries)
		}
	})
}

// TestBoundedEntries: with a bound an entry holds no more, and nothing is lost.
func TestBoundedEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueuedOf(t, NewPacer(), 3)
		defer s.close(t)
		s.joined(t)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := s.q.Do(t.Context(), submit("k")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		s.ev.Lock()
		defer s.ev.Unlock()
		sum := 0
		for _, n := range s.ev.sizes {
			if sum += n; n > 3 {
				t.Errorf("an entry holds %d commands, at most 3 may be", n)
			}
		}
		if sum != 101 { // with the one that made the partition
			t.Errorf("%d commands were committed, want 101", sum)
		}
	})
}

// TestReadsShareABarrier: reads alone cost one empty entry together, change
// nothing, and a leader that was cut off answers none of them.
func TestReadsShareABarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueued(t, NewPacer())
		defer s.close(t)
		s.joined(t)
		last := s.all[0].group.Last()
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() {
				if err := s.q.Read(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := s.all[0].group.Last() - last; n == 0 || n > 20 {
			t.Errorf("500 reads at once took %d entries", n)
		}
		s.w.isolate("n0", true)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := s.q.Read(ctx); err == nil {
			t.Error("a leader that is cut off answered a default read")
		}
		s.w.isolate("n0", false)
		time.Sleep(10 * time.Second)
	})
}

// TestQueueIsBounded fills the queue of a leader that cannot commit: what does
// not fit is refused at once, what waited past its deadline was never proposed.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueued(t, NewPacer())
		defer s.close(t)
		s.joined(t)
		s.w.isolate("n0", true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		// One entry's worth is under way, a queue's worth waits, the rest is refused.
		const asked = MaxQueued + 2*partition.MaxBatch
		kinds := make(chan fsm.Kind, asked)
		var all sync.WaitGroup
		for range asked {
			all.Go(func() {
				_, err := s.q.Do(ctx, submit("k"))
				kinds <- fsm.KindOf(err)
			})
		}
		all.Wait()
		close(kinds)
		got := map[fsm.Kind]int{}
		for k := range kinds {
			got[k]++
		}
		if got[fsm.Overloaded] < partition.MaxBatch || got[fsm.Overloaded]+got[fsm.OutcomeUnknown] != asked {
			t.Errorf("outcomes: %v", got)
		}
		time.Sleep(20 * time.Second)
		s.ev.Lock()
		defer s.ev.Unlock()
		if len(s.ev.refused) < MaxQueued/2 {
			t.Errorf("%d requests were refused or dropped after their deadline", len(s.ev.refused))
		}
	})
}

// TestTooLargeCommand: one command that no entry can hold is refused, and those
// behind it go on.
func TestTooLargeCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueued(t, NewPacer())
		defer s.close(t)
		big := submit("k")
		big.Answer = strings.Repeat("x", partition.MaxEntry)
		if _, err := s.q.Do(t.Context(), big); fsm.KindOf(err) != fsm.TooLarge {
			t.Errorf("got %v, want too_large", err)
		}
		if _, err := s.q.Do(t.Context(), submit("k")); err != nil {
			t.Error(err)
		}
	})
}

// TestPacer: who comes while a wave is away leaves with the next one, all
// together once the last of it is done, and an entry that takes too long is left
// behind so that a stuck group stalls nobody.
func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPacer()
		stuck := p.Acquire()
		start := time.Now()
		wave := make(chan func(bool), 3)
		for range 3 {
			go func() { wave <- p.Acquire() }()
		}
		synctest.Wait()
		if len(wave) > 0 {
			t.Error("an entry left before the one before it was done")
		}
		var second []func(bool)
		for range 3 {
			second = append(second, <-wave)
		}
		if took := time.Since(start); took != maxHold {
			t.Errorf("an entry that was never done held the others up for %v, want %v", took, maxHold)
		}
		last := acquired(p)
		stuck(true) // late: must not end a wave that is not its own
		second[0](true)
		second[0](true) // twice: must not end another's part
		second[1](true)
		synctest.Wait()
		select {
		case <-last:
			t.Error("the next wave left before the last one was over")
		default:
		}
		second[2](true)
		synctest.Wait()
		select {
		case <-last:
		default:
			t.Error("the next wave did not leave when the last one was over")
		}
		time.Sleep(time.Second)
	})
}

// TestPacerLeavesBehind: a stuck entry holds the others up for a few times of what
// entries take, not for the longest that any may.
func TestPacerLeavesBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPacer()
		for range 100 {
			release := p.Acquire()
			time.Sleep(time.Millisecond)
			release(true)
		}
		for range p.Limit() { // all waves that may be away are stuck
			p.Acquire()
		}
		start := time.Now()
		<-acquired(p)
		if took := time.Since(start); took != holdTimes*time.Millisecond {
			t.Errorf("entries of 1ms waited %v for one that is stuck", took)
		}
		time.Sleep(time.Second)
	})
}

func acquired(p *Pacer) <-chan struct{} {
	got := make(chan struct{})
	go func() {
		p.Acquire()(true)
		close(got)
	}()
	return got
}

// TestPacerAdapts: entries that wait for distance raise the limit, entries that
// wait for each other lower it.
func TestPacerAdapts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPacer()
		load := func(took func(waves int) time.Duration) {
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					for range 2000 {
						release := p.Acquire()
						p.mu.Lock()
						waves := p.waves
						p.mu.Unlock()
						time.Sleep(took(waves))
						release(true)
					}
				})
			}
			all.Wait()
		}
		load(func(int) time.Duration { return 3 * time.Millisecond })
		if p.Limit() != maxWaves {
			t.Errorf("with a distant disk the limit is %d, want %d", p.Limit(), maxWaves)
		}
		load(func(waves int) time.Duration { return time.Duration(waves) * 3 * time.Millisecond / 2 })
		if p.Limit() > 2 {
			t.Errorf("with one disk for all the limit is %d, want at most 2", p.Limit())
		}
	})
}

// TestDoAt: the index is of the entry that held the command, for each of those who
// shared it.
func TestDoAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueued(t, NewPacer())
		defer s.close(t)
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				index, res, err := s.q.DoAt(t.Context(), &partition.Checkpoint{})
				if err != nil || !res.Checkpoint || index == 0 || index > s.all[0].group.Applied() {
					t.Errorf("entry %d of %d: %+v, %v", index, s.all[0].group.Applied(), res, err)
				}
				s.g.mu.Lock()
				defer s.g.mu.Unlock()
				if s.g.checkpoints[index] == 0 {
					t.Errorf("entry %d holds no checkpoint: %v do", index, s.g.checkpoints)
				}
				s.g.checkpoints[index]--
			})
		}
		all.Wait()
	})
}
