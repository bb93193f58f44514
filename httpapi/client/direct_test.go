package client_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

// judge answers submissions, and says by table who leads.
type judge struct {
	table               atomic.Pointer[rest.Routing]
	submissions, tables atomic.Int64
	down                atomic.Bool
}

func (j *judge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/routing"):
		j.tables.Add(1)
		json.NewEncoder(w).Encode(j.table.Load())
	case j.down.Load():
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		json.NewEncoder(w).Encode(rest.Problem{Code: "unavailable", Title: "unavailable", Status: http.StatusServiceUnavailable})
	default:
		j.submissions.Add(1)
		json.NewEncoder(w).Encode(rest.Submission{Verdict: "incorrect"})
	}
}

// TestDirect: a direct client sends submissions to the leader it was told of,
// elsewhere as soon as that one does not serve, and then asks again.
func TestDirect(t *testing.T) {
	var entry, leader judge
	at := serve(t, &entry)
	split := fsm.SplitSlots(4)
	table := func(addr string) *rest.Routing {
		r := &rest.Routing{SlotFunction: fsm.SlotVersion}
		for i, s := range split {
			p := rest.RoutePartition{ID: fsm.PartitionID(i), Slots: [2]fsm.Slot{s.First, s.Last}}
			if s.Contains(fsm.SlotOf("maze", "ours")) {
				p.Leader = strings.TrimPrefix(addr, "http://")
			}
			r.Partitions = append(r.Partitions, p)
		}
		return r
	}
	entry.table.Store(table(serve(t, &leader)))
	c := dial(t, at)
	c.Direct = true
	submit := func(team fsm.TeamID, entries, leaders, tables int64) {
		t.Helper()
		if _, err := c.Submit(t.Context(), "maze", team, rest.NewSubmission{Clue: "gate", Answer: "x"}, ""); err != nil {
			t.Fatal(err)
		}
		if e, l, n := entry.submissions.Load(), leader.submissions.Load(), entry.tables.Load(); e != entries || l != leaders || n != tables {
			t.Fatalf("%d at the entry, %d at the leader, %d tables; want %d, %d, %d", e, l, n, entries, leaders, tables)
		}
	}
	submit("ours", 0, 1, 1)
	submit("ours", 0, 2, 1)
	other := fsm.TeamID("other")
	for i := 0; table("x").Leader("maze", other) != ""; i++ {
		other = fsm.TeamID("other-" + string(rune('a'+i)))
	}
	submit(other, 1, 2, 1) // nobody known: any node
	leader.down.Store(true)
	entry.table.Store(table(at))
	submit("ours", 2, 2, 1)
	submit("ours", 3, 2, 2) // asked again, and told of another
	entry.table.Store(&rest.Routing{SlotFunction: fsm.SlotVersion + 1, Partitions: table(at).Partitions})
	if got := entry.table.Load().Leader("maze", "ours"); got != "" {
		t.Errorf("a slot function that is not known leads to %q", got)
	}
}
