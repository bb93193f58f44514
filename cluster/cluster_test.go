package cluster

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
	"cairn/fsm/partition"
)

// TestClusterPlays founds a cluster of three and plays through every node.
func TestClusterPlays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		h := s.create(9)
		for i := range 9 {
			if _, err := s.submit(i, h, team(i), "b", "yes", "early"); fsm.KindOf(err) != fsm.ClueLocked {
				t.Errorf("a locked clue: %v", err)
			}
			sub, err := s.submit(i+1, h, team(i), "a", "Yes!", "k1")
			if err != nil || sub.Verdict != partition.VerdictCorrect || sub.Score != 5 || len(sub.Unlocked) != 1 {
				t.Fatalf("the answer to a: %+v, %v", sub, err)
			}
			again, err := s.submit(i+2, h, team(i), "a", "Yes!", "k1")
			if err != nil || !again.Replayed || again.Number != sub.Number {
				t.Fatalf("the same key through another node: %+v, %v", again, err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for i := range 3 {
			board, _, err := s.live(i).Board(ctx, h, BoardQuery{Limit: 4, Consistency: Strong})
			if err != nil || len(board.Rows) != 4 || !board.More {
				t.Fatalf("board: %+v, %v", board, err)
			}
			stats, _, err := s.live(i).Stats(ctx, h, Default)
			if err != nil || stats.Teams != 9 || stats.Submissions[partition.VerdictCorrect] != 9 || stats.Clues[0].Solved != 9 {
				t.Fatalf("stats: %+v, %v", stats, err)
			}
		}
	})
}

// TestClusterSurvivesEveryNode crashes each node in turn while answers go on:
// every one that was acknowledged is there in the end, once.
func TestClusterSurvivesEveryNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		h := s.create(6)
		acked := map[fsm.TeamID]map[string]bool{}
		n := 0
		for round := range 3 {
			s.crash(round)
			for i := range 6 {
				n++
				key := fmt.Sprintf("k%d", n)
				if _, err := s.submit(n, h, team(i), "a", "guess "+key, key); err == nil {
					if acked[team(i)] == nil {
						acked[team(i)] = map[string]bool{}
					}
					acked[team(i)][key] = true
				} else if k := fsm.KindOf(err); k != fsm.AttemptsExhausted {
					t.Errorf("with two of three nodes an answer fails: %v", err)
				}
			}
			s.start(round)
			s.settle()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for id, keys := range acked {
			for i := range 3 {
				list, _, err := s.live(i).Submissions(ctx, h, id, 0, 100, Default)
				if err != nil || len(list) != len(keys) {
					t.Fatalf("team %s has %d submissions, %d were acknowledged (%v)", id, len(list), len(keys), err)
				}
				for _, sub := range list {
					if !keys[sub.Key] {
						t.Errorf("team %s: key %s was never acknowledged", id, sub.Key)
					}
				}
			}
		}
	})
}

// TestAllAtOnce stops all three nodes and starts them: nobody can learn the
// others' addresses from the log before a majority is back.
func TestAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		h := s.create(3)
		if _, err := s.submit(0, h, team(1), "a", "yes", "k"); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			s.crash(i)
		}
		for i := range 3 {
			s.start(i)
		}
		s.settle()
		if sub, err := s.submit(1, h, team(1), "a", "yes", "k"); err != nil || !sub.Replayed {
			t.Errorf("after a stop of all nodes: %+v, %v", sub, err)
		}
	})
}

// TestNoQuorum: with one of three nodes left, writes and default reads end
// within their deadline without an answer, and never with a wrong one.
func TestNoQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		h := s.create(4)
		if _, err := s.submit(0, h, team(0), "a", "yes", "before"); err != nil {
			t.Fatal(err)
		}
		s.crash(1)
		s.crash(2)
		time.Sleep(5 * time.Second)
		start := time.Now()
		for i := range 4 {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			_, err := s.live(0).Submit(ctx, Submission{Hunt: h, Team: team(i), Clue: "a", Answer: "x", Key: "during"})
			if k := fsm.KindOf(err); k != fsm.Unavailable && k != fsm.OutcomeUnknown {
				t.Errorf("a write without a quorum: %v", err)
			}
			if _, _, err := s.live(0).Team(ctx, h, team(i), Default); fsm.KindOf(err) != fsm.Unavailable {
				t.Errorf("a default read without a quorum: %v", err)
			}
			cancel()
		}
		if took := time.Since(start); took > 4*3200*time.Millisecond {
			t.Errorf("eight requests of at most 3 s each four times took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if got, fresh, err := s.live(0).Team(ctx, h, team(0), Stale); err != nil || got.Score != 5 || fresh == 0 {
			t.Errorf("a stale read: %+v, fresh %v, %v", got, fresh, err)
		}
		s.start(1)
		if _, err := s.submit(0, h, team(0), "b", "yes", "after"); err != nil {
			t.Errorf("back with two nodes: %v", err)
		}
	})
}

// TestCutOffLeader isolates each node in turn: whoever leads there must answer
// nothing while the others go on.
func TestCutOffLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		h := s.create(8)
		for round := range 3 {
			s.net.isolate(s.nodes[round].name, true)
			for i := range 8 {
				key := fmt.Sprintf("r%d", round)
				if _, err := s.submit(round+1, h, team(i), "a", "guess "+key, key); err != nil {
					t.Errorf("the majority does not go on: %v", err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				if got, _, err := s.nodes[round].node.Team(ctx, h, team(i), Default); err == nil {
					t.Errorf("a node that is cut off serves a default read as current: %+v", got)
				}
				cancel()
			}
			s.net.isolate(s.nodes[round].name, false)
			s.settle()
		}
	})
}

// TestAddressChange: a node comes back under another name and address. Until the
// others know it they dial the old one, so it must tell them first.
func TestAddressChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		h := s.create(3)
		s.crash(2)
		s.nodes[2].name = "moved"
		s.start(2)
		s.until("the node follows its groups again", func() bool {
			for _, c := range s.nodes[2].node.Ready() {
				if !c.OK {
					return false
				}
			}
			return true
		})
		s.crash(1)
		for i := range 3 {
			if _, err := s.submit(2, h, team(i), "a", "yes", "k"); err != nil {
				t.Errorf("with the moved node as half of the quorum: %v", err)
			}
		}
	})
}
