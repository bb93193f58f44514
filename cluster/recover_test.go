package cluster

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// lose crashes two nodes that hold replicas of one partition, never the first
// node, and returns them and the partitions that have lost their majority.
func (s *sim) lose() (gone []int, lost []fsm.PartitionID) {
	s.t.Helper()
	table := s.live(0).control.state().Partitions()
	holds := func(row controller.Partition, i int) bool {
		id := s.nodes[i].node.ID()
		return slices.ContainsFunc(row.Target, func(t controller.TargetReplica) bool { return t.Replica.Node == id })
	}
	for i := 1; i < len(s.nodes) && gone == nil; i++ {
		for j := i + 1; j < len(s.nodes) && gone == nil; j++ {
			if holds(table[0], i) && holds(table[0], j) {
				gone = []int{i, j}
			}
		}
	}
	for _, row := range table {
		if holds(row, gone[0]) && holds(row, gone[1]) {
			lost = append(lost, row.ID)
		}
	}
	for _, i := range gone {
		s.crash(i)
	}
	return gone, lost
}

func (s *sim) plan(ids ...fsm.PartitionID) ([]Recovery, error) { return s.planBy(0, ids...) }

// planBy is plan by a node, or the next that is live.
func (s *sim) planBy(i int, ids ...fsm.PartitionID) ([]Recovery, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	return s.live(i).PlanRecovery(ctx, ids)
}

// TestRecover: partitions that lost two of three replicas go on from the third
// once an operator says so, with everything that one has; those who come back
// with the old history delete it and never answer from it.
func TestRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 5)
		defer s.close()
		h := s.create(12)
		s.played(h, 12)
		if plan, err := s.plan(); err != nil || len(plan) > 0 {
			t.Errorf("a healthy cluster is to be recovered: %+v, %v", plan, err)
		}
		time.Sleep(5 * time.Second) // the followers have it too
		gone, lost := s.lose()
		if _, err := s.plan(lost...); fsm.KindOf(err) != fsm.Conflict {
			t.Errorf("it may be recovered before the nodes count as down: %v", err)
		}
		s.until("the log says that they are down", func() bool {
			return s.member(gone[0]).State == controller.Down && s.member(gone[1]).State == controller.Down
		})
		plan, err := s.plan()
		if err != nil || len(plan) != len(lost) {
			t.Fatalf("partitions %v are lost, the plan is %+v, %v", lost, plan, err)
		}
		for _, r := range plan {
			if !slices.Contains(lost, r.Partition) || len(r.GivenUp) != 2 || r.Last == 0 {
				t.Errorf("the plan has %+v", r)
			}
		}
		s.do("recover", func(ctx context.Context) error { return s.live(0).Recover(ctx, plan) })
		s.remembered(h, 12)
		s.whole(3, gone...)
		if _, err := s.plan(lost...); fsm.KindOf(err) != fsm.Conflict {
			t.Errorf("it may be recovered twice: %v", err)
		}
		for i := range 12 {
			if _, err := s.submit(i, h, team(i), "b", "yes", "after"); err != nil {
				t.Fatal(err)
			}
		}
		// They come back, and hear of nobody but each other: they hold the old
		// history, and have a majority of it, and must not answer from it.
		away := []string{s.nodes[gone[0]].name, s.nodes[gone[1]].name}
		s.net.divide(away, true)
		for _, i := range gone {
			s.start(i)
		}
		time.Sleep(10 * time.Second)
		for i := range 12 {
			if sub, err := s.submit(gone[i%2], h, team(i), "b", "yes", "after"); err == nil {
				t.Errorf("the old history gives team %d %+v", i, sub)
			}
		}
		s.net.divide(away, false)
		s.until("they hear of the recovery", func() bool {
			return s.nodes[gone[0]].node.caughtUp.Load() && s.nodes[gone[1]].node.caughtUp.Load()
		})
		for range 50 {
			for i := range 12 {
				if sub, err := s.submit(gone[i%2], h, team(i), "b", "yes", "after"); err != nil || !sub.Replayed {
					t.Fatalf("after the return team %d gets %+v, %v", i, sub, err)
				}
			}
			time.Sleep(200 * time.Millisecond)
		}
		s.whole(3)
		s.remembered(h, 12)
	})
}

// TestRecoverWhatCanBe: a partition of which nothing is left does not keep the
// others from being recovered.
func TestRecoverWhatCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimOf(t, 7, 16)
		defer s.close()
		gone := s.loseWhole(func() {})
		// Nobody knows of one that is silent whether it has something.
		lead, silent := s.controllerLeader(), s.bystander(gone)
		s.net.isolate(s.nodes[silent].name, true)
		time.Sleep(aliveFor + reportEvery)
		if m, _ := s.nodes[lead].node.control.state().Member(s.nodes[silent].id); m.State == controller.Down {
			t.Fatal("the silent node counts as down already: this test shows nothing")
		}
		if _, err := s.planBy(lead, gone.ID); fsm.KindOf(err) != fsm.Conflict {
			t.Errorf("nothing of partition %d is known to be left, and its recovery is planned: %v", gone.ID, err)
		}
		plan, err := s.planBy(lead)
		if err != nil || len(plan) == 0 || slices.ContainsFunc(plan, func(r Recovery) bool { return r.Partition == gone.ID }) {
			t.Fatalf("without partition %d the plan is %+v, %v", gone.ID, plan, err)
		}
		s.net.isolate(s.nodes[silent].name, false)
		s.do("recover", func(ctx context.Context) error { return s.nodes[lead].node.Recover(ctx, plan) })
	})
}

// TestRecoverThroughCrashes: the survivor's node crashes over and over while it
// takes its data over; the partition goes on all the same.
func TestRecoverThroughCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 5)
		defer s.close()
		h := s.create(12)
		s.played(h, 12)
		time.Sleep(5 * time.Second)
		gone, lost := s.lose()
		s.until("the log says that they are down", func() bool {
			return s.member(gone[0]).State == controller.Down && s.member(gone[1]).State == controller.Down
		})
		plan, err := s.plan()
		if err != nil || len(plan) != len(lost) {
			t.Fatalf("partitions %v are lost, the plan is %+v, %v", lost, plan, err)
		}
		cmd := &controller.Recover{}
		for _, r := range plan {
			cmd.Partitions = append(cmd.Partitions, controller.Recovery{Partition: r.Partition, Epoch: r.Epoch, Survivor: r.Survivor})
		}
		s.do("decide", func(ctx context.Context) error { _, err := s.live(0).control.propose(ctx, cmd); return err })
		survivor := slices.IndexFunc(s.nodes, func(n *simNode) bool { return n.node != nil && n.node.ID() == plan[0].Survivor.Node })
		for i := range 8 {
			time.Sleep(time.Duration(i) * time.Millisecond)
			s.crash(survivor)
			s.start(survivor)
		}
		s.whole(3, gone...)
		s.remembered(h, 12)
	})
}

// TestAdopterNeverEmpty: the survivor's node closes its replica for the new history
// and fails before it has taken anything over; and another time its data is found
// to be damaged. The replica that begins the new history begins with what the
// survivor had or not at all: an empty one under its name would pass for a partition
// that goes on, and making it would delete what is to be adopted.
func TestAdopterNeverEmpty(t *testing.T) {
	for name, damaged := range map[string]bool{"the replica is not open": false, "its data is damaged": true} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { adopterNeverEmpty(t, damaged) }) })
	}
}

func adopterNeverEmpty(t *testing.T, damaged bool) {
	s := newSim(t, 1)
	defer s.close()
	h := s.create(12)
	s.played(h, 12)
	n := s.nodes[0].node
	st := n.control.state()
	row := st.Partitions()[0]
	old := n.replicas.get(row.ID)
	last := old.group.Last()
	// The keeper is stopped, so that nobody else carries the recovery out.
	n.stopping.Store(true)
	s.do("decide", func(ctx context.Context) error {
		_, err := n.control.propose(ctx, &controller.Recover{Partitions: []controller.Recovery{{
			Partition: row.ID, Epoch: row.Epoch, Survivor: old.group.Replica(),
		}}})
		return err
	})
	if damaged {
		if err := n.replicas.drop(row.ID); err != nil { // as the quarantine would
			t.Fatal(err)
		}
	} else {
		n.replicas.mu.Lock()
		delete(n.replicas.open, row.ID)
		n.replicas.mu.Unlock()
		old.close()
	}
	n.keepReplicas(n.control.state())
	row, _ = n.control.state().Partition(row.ID)
	r := n.replicas.get(row.ID)
	switch {
	case damaged && r != nil:
		t.Errorf("%s runs, with %d entries, and there is nothing that it could have", r.group.Replica(), r.group.Last())
	case damaged && n.replicas.damage()[row.ID] != row.Adopter():
		t.Errorf("it is not told that %s cannot be had: %v", row.Adopter(), n.replicas.damage())
	case !damaged && (r == nil || r.group.Replica() != row.Adopter() || r.group.Last() < last):
		t.Errorf("the new history does not begin with the %d entries of the old one: %v", last, r)
	}
	if !damaged {
		n.stopping.Store(false)
		s.remembered(h, 12)
	}
}
