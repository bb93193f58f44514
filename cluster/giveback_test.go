package cluster

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// TestGivenBack: a partition is on its way from one node to another when the other
// dies, and the row wishes the first node again. It gets the replica back that it
// still has, and three vote all the time.
func TestGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 4)
		defer s.close()
		h := s.create(8)
		s.played(h, 8)
		lead := s.controllerLeader()
		for _, sn := range s.nodes {
			sn.id = sn.node.ID()
		}
		table := func() []controller.Partition { return s.nodes[lead].node.control.state().Partitions() }
		to := (lead + 1) % len(s.nodes)
		at := slices.IndexFunc(table(), func(row controller.Partition) bool { return !wishedOn(row, s.nodes[to].id) })
		if at < 0 {
			t.Fatal("every partition is on every node")
		}
		row := table()[at]
		i := slices.IndexFunc(row.Target, func(r controller.TargetReplica) bool {
			return r.Replica.Node != row.Preferred && r.Replica.Node != s.nodes[lead].id
		})
		old := row.Target[i].Replica
		c := controller.TargetChange{Partition: row.ID, Epoch: row.Epoch, Preferred: row.Preferred}
		for _, r := range row.Target {
			node := r.Replica.Node
			if r.Replica == old {
				node = s.nodes[to].id
			}
			c.Target = append(c.Target, controller.Wish{Node: node, Voter: true})
		}
		s.crash(to) // nobody knows yet
		s.do("move it", func(ctx context.Context) error {
			_, err := s.nodes[lead].node.control.propose(ctx, &controller.SetTargets{Changes: []controller.TargetChange{c}})
			return err
		})
		fewest, gone := 3, false
		s.until("the row is wished on the first node again", func() bool {
			fewest = min(fewest, s.votersOf(row.ID))
			gone = gone || !wishedOn(table()[at], old.Node)
			return wishedOn(table()[at], old.Node) && !wishedOn(table()[at], s.nodes[to].id)
		})
		s.until("the group is as wished", func() bool {
			fewest = min(fewest, s.votersOf(row.ID))
			v := s.view()
			return v != nil && v.Partitions[row.ID].State == "ok"
		})
		if !gone {
			t.Error("the row never wished anything else: this test shows nothing")
		}
		if !wishes(table()[at], old) || fewest < 3 {
			t.Errorf("%s had %s and got it back in %+v; at times %d voted", s.nodes[s.number(old.Node)].name, old, table()[at].Target, fewest)
		}
		s.remembered(h, 8)
	})
}

// votersOf is how many vote in a partition by the configuration of its leader; 3 if
// it has none.
func (s *sim) votersOf(p fsm.PartitionID) int {
	for _, sn := range s.nodes {
		if sn.node == nil {
			continue
		}
		r := sn.node.replicas.get(p)
		if r == nil || !r.group.Leads() {
			continue
		}
		conf, err := r.group.Configuration()
		if err != nil {
			continue
		}
		voters := 0
		for _, m := range conf.Servers {
			if m.Voter {
				voters++
			}
		}
		return voters
	}
	return 3
}
