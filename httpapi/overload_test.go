package httpapi_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cairn/cluster"
	"cairn/cluster/admit"
	"cairn/fsm"
	"cairn/httpapi/apitest"
)

// TestEarlyRefusal: what there is no room for is refused before its token or its
// body is looked at; what is not of a team goes on.
func TestEarlyRefusal(t *testing.T) {
	s := newServer(t)
	s.withMaze(t)
	s.cluster.Fault = func(method string) error {
		if method == "Overloaded" {
			return &fsm.Error{Kind: fsm.Overloaded, Msg: "full", After: time.Second}
		}
		return nil
	}
	for _, r := range []struct{ method, path, body string }{
		{"POST", "/v1/hunts/maze/teams/red/submissions", `{"clue":"gate","answer":"x"}`},
		{"POST", "/v1/hunts/maze/teams/red/submissions", `no JSON`},
		{"GET", "/v1/hunts/maze/teams/red/submissions", ""},
		{"GET", "/v1/hunts/maze/teams/red/clues", ""},
	} {
		a := s.do(t, r.method, r.path, "no token of ours", r.body)
		if a.status != 503 || a.code(t) != "overloaded" || a.header.Get("Retry-After") != "1" {
			t.Errorf("%s %s: %d %s", r.method, r.path, a.status, a.body)
		}
	}
	if a := s.do(t, "GET", "/v1/hunts/maze/leaderboard", apitest.Organizer, ""); a.status != 200 {
		t.Errorf("the board: %d %s", a.status, a.body)
	}
}

// TestLinesArePatient: lines of a batch wait for their turn, single submissions
// do not.
func TestLinesArePatient(t *testing.T) {
	s := newServer(t)
	s.withMaze(t)
	var patient, not atomic.Int64
	s.cluster.Before = func(ctx context.Context, _ cluster.Submission) error {
		if admit.IsPatient(ctx) {
			patient.Add(1)
		} else {
			not.Add(1)
		}
		return nil
	}
	s.do(t, "POST", "/v1/hunts/maze/teams/red/submissions", apitest.Organizer, `{"clue":"gate","answer":"x"}`)
	results(t, listen(t, s), strings.NewReader(batchLine("k1", "red", "gate", "y")+batchLine("k2", "red", "gate", "z")))
	if p, n := patient.Load(), not.Load(); p != 2 || n != 1 {
		t.Errorf("%d were patient and %d not, want 2 and 1", p, n)
	}
}
