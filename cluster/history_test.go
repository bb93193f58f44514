package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// TestTwoHistories: a node follows the new history of the controller, and the old
// one's majority is there too and answers its questions. What that one says is
// never taken for the state of things, and does not keep the node waiting once its
// own leader speaks.
func TestTwoHistories(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 5)
		defer s.close()
		for i := range s.nodes {
			s.crash(i)
		}
		const between, heir = 3, 4 // the node that hears of both, and the heir
		if _, err := s.inherit(heir); err != nil {
			t.Fatal(err)
		}
		s.start(between)
		s.start(heir)
		s.until("one follows the heir", func() bool {
			s.again()
			return s.nodes[between].node.id.Incarnation > skip && s.nodes[between].node.caughtUp.Load()
		})
		s.net.isolate(s.nodes[heir].name, true)
		old := s.oldMajority()
		n := s.nodes[between].node
		s.until("it has lost the heir", func() bool { return n.control.group.Leader().IsZero() })

		ask := func(within time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			n.router.remember(controllerGroup, old.ID()) // as if it had answered last
			return n.control.catchUp(ctx)
		}
		propose(t, s.nodes[heir].node, 300) // the heir alone votes
		for range 3 {
			// Where the new history is ahead, what the old one says is there already.
			if err := ask(5 * time.Second); err == nil {
				t.Fatal("the node is current by the word of a history that was given up")
			}
			time.Sleep(syncTimeout)
		}
		propose(t, old, 1000)
		began := time.Now()
		go func() {
			time.Sleep(time.Second)
			s.net.isolate(s.nodes[heir].name, false)
		}()
		err := ask(syncTimeout)
		if took := time.Since(began); err != nil || took > 5*time.Second {
			t.Errorf("its own leader came back after a second; it was current after %v, %v", took, err)
		}
		if st := n.control.state(); st.Version() <= skip {
			t.Errorf("it is current at version %d", st.Version())
		}
	})
}

// oldMajority starts nodes 0, 1 and 2 and returns the one that leads the controller.
func (s *sim) oldMajority() (leader *Node) {
	s.t.Helper()
	for i := range 3 {
		s.start(i)
	}
	s.until("the old majority decides", func() bool {
		for i := range 3 {
			if n := s.nodes[i].node; n.control.group.Leads() && n.caughtUp.Load() {
				leader = n
			}
		}
		return leader != nil
	})
	return leader
}

// propose appends entries to the controller's log that change nothing.
func propose(t *testing.T, n *Node, entries int) {
	t.Helper()
	for range entries {
		if _, err := n.control.leadSync(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRevokedElsewhere: a member of another history confirms nothing that is asked
// by a place in this one's log, however far its own is.
func TestRevokedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.close()
		n := s.nodes[0].node
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.control.reach(ctx, n.control.here(1)); err != nil {
			t.Errorf("a place in its own log: %v", err)
		}
		there := position{1, fsm.Replica{Node: n.ID(), Incarnation: n.id.Incarnation + skip}}
		if err := n.control.reach(ctx, there); err == nil {
			t.Error("a place in another log is reached")
		}
		var w wire.Writer
		there.append(&w)
		if _, err := n.serveApplied(ctx, w.B); fsm.KindOf(err) != fsm.Unavailable {
			t.Errorf("a place in another log is confirmed: %v", err)
		}
		// Whoever waits for what this copy will never have need not wait longer.
		go func() {
			time.Sleep(time.Second)
			n.succeeded(there.by, "x")
		}()
		began := time.Now()
		long, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		err := n.control.reach(long, n.control.here(1<<40))
		if took := time.Since(began); err == nil || took > 2*time.Second {
			t.Errorf("the copy counted no more after a second; a wait ended after %v, %v", took, err)
		}
	})
}
