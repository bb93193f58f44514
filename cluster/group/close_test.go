package group

import (
	"sync"
	"testing"

	"cairn/fsm"
)

// TestCloseEndsProposals: a replica that stops leaves nobody waiting, whatever
// became of their entries.
func TestCloseEndsProposals(t *testing.T) {
	const rounds, proposers = 200, 8
	w := newWorld()
	for round := range rounds {
		m := newMember(1)
		w.start(t, m)
		if err := m.group.Bootstrap(); err != nil {
			t.Fatal(err)
		}
		var proposing sync.WaitGroup
		began := make(chan struct{}, proposers)
		for range proposers {
			proposing.Go(func() {
				said := false
				for {
					_, _, err := m.group.Propose(number(1))
					if err == nil && !said {
						said = true
						began <- struct{}{}
					}
					if fsm.KindOf(err) == fsm.OutcomeUnknown {
						return
					}
				}
			})
		}
		for range min(round%(proposers+1), proposers) {
			<-began
		}
		if err := m.group.Close(); err != nil {
			t.Fatal(err)
		}
		proposing.Wait()
	}
}
