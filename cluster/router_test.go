package cluster

import (
	"testing"

	"cairn/fsm"
)

// TestSearch: whoever the nodes asked believe to lead, the leader is asked again
// and again.
func TestSearch(t *testing.T) {
	for name, c := range map[string]struct {
		guesses []fsm.NodeID
		names   map[fsm.NodeID]fsm.NodeID // whom each node names
	}{
		"the leader is not wished any more": {[]fsm.NodeID{"a", "b", "c"}, map[fsm.NodeID]fsm.NodeID{"a": "old", "b": "old", "c": "old"}},
		"one knows who leads":               {[]fsm.NodeID{"a", "b", "c"}, map[fsm.NodeID]fsm.NodeID{"c": "old"}},
		"two name each other":               {[]fsm.NodeID{"a", "b", "old"}, map[fsm.NodeID]fsm.NodeID{"a": "b", "b": "a"}},
		"one names itself":                  {[]fsm.NodeID{"a", "old"}, map[fsm.NodeID]fsm.NodeID{"a": "a"}},
		"a circle of three":                 {[]fsm.NodeID{"a", "b", "c", "old"}, map[fsm.NodeID]fsm.NodeID{"a": "b", "b": "c", "c": "a"}},
		"nobody knows":                      {[]fsm.NodeID{"a", "b", "c", "old"}, nil},
	} {
		var s search
		since, asked := 0, 0
		for range 200 {
			to := s.next(func(n int) fsm.NodeID { return c.guesses[n%len(c.guesses)] })
			since++
			if to == "old" { // it leads, and hands over: it names nobody
				since, asked = 0, asked+1
			}
			s.refused(to, c.names[to])
			if since > 3*len(c.guesses) {
				t.Errorf("%s: not asked for %d attempts, %d times before", name, since, asked)
				break
			}
		}
	}
}
