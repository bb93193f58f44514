package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// another starts one more node, which joins through node via.
func (s *sim) another(via int) int {
	s.t.Helper()
	i := len(s.nodes)
	s.nodes = append(s.nodes, &simNode{name: fmt.Sprintf("n%d", i), data: filepath.Join(s.t.TempDir(), "data"), via: s.nodes[via].name})
	s.start(i)
	return i
}

// refusedNow reports how the controller's leader, as a node knows it, takes the
// node.
func (s *sim) refusedNow(i int) error {
	n := s.nodes[i].node
	ctx, cancel := context.WithTimeout(s.t.Context(), attemptTimeout)
	defer cancel()
	_, _, err := n.control.commit(ctx, &controller.AddMember{Now: n.now(), Member: n.self()})
	return err
}

// TestAnnounceToThePast: a node that joined after the controller's recovery starts
// while an old majority is back that knows neither, and hears of nobody else. Being
// refused by that one does not end it, and it is taken in once the heir is there.
func TestAnnounceToThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		for i := range s.nodes {
			s.crash(i)
		}
		if _, err := s.inherit(2); err != nil {
			t.Fatal(err)
		}
		s.start(2)
		late := s.another(2)
		s.until("it is a member", func() bool { return s.nodes[late].node.caughtUp.Load() })
		s.crash(late)
		s.crash(2)
		s.start(0)
		s.start(1)
		s.until("the old majority decides", func() bool {
			return s.nodes[0].node.control.group.Leads() || s.nodes[1].node.control.group.Leads()
		})
		s.start(late)
		time.Sleep(strangerFor - 10*time.Second)
		if err := s.refusedNow(late); fsm.KindOf(err) != fsm.NotFound {
			t.Fatalf("the old majority answers %v: this test shows nothing", err)
		}
		// The heir is there and calls nobody: who knows only the old leader must ask
		// around.
		s.net.cutFrom("n2", true)
		s.start(2)
		time.Sleep(2 * strangerFor)
		if err := s.refusedNow(late); fsm.KindOf(err) != fsm.NotFound {
			t.Fatalf("the old majority answers %v: this test shows nothing", err)
		}
		s.net.cutFrom("n2", false)
		s.until("everybody follows the heir", func() bool {
			s.again()
			for _, sn := range s.nodes {
				if sn.node.id.Incarnation <= skip || !sn.node.caughtUp.Load() {
					return false
				}
			}
			return true
		})
	})
}

// TestAnnounceRefused: what every member refuses ends a node, with the reason, and
// not before they had time to think better of it.
func TestAnnounceRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		s.crash(2)
		var ended atomic.Pointer[error]
		s.nodes[2].fatal = func(err error) { ended.CompareAndSwap(nil, &err) }
		s.nodes[2].called = "n1"
		s.start(2)
		began := time.Now()
		s.until("it ends", func() bool { return ended.Load() != nil })
		if err := *ended.Load(); time.Since(began) < strangerFor || !strings.Contains(err.Error(), "the name \"n1\" is taken") {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// TestLostJoin: a node joined in entries that were lost with the controller's
// majority. Started with a token it joins again as the node that it was; without
// one it ends, and says what happened and what to do.
func TestLostJoin(t *testing.T) {
	for name, token := range map[string]bool{"with a token": true, "without": false} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { testLostJoin(t, token) }) })
	}
}

func testLostJoin(t *testing.T, token bool) {
	s := newSim(t, 3)
	defer s.close()
	h := s.create(12)
	s.played(h, 12)
	time.Sleep(5 * time.Second)
	s.crash(2) // its copy lacks what follows
	late := s.another(0)
	s.until("it is a member", func() bool { return s.nodes[late].node.caughtUp.Load() })
	id, old := s.nodes[late].node.ID(), s.nodes[late].node.id.Incarnation
	for _, i := range []int{0, 1, late} {
		s.crash(i)
	}
	if _, err := s.inherit(2); err != nil {
		t.Fatal(err)
	}
	s.start(2)
	if _, ok := s.nodes[2].node.control.state().Member(id); ok {
		t.Fatal("the heir knows the node: this test shows nothing")
	}
	var ended atomic.Pointer[error]
	s.nodes[late].bare = !token
	s.nodes[late].fatal = func(err error) { ended.CompareAndSwap(nil, &err) }
	s.start(late)
	if !token {
		s.until("it ends", func() bool { return ended.Load() != nil })
		if err := (*ended.Load()).Error(); !strings.Contains(err, "lost when") || !strings.Contains(err, "cairn token create --role join") {
			t.Errorf("it says: %v", err)
		}
		return
	}
	s.until("it is a member again", func() bool {
		s.again()
		n := s.nodes[late].node
		_, known := s.nodes[2].node.control.state().Member(id)
		return known && n.ID() == id && n.id.Incarnation > max(old, skip) && n.caughtUp.Load()
	})
	if err := ended.Load(); err != nil {
		t.Errorf("it ended: %v", *err)
	}
	for i := range 2 {
		s.start(i)
	}
	s.until("all follow the heir", func() bool {
		s.again()
		return s.nodes[0].node.caughtUp.Load() && s.nodes[1].node.caughtUp.Load() && s.nodes[0].node.id.Incarnation > skip && s.nodes[1].node.id.Incarnation > skip
	})
	s.whole(3)
	s.remembered(h, 12)
}
