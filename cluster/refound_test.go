package cluster

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/fsm/partition"
)

// number finds a node by its id.
func (s *sim) number(id fsm.NodeID) int {
	return slices.IndexFunc(s.nodes, func(n *simNode) bool { return n.id == id })
}

// loseWhole crashes all nodes of a row of seven nodes' table, one after the other
// with a call in between, so that the controller keeps its majority; and returns
// the row once the log says that they are down.
func (s *sim) loseWhole(between func()) (gone controller.Partition) {
	s.t.Helper()
	for _, sn := range s.nodes {
		sn.id = sn.node.ID()
	}
	var votes map[fsm.NodeID]bool
	s.until("five vote in the controller", func() bool {
		votes = map[fsm.NodeID]bool{}
		for i, sn := range s.nodes {
			if c := s.member(i).Controller; c == "leader" || c == "voter" {
				votes[sn.id] = true
			}
		}
		return len(votes) == 5
	})
	rows := s.live(0).control.state().Partitions()
	i := slices.IndexFunc(rows, func(row controller.Partition) bool {
		voters := 0
		for _, r := range row.Target {
			if votes[r.Replica.Node] {
				voters++
			}
		}
		return voters < 3
	})
	if i < 0 {
		s.t.Fatal("every partition has three voters of the controller")
	}
	gone = rows[i]
	for _, r := range gone.Target {
		s.crash(s.number(r.Replica.Node))
		between()
	}
	s.until("the log says that they are down, and all others vote in the controller", func() bool {
		for i, n := range s.nodes {
			if m := s.member(i); n.node == nil && m.State != controller.Down || n.node != nil && m.Controller == "non_voter" {
				return false
			}
		}
		return true
	})
	return gone
}

// bystander is a live node that has nothing of a row and does not lead the controller.
func (s *sim) bystander(gone controller.Partition) int {
	lead := s.controllerLeader()
	return slices.IndexFunc(s.nodes, func(n *simNode) bool { return n.node != nil && n != s.nodes[lead] && !wishedOn(gone, n.id) })
}

// emptied tells which rows of a table are wished on nodes of gone only.
func emptied(table []controller.Partition, gone controller.Partition) map[fsm.PartitionID]bool {
	out := map[fsm.PartitionID]bool{}
	for _, row := range table {
		out[row.ID] = !slices.ContainsFunc(row.Target, func(t controller.TargetReplica) bool { return !wishedOn(gone, t.Replica.Node) })
	}
	return out
}

// of is the partition of a team.
func (s *sim) of(h HuntRef, i int) fsm.PartitionID {
	return s.live(0).control.state().PartitionOf(fsm.SlotOf(h.ID, team(i)))
}

// TestRefound: nothing is left of a partition. It is founded anew when an operator
// accepts that, and not before all of its nodes are down; its teams are gone, all
// others are not; and nothing of the old one comes back with the old nodes.
func TestRefound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimOf(t, 7, 16)
		defer s.close()
		const teams = 64
		h := s.create(teams)
		s.played(h, teams)
		time.Sleep(5 * time.Second)
		gone := s.loseWhole(func() {
			if plan, err := s.plan(); slices.ContainsFunc(plan, func(r Recovery) bool { return r.Founder != "" }) {
				t.Errorf("it may be founded anew while nodes that had it are not down: %+v, %v", plan, err)
			}
		})
		plan, err := s.plan()
		at := slices.IndexFunc(plan, func(r Recovery) bool { return r.Partition == gone.ID })
		if err != nil || at < 0 || plan[at].Founder == "" || len(plan[at].GivenUp) != 3 || wishedOn(gone, plan[at].Founder) {
			t.Fatalf("nothing of partition %d is left, and the plan is %+v, %v", gone.ID, plan, err)
		}
		empty := emptied(s.live(0).control.state().Partitions(), gone)
		for _, r := range plan {
			if empty[r.Partition] != (r.Founder != "") || empty[r.Partition] != r.Survivor.IsZero() {
				t.Errorf("the plan has %+v", r)
			}
		}
		s.do("recover", func(ctx context.Context) error { return s.live(0).Recover(ctx, plan) })
		lost := 0
		check := func() {
			t.Helper()
			lost = 0
			for i := range teams {
				sub, err := s.submit(i, h, team(i), "a", "yes", "k")
				switch {
				case !empty[s.of(h, i)]:
					if err != nil || !sub.Replayed {
						t.Errorf("team %d of another partition: %+v, %v", i, sub, err)
					}
				case fsm.KindOf(err) != fsm.NotFound:
					t.Errorf("team %d is still known: %+v, %v", i, sub, err)
				default:
					lost++
				}
			}
		}
		check()
		if lost == 0 {
			t.Fatal("no team was in the partition: this test shows nothing")
		}
		var dead []int
		for _, r := range gone.Target {
			dead = append(dead, s.number(r.Replica.Node))
		}
		s.whole(3, dead...)
		for _, i := range dead {
			s.start(i)
		}
		s.until("the old nodes are back", func() bool {
			return !slices.ContainsFunc(dead, func(i int) bool { return s.member(i).Status != "alive" || !s.nodes[i].node.caughtUp.Load() })
		})
		s.whole(3)
		check()
		s.playAgain(empty, h, teams)
	})
}

// playAgain creates the teams of partitions again, and has them play.
func (s *sim) playAgain(in map[fsm.PartitionID]bool, h HuntRef, teams int) {
	s.t.Helper()
	for i := range teams {
		if !in[s.of(h, i)] {
			continue
		}
		s.do("create it again", func(ctx context.Context) error {
			_, _, err := s.live(i).CreateTeam(ctx, &partition.CreateTeam{Hunt: h.ID, Incarnation: h.Incarnation, Team: team(i), Name: "T", Key: "create"})
			return err
		})
		if sub, err := s.submit(i, h, team(i), "a", "yes", "again"); err != nil || sub.Replayed || sub.Verdict != partition.VerdictCorrect {
			s.t.Errorf("team %d plays again: %+v, %v", i, sub, err)
		}
	}
}

// halfFounded waits until a node has a partition that the log, as far as it knows,
// does not call founded, and sees that it does not answer from it.
func (s *sim) halfFounded(i int, p fsm.PartitionID) bool {
	s.t.Helper()
	for range 1000 {
		n := s.nodes[i].node
		known, _ := n.control.state().Partition(p)
		if n.replicas.get(p) != nil && n.caughtUp.Load() && !known.Founded {
			if n.serving(p) != nil {
				s.t.Error("it answers before the log says that it is founded")
			}
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}

// TestRefoundThroughCrashes: the founder crashes over and over, and then is gone
// before it has founded anything: another one does, and it alone counts. Nobody is
// answered before the log says that the partition is founded.
func TestRefoundThroughCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimOf(t, 7, 16)
		defer s.close()
		gone := s.loseWhole(func() {})
		founder := s.bystander(gone)
		row := func() controller.Partition {
			p, _ := s.live(founder + 1).control.state().Partition(gone.ID)
			return p
		}
		decide := func(i int) {
			s.do("decide", func(ctx context.Context) error {
				_, err := s.live(founder+1).control.propose(ctx, &controller.Refound{
					Partitions: []controller.Refounding{{Partition: gone.ID, Epoch: row().Epoch, Node: s.nodes[i].id}},
				})
				return err
			})
		}
		s.crash(founder)
		decide(founder) // it is not known yet that it is gone
		s.until("the founder is down", func() bool { return s.member(founder).State == controller.Down })
		plan, err := s.plan(gone.ID)
		if err != nil || len(plan) != 1 || plan[0].Founder == "" || plan[0].Founder == s.nodes[founder].id {
			t.Fatalf("the founder is gone; the plan is %+v, %v", plan, err)
		}
		second := s.number(plan[0].Founder)
		s.net.slow(s.nodes[second].name, 60*time.Millisecond)
		decide(second)
		if !s.halfFounded(second, gone.ID) {
			t.Fatal("it was never seen half founded: this test shows nothing")
		}
		if _, err := s.plan(gone.ID); fsm.KindOf(err) != fsm.Conflict {
			t.Errorf("it may be founded by a third while the second is at it: %v", err)
		}
		for i := range 8 {
			time.Sleep(time.Duration(i) * 150 * time.Millisecond)
			s.crash(second)
			s.start(second)
		}
		s.net.slow(s.nodes[second].name, 0)
		founded := func() bool {
			r := row()
			return r.Founded && r.Refounder().Node == s.nodes[second].id
		}
		s.until("it is founded by the second", founded)
		s.start(founder)
		s.until("the first founder is back", func() bool { return s.nodes[founder].node.caughtUp.Load() })
		s.until("it has a leader and three replicas", func() bool {
			v := s.view()
			return v != nil && v.Partitions[gone.ID].State == "ok" && len(v.Partitions[gone.ID].Members) == 3
		})
		if !founded() {
			t.Errorf("it is %+v now", row())
		}
	})
}
