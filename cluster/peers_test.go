package cluster

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
)

// TestStoppedNode stops a node's process, which leaves its connections open: those
// whose requests are on their way to it are answered as soon as there is another
// leader, not when their attempt runs out, and once it goes on it is called again.
func TestStoppedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		h := s.create(16)
		stopped := s.spread()
		from := (stopped + 1) % 3
		name := s.nodes[stopped].name
		s.net.silence(name, true)
		start := time.Now()
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				if _, err := s.submit(from, h, team(i), "a", "yes", "k"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		// Silence, the question whether it answers, and a takeover that went on meanwhile.
		if took := time.Since(start); took >= attemptTimeout-500*time.Millisecond {
			t.Errorf("it took %v, hardly less than an attempt's %v", took, attemptTimeout)
		}
		if open := s.nodes[from].node.Gauges().CutOff; open != 1 {
			t.Errorf("%d breakers are open, want 1", open)
		}
		s.net.silence(name, false)
		s.until("its breaker closes", func() bool { return s.nodes[from].node.Gauges().CutOff == 0 })
	})
}

// TestStaleReads: whoever has no replica asks any of those that do, the slow one
// less than the others, and goes on when one is gone.
func TestStaleReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimOf(t, 5, 1)
		defer s.close()
		h := s.create(1)
		var have []int
		from := -1
		s.until("one partition has three replicas", func() bool {
			have = nil
			for i, n := range s.nodes {
				if n.node.serving(0) != nil {
					have = append(have, i)
				} else {
					from = i
				}
			}
			return len(have) == 3
		})
		time.Sleep(10 * time.Second)
		slow := have[0]
		s.net.slow(s.nodes[slow].name, 20*time.Millisecond)
		read := func(n int) map[int]uint64 {
			t.Helper()
			before := map[int]uint64{}
			for _, i := range have {
				if s.nodes[i].node != nil {
					before[i], _ = s.nodes[i].node.link.Sent()
				}
			}
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for range n / 8 {
						if _, _, err := s.nodes[from].node.Team(t.Context(), h, team(0), Stale); err != nil {
							t.Error(err)
						}
						time.Sleep(time.Millisecond)
					}
				})
			}
			all.Wait()
			sent := map[int]uint64{}
			for i, b := range before {
				now, _ := s.nodes[i].node.link.Sent()
				sent[i] = now - b
			}
			return sent
		}
		sent := read(4000)
		for _, i := range have[1:] {
			if sent[i] < 1200 || sent[slow] > sent[i]/2 {
				t.Errorf("answers of each replica: %v; %d is slow", sent, slow)
			}
		}
		s.net.slow(s.nodes[slow].name, 0)
		s.crash(have[1])
		read(400)
	})
}

// TestOneOf: one of several, never this node, never one that is cut off.
func TestOneOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		n := s.nodes[0].node
		others := []fsm.NodeID{s.nodes[1].node.id.Node, s.nodes[2].node.id.Node}
		seen := map[fsm.NodeID]int{}
		for range 100 {
			seen[n.oneOf([]fsm.NodeID{n.id.Node, others[0], others[1]})]++
		}
		if len(seen) != 2 || seen[others[0]] == 0 || seen[others[1]] == 0 {
			t.Errorf("chosen: %v, want both others", seen)
		}
		if to := n.oneOf([]fsm.NodeID{n.id.Node}); to != "" {
			t.Errorf("chosen: %q, want nobody", to)
		}
	})
}
