package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
)

// TestInstallWaits: a request waits for the install of a hunt that another request is
// about, which waits for a quorum, no longer than its own deadline.
func TestInstallWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.close()
		h := s.create(1)
		n := s.nodes[0].node
		have, err := n.hunt(t.Context(), h.ID, h.Incarnation)
		if err != nil {
			t.Fatal(err)
		}
		newer := *have
		newer.entry.Version++
		r := n.replicas.get(0)
		r.installing <- struct{}{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := r.install(ctx, &newer); fsm.KindOf(err) != fsm.Unavailable {
			t.Errorf("it was told %v, and nothing was done", err)
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("it waited %v", took)
		}
		<-r.installing
		if err := r.install(t.Context(), &newer); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}
