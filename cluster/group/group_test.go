package group

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// TestReplicates commits through one leader and sees every replica apply it.
func TestReplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newWorld().three(t)
		defer closeAll(t, all)
		for i := range uint64(100) {
			if _, sum, err := all[0].group.Propose(number(i)); err != nil || sum != i*(i+1)/2 {
				t.Fatalf("entry %d: %v, %v", i, sum, err)
			}
		}
		until(t, func() bool {
			for _, m := range all {
				if sum, _ := m.sums.total(); sum != 4950 {
					return false
				}
			}
			return true
		})
		if _, _, err := all[1].group.Propose(number(1)); fsm.KindOf(err) != fsm.NotLeader || err.Error() != "n0" {
			t.Errorf("a follower answers %q, want NotLeader naming n0", err)
		}
	})
}

// TestFailover cuts the leader off: it must stop answering, its successor must
// have everything that was acknowledged, and after the return it must follow.
func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		all := w.three(t)
		defer closeAll(t, all)
		old := all[0]
		acked := uint64(0)
		for range 50 {
			if _, _, err := old.group.Propose(number(1)); err == nil {
				acked++
			}
		}
		w.isolate(old.node, true)
		_, _, err := old.group.Propose(number(1000))
		if k := fsm.KindOf(err); k != fsm.OutcomeUnknown {
			t.Errorf("a leader without a quorum answers %v (%v), want outcome_unknown", k, err)
		}
		var next *member
		until(t, func() bool { next = leaderOf(all, old); return next != nil })
		if _, sum, err := next.group.Propose(number(1)); err != nil || sum != acked+1 {
			t.Errorf("the successor has %v (%v), want %d", sum, err, acked+1)
		}
		w.isolate(old.node, false)
		until(t, func() bool { sum, _ := old.sums.total(); return sum == acked+1 })
	})
}

// TestSecondStands: the first follower that is told to stand lacks an entry and
// cannot win; the one that has it wins at once when it is told next, though the
// first has raised the term.
func TestSecondStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		all := w.three(t)
		defer closeAll(t, all)
		old, behind, ahead := all[0], all[1], all[2]
		until(t, func() bool {
			return behind.group.Last() == old.group.Last() && behind.group.Leader() == old.group.Replica()
		})
		w.mu.Lock()
		w.cut[[2]fsm.NodeID{old.node, behind.node}] = true
		w.mu.Unlock()
		if _, _, err := old.group.Propose(number(1)); err != nil {
			t.Fatal(err)
		}
		w.isolate(old.node, true)
		leader, term := old.group.Replica(), old.group.Term()
		if !behind.group.Nominate(term, leader) {
			t.Fatal("the first follower does not stand")
		}
		time.Sleep(250 * time.Millisecond)
		if behind.group.Leads() || ahead.group.Term() <= term {
			t.Fatal("the first follower has won, or has not stood: the test shows nothing")
		}
		if !ahead.group.Nominate(term, leader) {
			t.Error("the second follower does not stand")
		}
		time.Sleep(100 * time.Millisecond)
		if !ahead.group.Leads() {
			t.Error("the second follower does not lead")
		}
		if ahead.group.Nominate(term, leader) || behind.group.Nominate(term, leader) {
			t.Error("a leader, or one that follows another, stands")
		}
	})
}

// TestNonVoterStands: a replica without a vote is never made to stand, which would
// depose a healthy leader.
func TestNonVoterStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		all := w.three(t)
		late := newMember(3)
		w.start(t, late)
		all = append(all, late)
		defer closeAll(t, all)
		old := all[0].group
		if err := old.AddNonvoter(late.group.Replica(), 0); err != nil {
			t.Fatal(err)
		}
		until(t, func() bool { return late.group.Leader() == old.Replica() && late.group.Applied() == old.Applied() })
		term := old.Term()
		if late.group.Nominate(term, old.Replica()) {
			t.Error("it says that it stands")
		}
		time.Sleep(time.Second)
		if !old.Leads() || old.Term() != term {
			t.Errorf("the leader of term %d leads %t in term %d", term, old.Leads(), old.Term())
		}
	})
}

// TestReturnIsQuick: a follower that was away for minutes has everything within
// a second of its return, not after raft's backoff of up to ten.
func TestReturnIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		all := w.three(t)
		defer closeAll(t, all)
		away := all[2]
		w.isolate(away.node, true)
		for range 300 {
			if _, _, err := all[0].group.Propose(number(1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		w.isolate(away.node, false)
		back := time.Now()
		until(t, func() bool { sum, _ := away.sums.total(); return sum == 300 })
		if took := time.Since(back); took > time.Second {
			t.Errorf("catching up after the return took %v", took)
		}
	})
}

// TestCatchUpTakesFewMessages: who lacks many small entries gets them in a few
// messages, and who lacks large ones in messages that fit into a frame.
func TestCatchUpTakesFewMessages(t *testing.T) {
	for name, c := range map[string]struct{ entries, ballast, most int }{
		"small": {1000, 0, 20},
		"large": {60, 250 << 10, 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				all := w.three(t)
				defer closeAll(t, all)
				w.isolate(all[2].node, true)
				for range c.entries {
					if _, _, err := all[0].group.Propose(append(number(1), make([]byte, c.ballast)...)); err != nil {
						t.Fatal(err)
					}
				}
				w.mu.Lock()
				w.appends, w.largest = 0, 0
				w.mu.Unlock()
				w.isolate(all[2].node, false)
				until(t, func() bool { sum, _ := all[2].sums.total(); return sum == uint64(c.entries) })
				w.mu.Lock()
				defer w.mu.Unlock()
				if w.appends > c.most || w.largest > appendBytes+64<<10 {
					t.Errorf("%d entries took %d messages, the largest of %d bytes", c.entries, w.appends, w.largest)
				}
			})
		})
	}
}

// TestRestart closes a replica and opens it again from a snapshot and the log
// behind it.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		all := w.three(t)
		defer closeAll(t, all)
		for range 100 {
			all[0].group.Propose(number(2))
		}
		until(t, func() bool { _, n := all[1].sums.total(); return n == 100 })
		if err := all[1].group.Snapshot(); err != nil {
			t.Fatal(err)
		}
		for range 50 {
			all[0].group.Propose(number(3))
		}
		all[1].group.Close()
		all[1].sums = &counter{}
		w.start(t, all[1])
		if sum, n := all[1].sums.total(); sum != 200 || n != 100 {
			t.Errorf("the snapshot restores %d in %d entries, want 200 in 100", sum, n)
		}
		until(t, func() bool { sum, _ := all[1].sums.total(); return sum == 350 })
		if got, want := all[1].group.Applied(), all[0].group.Applied(); got != want {
			t.Errorf("applied %d, the leader %d", got, want)
		}
	})
}

// TestSnapshotInstall adds a replica long after the log was cut: it must get a
// snapshot, and the applied index that goes with it.
func TestSnapshotInstall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		all := w.three(t)
		for range trailingLogs + 100 {
			all[0].group.Propose(number(1))
		}
		if err := all[0].group.Snapshot(); err != nil {
			t.Fatal(err)
		}
		late := newMember(3)
		w.start(t, late)
		all = append(all, late)
		defer closeAll(t, all)
		if err := all[0].group.AddNonvoter(late.group.Replica(), 0); err != nil {
			t.Fatal(err)
		}
		until(t, func() bool { return late.group.Applied() == all[0].group.Applied() })
		if sum, _ := late.sums.total(); sum != trailingLogs+100 {
			t.Errorf("the newcomer has %d", sum)
		}
		if p := all[0].group.Peer(late.group.Replica()); p.Match < trailingLogs {
			t.Errorf("the leader believes that the newcomer's log matches up to %d", p.Match)
		}
	})
}

// TestSnapshotMatches: a follower that got a snapshot, and needs nothing else, is
// known to be caught up.
func TestSnapshotMatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		all := w.three(t)
		defer closeAll(t, all)
		lead, away := all[0].group, all[2]
		w.isolate(away.node, true)
		for range trailingLogs + 100 {
			lead.Propose(number(1))
		}
		if err := lead.Snapshot(); err != nil {
			t.Fatal(err)
		}
		w.isolate(away.node, false)
		until(t, func() bool { return away.group.Applied() == lead.Last() })
		time.Sleep(10 * time.Millisecond)
		if got := lead.Peer(away.group.Replica()).Match; got != lead.Last() {
			t.Errorf("it matches to %d of %d", got, lead.Last())
		}
	})
}

// TestMatchAtOnce: a new leader knows at once how far its followers are, though
// nobody proposes anything: it may have been made the leader so that another node
// can leave, and one that is not known to be caught up is in the way.
func TestMatchAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.delay = 0 // answers are back before the new leader's other goroutines have run
		all := w.three(t)
		defer closeAll(t, all)
		lead := all[0]
		for round := range 30 {
			next := all[(round+1)%3]
			until(t, func() bool { return lead.group.Peer(next.group.Replica()).Match == lead.group.Last() })
			if err := lead.group.TransferTo(next.group.Replica()); err != nil {
				t.Fatal(err)
			}
			until(t, next.group.Leads)
			lead = next
			time.Sleep(commitTimeout / 2) // much longer than a round trip, and before the next idle append
			for _, m := range all {
				if r := m.group.Replica(); m != lead && lead.group.Peer(r).Match != lead.group.Last() {
					t.Fatalf("round %d: %v matches to %d of %d", round, r, lead.group.Peer(r).Match, lead.group.Last())
				}
			}
		}
	})
}

// TestIncarnations: a replica under a later incarnation must not take what was
// meant for the earlier one.
func TestIncarnations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		all := w.three(t)
		defer closeAll(t, all)
		tr := all[0].group.trans
		later := fsm.Replica{Node: "n1", Incarnation: 2}
		_, _, err := tr.call("n1.2", KindTimeoutNow, time.Second, encodeTimeoutNow(tr, later))
		if fsm.KindOf(err) != fsm.NotFound {
			t.Errorf("a message to incarnation 2 is answered by incarnation 1: %v", err)
		}
		forged := &end{w, "n2"}
		_, err = forged.Call(context.Background(), "n1", uint8(KindTimeoutNow), 1, encodeTimeoutNow(tr, all[1].group.Replica()))
		if fsm.KindOf(err) != fsm.Forbidden {
			t.Errorf("n2 may speak as n0: %v", err)
		}
	})
}

// TestStaleness: the bound is small while the leader is heard, grows with the
// silence, and covers the lease and the clocks.
func TestStaleness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		all := w.three(t)
		defer closeAll(t, all)
		all[0].group.Propose(number(1))
		time.Sleep(3 * time.Second)
		const skew = 250 * time.Millisecond
		least := DefaultTiming.Lease + skew
		age, ok := all[1].group.Staleness(skew)
		if !ok || age < least || age > least+2*commitTimeout {
			t.Errorf("a follower in contact is at most %v old (%v)", age, ok)
		}
		w.isolate("n1", true)
		time.Sleep(time.Minute)
		if age, ok := all[1].group.Staleness(skew); !ok || age < least+time.Minute {
			t.Errorf("after a minute's silence it claims to be at most %v old (%v)", age, ok)
		}
		w.isolate("n1", false)
		time.Sleep(10 * time.Second)
	})
}

func encodeTimeoutNow(t *Transport, to fsm.Replica) []byte {
	var w wire.Writer
	envelope{to: to.String(), from: t.local.String()}.append(&w)
	return w.B
}

// TestRestartKeepsConfiguration stops all three replicas without a snapshot and
// starts two of them: they must still know each other and elect a leader.
func TestRestartKeepsConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		all := w.three(t)
		for range 20 {
			all[0].group.Propose(number(1))
		}
		time.Sleep(2 * time.Second) // the followers learn what is committed
		closeAll(t, all)
		two := all[1:]
		for _, m := range two {
			m.sums = &counter{}
			w.start(t, m)
		}
		defer closeAll(t, two)
		w.mu.Lock()
		delete(w.nodes, all[0].node)
		w.mu.Unlock()
		until(t, func() bool { return leaderOf(two, nil) != nil })
		if _, sum, err := leaderOf(two, nil).group.Propose(number(1)); err != nil || sum != uint64(21) {
			t.Errorf("after the restart: %v, %v", sum, err)
		}
	})
}
