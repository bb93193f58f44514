package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// TestRemovedComesBack: a node that was removed while it was away finds out by
// itself; one that merely reaches nobody stays.
func TestRemovedComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 4)
		defer s.close()
		id := s.nodes[3].node.ID()
		s.crash(3)
		s.until("it is down", func() bool { return s.member(3).State == controller.Down })
		s.do("remove", func(ctx context.Context) error { return s.live(0).Remove(ctx, id) })
		s.until("it is removed", func() bool { return s.member(3).State == controller.Left })
		s.net.isolate(s.nodes[2].name, true)
		s.start(3)
		s.until("it ends", s.nodes[3].left.Load)
		if s.nodes[2].left.Load() {
			t.Error("a node that reaches nobody thinks that it was removed")
		}
		s.net.isolate(s.nodes[2].name, false)
		time.Sleep(2 * strangerFor)
		for i := range 3 {
			if s.nodes[i].left.Load() {
				t.Errorf("member %d thinks that it was removed", i)
			}
		}
	})
}

// TestLeaveDuringHandovers: while leaderships are handed over there are moments at
// which a partition seems not to do without a node. They are no reason to refuse.
func TestLeaveDuringHandovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 4)
		defer s.close()
		// Nodes that began at different times report at different times: between the
		// old leader's report and the new one's nobody is known to lead.
		for i := 1; i < 4; i++ {
			s.crash(i)
			time.Sleep(time.Duration(i) * 130 * time.Millisecond)
			s.start(i)
			time.Sleep(10 * time.Second)
			s.whole(3)
		}
		id := s.nodes[3].node.ID()
		moment := func() bool {
			for i := range 200 {
				s.handOver(fsm.PartitionID(i%s.partitions), id)
				for range 17 {
					if s.view().mayGo(id) != nil {
						return true
					}
					time.Sleep(10 * time.Millisecond)
				}
			}
			return false
		}
		for range 3 {
			if !moment() {
				t.Fatal("no hand-over was ever seen half done: this test shows nothing")
			}
			s.do("leave", func(ctx context.Context) error { return s.live(0).Leave(ctx, id) })
			s.do("stay", func(ctx context.Context) error { return s.live(0).Drain(ctx, id, false) })
		}
	})
}

// handOver has a partition's leader hand over to another node at this moment, not
// to the one named.
func (s *sim) handOver(p fsm.PartitionID, not fsm.NodeID) {
	for i := range s.nodes {
		r := s.live(i).replicas.get(p)
		if r == nil || !r.group.Leads() {
			continue
		}
		conf, err := r.group.Configuration()
		if err != nil {
			return
		}
		for _, m := range conf.Servers {
			if m.Replica != r.group.Replica() && m.Replica.Node != not {
				_ = r.group.TransferTo(m.Replica) // as it goes
				return
			}
		}
	}
}
