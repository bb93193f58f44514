package httpapi_test

import (
	"strings"
	"testing"

	"cairn/httpapi/apitest"
)

// absent: what has no value is not there, rather than null.
func absent(t *testing.T, name, body string) {
	t.Helper()
	if strings.Contains(body, "null") && name != "openapi" {
		t.Errorf("what has no value must be absent: %s", body)
	}
}

// TestBodies plays through the whole API once and compares every body with its
// golden file: no field may change its name, its form, or appear as null.
func TestBodies(t *testing.T) {
	s := newServer(t)
	org, admin := apitest.Organizer, apitest.Admin
	for _, step := range []struct {
		golden, method, path, token, body string
		status                            int
		headers                           []string
	}{
		{"checkpoint", "POST", "/v1/cluster/checkpoint", admin, `{}`, 200, nil}, // of a state without packed rules
		{"hunt_created", "POST", "/v1/hunts", org, maze, 201, nil},
		{"hunt_again", "POST", "/v1/hunts", org, maze, 200, nil},
		{"hunt_conflict", "POST", "/v1/hunts", org, strings.Replace(maze, "The maze", "Another", 1), 409, nil},
		{"hunt_invalid", "POST", "/v1/hunts", org, `{"id":"bad","clues":[{"id":"A","points":-1}],"colour":"red"}`, 400, nil},
		{"hunt_public", "GET", "/v1/hunts/maze", "", "", 200, nil},
		{"hunts", "GET", "/v1/hunts", "", "", 200, nil},
		{"team_created", "POST", "/v1/hunts/maze/teams", org, `{"id":"red","name":"Röd <b>"}`, 201, []string{"Idempotency-Key", "k1"}},
		{"team_again", "POST", "/v1/hunts/maze/teams", org, `{"id":"red","name":"Röd <b>"}`, 200, []string{"Idempotency-Key", `"k1"`}},
		{"team_conflict", "POST", "/v1/hunts/maze/teams", org, `{"id":"red","name":"Röd <b>"}`, 409, []string{"Idempotency-Key", "k2"}},
		{"team_test", "POST", "/v1/hunts/maze/teams", org, `{"id":"aaa","name":"Testers","kind":"test","division":"staff"}`, 201, nil},
		{"hunt_state", "POST", "/v1/hunts/maze/state", org, `{"state":"paused","reason":"lunch"}`, 200, nil},
		{"paused", "POST", "/v1/hunts/maze/teams/red/submissions", org, `{"clue":"gate","answer":"x"}`, 409, nil},
		{"hunt_open", "POST", "/v1/hunts/maze/state", org, `{"state":"open"}`, 200, nil},
		{"wrong", "POST", "/v1/hunts/maze/teams/red/submissions", org, `{"clue":"door","answer":"shut"}`, 200, []string{"Idempotency-Key", "a1"}},
		{"duplicate", "POST", "/v1/hunts/maze/teams/red/submissions", org, `{"clue":"door","answer":"SHUT!"}`, 200, []string{"Idempotency-Key", "a2"}},
		{"replayed", "POST", "/v1/hunts/maze/teams/red/submissions", org, `{"clue":"door","answer":"shut"}`, 200, []string{"Idempotency-Key", "a1"}},
		{"key_reused", "POST", "/v1/hunts/maze/teams/red/submissions", org, `{"clue":"door","answer":"open"}`, 422, []string{"Idempotency-Key", "a1"}},
		{"locked", "POST", "/v1/hunts/maze/teams/red/submissions", org, `{"clue":"core","answer":"heart"}`, 403, nil},
		{"nudge", "POST", "/v1/hunts/maze/teams/red/submissions", org, `{"clue":"gate","answer":"Foe"}`, 200, []string{"Idempotency-Key", "a3"}},
		{"correct", "POST", "/v1/hunts/maze/teams/red/submissions", org, `{"clue":"gate","answer":"Friend","player":"Ada"}`, 200, []string{"Idempotency-Key", "a4"}},
		{"already_solved", "POST", "/v1/hunts/maze/teams/red/submissions", org, `{"clue":"gate","answer":"friend"}`, 200, []string{"Idempotency-Key", "a5"}},
		{"last_attempt", "POST", "/v1/hunts/maze/teams/red/submissions", org, `{"clue":"door","answer":"ajar"}`, 200, []string{"Idempotency-Key", "a6"}},
		{"exhausted", "POST", "/v1/hunts/maze/teams/red/submissions", org, `{"clue":"door","answer":"open"}`, 409, nil},
		{"history", "GET", "/v1/hunts/maze/teams/red/submissions?page_size=4", org, "", 200, nil},
		{"team", "GET", "/v1/hunts/maze/teams/red?rank=true", org, "", 200, nil},
		{"teams", "GET", "/v1/hunts/maze/teams?page_size=1", org, "", 200, nil},
		{"clues", "GET", "/v1/hunts/maze/teams/red/clues", org, "", 200, nil},
		{"board", "GET", "/v1/hunts/maze/leaderboard", "", "", 200, nil},
		{"board_empty", "GET", "/v1/hunts/maze/leaderboard?division=none", "", "", 200, nil},
		{"stats", "GET", "/v1/hunts/maze/stats", org, "", 200, nil},
		{"team_patched", "PATCH", "/v1/hunts/maze/teams/red", org, `{"name":"Red","status":"hidden","meta":{"table": 7},"reason":"asked"}`, 200, nil},
		{"team_rotated", "POST", "/v1/hunts/maze/teams/red/token", org, "", 200, []string{"Idempotency-Key", "r1"}},
		{"whoami", "GET", "/v1/whoami", apitest.OfMaze, "", 200, nil},
		{"routing", "GET", "/v1/routing", org, "", 200, nil},
		{"cluster", "GET", "/v1/cluster", admin, "", 200, nil},
		{"nodes", "GET", "/v1/cluster/nodes", admin, "", 200, nil},
		{"partitions", "GET", "/v1/cluster/partitions", admin, "", 200, nil},
		{"snapshots", "GET", "/v1/cluster/snapshots", admin, "", 200, nil},
		{"token_created", "POST", "/v1/tokens", admin, `{"role":"join","uses":3}`, 201, nil},
		{"tokens", "GET", "/v1/tokens?page_size=2", admin, "", 200, nil},
		{"hunt_closed", "POST", "/v1/hunts/maze/state", org, `{"state":"closed"}`, 200, nil},
		{"clues_closed", "GET", "/v1/hunts/maze/teams/red/clues", org, "", 200, nil},
		{"over", "POST", "/v1/hunts/maze/teams/red/submissions", org, `{"clue":"gate","answer":"x"}`, 409, nil},
		{"unauthenticated", "GET", "/v1/whoami", "", "", 401, nil},
		{"forbidden", "GET", "/v1/cluster", org, "", 403, nil},
		{"not_found", "GET", "/v1/hunts/none", "", "", 404, nil},
		{"no_route", "GET", "/v2/hunts", "", "", 404, nil},
		{"no_method", "PUT", "/v1/hunts", org, "", 405, nil},
		{"openapi", "GET", "/openapi.json", "", "", 200, nil},
	} {
		t.Run(step.golden, func(t *testing.T) {
			a := s.do(t, step.method, step.path, step.token, step.body, step.headers...)
			if a.status != step.status {
				t.Errorf("status %d, want %d: %s", a.status, step.status, a.body)
			}
			absent(t, step.golden, a.body)
			golden(t, step.golden, a.body)
		})
	}
}
