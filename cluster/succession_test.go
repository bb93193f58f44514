package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/fsm/partition"
)

// offline calls f on the data of a node that does not run.
func (s *sim) offline(i int, f func(sn *simNode) error) error {
	dir, err := s.openDir(s.nodes[i])
	if err != nil {
		s.t.Fatal(err)
	}
	s.nodes[i].dir = dir
	return errors.Join(f(s.nodes[i]), dir.Close())
}

// inherit makes a stopped node's copy of the controller the only one.
func (s *sim) inherit(i int) (c ControllerCopy, err error) {
	err = s.offline(i, func(sn *simNode) (err error) {
		c, err = RecoverController(s.t.Context(), sn.dir, s.net.dialer(sn.name), time.Now())
		return err
	})
	return c, err
}

// again closes and opens the nodes that asked for it.
func (s *sim) again() {
	for i, sn := range s.nodes {
		if sn.node != nil && sn.anew.Swap(false) {
			s.crash(i)
			s.start(i)
		}
	}
}

// TestControllerSurvivor: two of three nodes are gone for good, and with them the
// majority of everything. The third goes on with what it has, and grows again.
func TestControllerSurvivor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		h := s.create(12)
		s.played(h, 12)
		time.Sleep(5 * time.Second) // the followers have it too

		s.crash(0)
		if c, err := s.inherit(0); fsm.KindOf(err) != fsm.Conflict || len(c.Voters) != 3 {
			t.Fatalf("recovered while two of %+v answer: %v", c, err)
		}
		s.start(0)
		for i := range s.nodes {
			s.crash(i)
		}
		if err := s.halfReplaced(0); err == nil {
			t.Fatal("recovered from a copy that was being replaced")
		}
		c, err := s.inherit(0)
		if err != nil || c.Index == 0 || c.Members != 3 || c.Hunts != 1 || c.Partitions != simPartitions {
			t.Fatalf("recovered %+v, %v", c, err)
		}
		s.start(0)
		s.until("the others count as down", func() bool {
			return s.member(1).State == controller.Down && s.member(2).State == controller.Down
		})
		plan, err := s.plan()
		if err != nil || len(plan) != simPartitions {
			t.Fatalf("every partition is lost; the plan is %+v, %v", plan, err)
		}
		s.do("recover", func(ctx context.Context) error { return s.live(0).Recover(ctx, plan) })
		s.remembered(h, 12)
		for _, i := range []int{1, 2} {
			id := s.member(i).ID
			s.do("remove", func(ctx context.Context) error { return s.live(0).Remove(ctx, id) })
		}
		for i := 3; i < 5; i++ {
			s.nodes = append(s.nodes, &simNode{name: fmt.Sprintf("n%d", i), data: filepath.Join(t.TempDir(), "data")})
			s.start(i)
		}
		s.whole(3, 1, 2)
		s.until("three vote everywhere", func() bool {
			for _, p := range s.view().Partitions {
				for _, m := range p.Members {
					if !m.Voter || m.Applied == 0 {
						return false
					}
				}
			}
			return s.member(3).Controller != "non_voter" && s.member(4).Controller != "non_voter"
		})
		s.crash(0)
		s.remembered(h, 12)
	})
}

// TestControllerOfThePast recovers the controller from a copy that lacks a change
// of the hunt, and where replicas went; then everybody else comes back with the
// old history, and a majority of it. The change is lost, and nothing else.
func TestControllerOfThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 5)
		defer s.close()
		h := s.create(12)
		s.played(h, 12)
		time.Sleep(5 * time.Second)
		heir := 4
		held := s.held(s.nodes[heir].node.ID())
		s.net.isolate(s.nodes[heir].name, true)
		s.until("its replicas went elsewhere", func() bool {
			v := s.view()
			for _, p := range v.Partitions {
				for _, m := range p.Members {
					if m.Node == s.nodes[heir].node.ID() {
						return false
					}
				}
			}
			return len(held) > 0
		})
		s.put(0, strings.ReplaceAll(simHunt, `"yes"`, `"lost"`))
		for i := range s.nodes {
			s.crash(i)
		}
		s.net.isolate(s.nodes[heir].name, false)
		if _, err := s.inherit(heir); err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{0, 1, 2, 3, heir} {
			s.start(i)
		}
		s.until("everybody follows the new history", func() bool {
			s.again()
			for i := range s.nodes {
				if s.nodes[i].node.id.Incarnation <= skip || !s.nodes[i].node.caughtUp.Load() {
					return false
				}
			}
			return true
		})
		// The recovery itself named everybody, the heir first. Who was called by such
		// a name must not run under it: it may have before.
		first := s.nodes[heir].node.id.Incarnation
		for i := range heir {
			if got := s.nodes[i].node.id.Incarnation; got <= first+uint64(heir) {
				t.Errorf("n%d took the name %d that it was called by; the recovery began with %d", i, got, first)
			}
		}
		s.whole(3)
		s.remembered(h, 12)
		for i := range 12 {
			if sub, err := s.submit(i, h, team(i), "b", "yes", "after"); err != nil || sub.Verdict != partition.VerdictCorrect {
				t.Fatalf("under the hunt of the past: %+v, %v", sub, err)
			}
		}
		s.put(1, strings.ReplaceAll(simHunt, `"yes"`, `"no"`))
		for i := range 12 {
			if sub, err := s.submit(i, h, team(i), "free", "no", "new"); err != nil || sub.Verdict != partition.VerdictCorrect {
				t.Fatalf("under a new document: %+v, %v", sub, err)
			}
		}
	})
}

// TestTwoHeirs: two copies are recovered by mistake, one after the other. Nobody
// is called by the same name in both histories.
func TestTwoHeirs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		s.played(s.create(2), 2)
		time.Sleep(5 * time.Second) // everybody has everything
		for i := range s.nodes {
			s.crash(i)
		}
		given := map[fsm.Replica]int{}
		for i := range 2 {
			time.Sleep(time.Second)
			if _, err := s.inherit(i); err != nil {
				t.Fatal(err)
			}
			err := s.offline(i, func(sn *simNode) error {
				heir, err := openSuccession(sn.dir)
				if err != nil {
					return err
				}
				for _, m := range heir.state().Members() {
					given[fsm.Replica{Node: m.ID, Incarnation: m.Incarnation}]++
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if len(given) != 6 {
			t.Fatalf("two heirs gave out %v", given)
		}
	})
}

// halfReplaced tries to inherit from a node that stopped while its copy was being
// replaced, and leaves it as it was.
func (s *sim) halfReplaced(i int) error {
	mark := func(renewing bool) {
		err := s.offline(i, func(sn *simNode) error {
			id, err := readIdentity(sn.dir)
			if err != nil {
				return err
			}
			id.Renewing = renewing
			return id.save(sn.dir)
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	mark(true)
	_, err := s.inherit(i)
	mark(false)
	return err
}

// put replaces the hunt's document.
func (s *sim) put(i int, document string) {
	s.t.Helper()
	s.do("put", func(ctx context.Context) error {
		info, err := s.live(i).FreshHunt(ctx, "h")
		if err == nil {
			_, err = s.live(i).PutHunt(ctx, "h", info.Version, []byte(document))
		}
		return err
	})
}
