package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

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
