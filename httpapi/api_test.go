package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cairn/fsm"
	"cairn/httpapi"
	"cairn/httpapi/apitest"
	"cairn/httpapi/rest"
)

// TestVersions: ETag, If-None-Match and If-Match of a hunt, through a change, and
// through its death and rebirth.
func TestVersions(t *testing.T) {
	s := newServer(t)
	org := apitest.Organizer
	first := s.must(t, nil, "POST", "/v1/hunts", org, maze).header.Get("ETag")
	get := func(tag string) int {
		return s.do(t, "GET", "/v1/hunts/maze", "", "", "If-None-Match", tag).status
	}
	put := func(tag string) answer {
		return s.do(t, "PUT", "/v1/hunts/maze", org, strings.Replace(maze, "the way out", tag[2:3], 1), "If-Match", tag)
	}
	if get(first) != 304 || get(`"x"`) != 200 {
		t.Error("If-None-Match is not honoured")
	}
	if a := s.do(t, "PUT", "/v1/hunts/maze", org, maze); a.status != 428 || a.code(t) != "precondition_required" {
		t.Errorf("PUT without If-Match: %d %s", a.status, a.body)
	}
	if a := s.do(t, "PUT", "/v1/hunts/maze", org, maze, "If-Match", "v1"); a.status != 400 {
		t.Errorf("PUT with nonsense: %d %s", a.status, a.body)
	}
	second := put(first)
	if tag := second.header.Get("ETag"); second.status != 200 || tag == first || get(first) != 200 || get(tag) != 304 {
		t.Errorf("PUT: %d %s, ETag %s after %s", second.status, second.body, second.header.Get("ETag"), first)
	}
	if a := put(first); a.status != 412 || a.code(t) != "precondition_failed" {
		t.Errorf("PUT of a stale version: %d %s", a.status, a.body)
	}
	if a := s.do(t, "PUT", "/v1/hunts/maze", org, strings.Replace(maze, `"maze"`, `"other"`, 1), "If-Match", "*"); a.status != 400 {
		t.Errorf("PUT of another id: %d %s", a.status, a.body)
	}
	if a := s.do(t, "DELETE", "/v1/hunts/maze", org, ""); a.status != 204 || a.body != "" {
		t.Errorf("DELETE: %d %s", a.status, a.body)
	}
	reborn := s.must(t, nil, "POST", "/v1/hunts", org, maze).header.Get("ETag")
	if reborn == first || get(first) != 200 {
		t.Errorf("the new hunt has the tag of the old one, %s", reborn)
	}
	if a := put(first); a.status != 412 {
		t.Errorf("PUT with the tag of an earlier life: %d %s", a.status, a.body)
	}
	if a := put(`"v1-99"`); a.status != 503 {
		t.Errorf("PUT with the tag of a life not seen yet: %d %s", a.status, a.body)
	}
}

// TestKeys: the header in every form, made up when absent, always returned.
func TestKeys(t *testing.T) {
	s := newServer(t)
	red, _ := s.withMaze(t)
	const path, body = "/v1/hunts/maze/teams/red/submissions", `{"clue":"door","answer":"x"}`
	bare := s.must(t, nil, "POST", path, red, body, "Idempotency-Key", "k 1")
	var quoted rest.Submission
	if a := s.must(t, &quoted, "POST", path, red, body, "Idempotency-Key", `"k 1"`); !quoted.Replayed || a.header.Get("Idempotency-Key") != "k 1" {
		t.Errorf("quoted and bare differ: %s after %s", a.body, bare.body)
	}
	var made rest.Submission
	a := s.must(t, &made, "POST", path, red, body)
	if made.Key == "" || made.Key != a.header.Get("Idempotency-Key") || made.Replayed {
		t.Errorf("a made up key: %s, header %q", a.body, a.header.Get("Idempotency-Key"))
	}
	if a := s.do(t, "POST", path, red, body, "Idempotency-Key", strings.Repeat("k", 65)); a.status != 400 {
		t.Errorf("a long key: %d", a.status)
	}
	// A team without an id: the same key and name find it again.
	var one, two, three rest.TeamCreated
	s.must(t, &one, "POST", "/v1/hunts/maze/teams", "", `{"name":"New"}`, "Idempotency-Key", "n")
	if a := s.must(t, &two, "POST", "/v1/hunts/maze/teams", "", `{"name":"New"}`, "Idempotency-Key", "n"); a.status != 200 || two.Token != one.Token {
		t.Errorf("a retry: %d %s", a.status, a.body)
	}
	s.must(t, &three, "POST", "/v1/hunts/maze/teams", "", `{"name":"Newer"}`, "Idempotency-Key", "n")
	if three.Team.ID == one.Team.ID {
		t.Error("another player's team was given away for a common key")
	}
	if a := s.do(t, "POST", "/v1/hunts/maze/teams", "", `{"name":"T","kind":"test"}`); a.status != 403 {
		t.Errorf("a player registered a test team: %d", a.status)
	}
}

// TestBadRequests: what can be wrong with a request before anything is done.
func TestBadRequests(t *testing.T) {
	s := newServer(t)
	s.withMaze(t)
	long := strings.Repeat("ä", 1001)
	for _, tt := range []struct {
		method, path, body, code, detail string
		status                           int
		headers                          []string
	}{
		{"POST", "/v1/hunts/maze/teams", `{"name":"` + strings.Repeat("é", 201) + `"}`, "invalid", "name", 400, nil},
		{"POST", "/v1/hunts/maze/teams", `{"name":"a\u0007b"}`, "invalid", "name", 400, nil},
		{"POST", "/v1/hunts/maze/teams", `{"name":"x","id":"Bad Id"}`, "invalid", "id", 400, nil},
		{"POST", "/v1/hunts/maze/teams", `{"name":"x","kind":"odd"}`, "invalid", "kind", 400, nil},
		{"POST", "/v1/hunts/maze/teams", `{"name":"x","division":"` + strings.Repeat("d", 65) + `"}`, "invalid", "division", 400, nil},
		{"GET", "/v1/hunts/maze/leaderboard?division=" + strings.Repeat("d", 65), "", "invalid", "division", 400, nil},
		{"POST", "/v1/hunts/maze/teams/red/submissions", `{"clue":"gate","answer":"` + long + `"}`, "invalid", "answer", 400, nil},
		{"POST", "/v1/hunts/maze/teams/red/submissions", `{"clue":"gate","answer":""}`, "invalid", "answer", 400, nil},
		{"POST", "/v1/hunts/maze/teams/red/submissions", `{"clue":"gate","answer":"x","player":"` + long + `"}`, "invalid", "player", 400, nil},
		{"POST", "/v1/hunts/maze/teams/red/submissions", `{"clue":"gate","answer":"x"}`, "invalid", "uncompressed", 400, []string{"Content-Encoding", "gzip"}},
		{"POST", "/v1/hunts/maze/teams/red/submissions", strings.Repeat(" ", httpapi.MaxBody+1), "too_large", "", 413, nil},
		{"POST", "/v1/hunts", strings.Repeat(" ", httpapi.MaxHuntBody+1), "too_large", "", 413, nil},
		{"POST", "/v1/hunts", "", "invalid", "", 400, nil},
		{"PATCH", "/v1/hunts/maze/teams/red", `{"meta":[1]}`, "invalid", "meta", 400, nil},
		{"PATCH", "/v1/hunts/maze/teams/red", `{"meta":{"x":"` + strings.Repeat("x", 5000) + `"}}`, "invalid", "meta", 400, nil},
		{"PATCH", "/v1/hunts/maze/teams/red", `{"status":"gone"}`, "invalid", "status", 400, nil},
		{"POST", "/v1/hunts/maze/state", `{"state":"ajar"}`, "invalid", "state", 400, nil},
		{"GET", "/v1/hunts/maze/teams?page_size=0", "", "invalid", "page_size", 400, nil},
		{"GET", "/v1/hunts/maze/teams?page_size=1001", "", "invalid", "page_size", 400, nil},
		{"GET", "/v1/hunts/maze/teams?page_token=nonsense", "", "invalid", "page_token", 400, nil},
		{"GET", "/v1/hunts/maze/teams?consistency=eventual", "", "invalid", "consistency", 400, nil},
		{"GET", "/v1/hunts/maze/teams/red?rank=maybe", "", "invalid", "rank", 400, nil},
		{"GET", "/v1/hunts/maze/teams/RED", "", "not_found", "RED", 404, nil},
		{"GET", "/v1/hunts/MAZE", "", "not_found", "MAZE", 404, nil},
		{"GET", "/v1/hunts/maze", "", "invalid", "Cairn-Timeout", 400, []string{"Cairn-Timeout", "61s"}},
		{"GET", "/v1/hunts/maze", "", "invalid", "Cairn-Timeout", 400, []string{"Cairn-Timeout", "-1s"}},
		{"GET", "/v1/hunts/maze", "", "invalid", "Cairn-Timeout", 400, []string{"Cairn-Timeout", "soon"}},
		{"POST", "/v1/tokens", `{"role":"king"}`, "invalid", "role", 400, nil},
		{"POST", "/v1/tokens", `{"role":"join","hunt":"maze"}`, "invalid", "hunt", 400, nil},
		{"POST", "/v1/tokens", `{"role":"admin","ttl":"1 day"}`, "invalid", "ttl", 400, nil},
		{"POST", "/v1/tokens", `{"role":"admin","uses":1}`, "invalid", "uses", 400, nil},
		{"POST", "/v1/tokens", `{"role":"join","uses":-1}`, "invalid", "uses: must be a whole number", 400, nil},
		{"DELETE", "/v1/tokens/none", "", "not_found", "", 404, nil},
	} {
		a := s.do(t, tt.method, tt.path, apitest.Admin, tt.body, tt.headers...)
		if code := a.code(t); a.status != tt.status || code != tt.code || !strings.Contains(a.body, tt.detail) {
			t.Errorf("%s %s %.60s: %d %s", tt.method, tt.path, tt.body, a.status, a.body)
		}
	}
	if n := s.cluster.Calls("Submit") + s.cluster.Calls("PatchTeam"); n != 0 {
		t.Errorf("%d of them reached the cluster", n)
	}
}

// TestCutBody: half a body is a clear problem, and nothing is done.
func TestCutBody(t *testing.T) {
	s := newServer(t)
	red, _ := s.withMaze(t)
	url := listen(t, s)
	for _, framing := range []string{"Content-Length: 200\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n40\r\n"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1/hunts/maze/teams/red/submissions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s"+
			`{"clue":"gate","answer":"frie`, red, framing)
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 400 || !strings.Contains(string(body), "cut off") {
			t.Errorf("%d %s %v", resp.StatusCode, body, err)
		}
	}
	if n := s.cluster.Calls("Submit"); n != 0 {
		t.Errorf("%d halves were submitted", n)
	}
}

// TestFailures: what the cluster says becomes the right answer, and what it did
// not mean for users stays inside.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		name               string
		err                error
		read, write        int
		readCode, retry    string
		neverSaid, logWord string
	}{
		{"overloaded", &fsm.Error{Kind: fsm.Overloaded, Msg: "full", After: 1500 * time.Millisecond}, 503, 503, "overloaded", "2", "", ""},
		{"no advice", fsm.Errorf(fsm.Unavailable, "no quorum"), 503, 503, "unavailable", "1", "", ""},
		{"unknown", fsm.Errorf(fsm.OutcomeUnknown, "sent"), 503, 504, "unavailable", "", "", ""},
		{"deadline", context.DeadlineExceeded, 503, 504, "unavailable", "", "context", ""},
		{"wrapped", fmt.Errorf("ask n3: %w", fsm.Errorf(fsm.Unavailable, "no quorum")), 503, 503, "unavailable", "1", "n3", ""},
		{"internal", errGone, 500, 500, "internal", "", "sda1", "sda1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			s := newServer(t, func(c *httpapi.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
			s.withMaze(t)
			s.cluster.Fault = func(method string) error {
				if method == "Team" || method == "Submit" {
					return tt.err
				}
				return nil
			}
			read := s.do(t, "GET", "/v1/hunts/maze/teams/red", apitest.Organizer, "")
			write := s.do(t, "POST", "/v1/hunts/maze/teams/red/submissions", apitest.Organizer, `{"clue":"gate","answer":"x"}`)
			if read.status != tt.read || read.code(t) != tt.readCode || write.status != tt.write {
				t.Errorf("read %d %s, write %d %s", read.status, read.body, write.status, write.body)
			}
			if got := write.header.Get("Retry-After"); got != tt.retry {
				t.Errorf("Retry-After: %q, want %q", got, tt.retry)
			}
			if tt.neverSaid != "" && strings.Contains(read.body+write.body, tt.neverSaid) {
				t.Errorf("said too much: %s %s", read.body, write.body)
			}
			if !strings.Contains(log.String(), tt.logWord) {
				t.Errorf("the log does not say why: %s", &log)
			}
		})
	}
}

// TestPages: the pages of any size put together are the whole list, ranks
// included.
func TestPages(t *testing.T) {
	s := newServer(t)
	org := apitest.Organizer
	s.must(t, nil, "POST", "/v1/hunts", org, maze)
	const teams = 23
	for i := range teams {
		id := fmt.Sprintf("t%02d", i)
		s.team(t, "maze", id)
		clue := map[int]string{0: `{"clue":"gate","answer":"friend"}`, 1: `{"clue":"door","answer":"open"}`}[i%3]
		if clue != "" {
			s.must(t, nil, "POST", "/v1/hunts/maze/teams/"+id+"/submissions", org, clue)
		}
	}
	for range teams {
		s.must(t, nil, "POST", "/v1/hunts/maze/teams/t00/submissions", org, `{"clue":"gate","answer":"x"}`)
	}
	for _, path := range []string{
		"/v1/hunts/maze/leaderboard", "/v1/hunts/maze/teams", "/v1/hunts/maze/teams/t00/submissions", "/v1/hunts", "/v1/tokens",
	} {
		whole, _ := pages(t, s, path, 1000)
		rapid.Check(t, func(rt *rapid.T) {
			size := rapid.IntRange(1, 30).Draw(rt, "size")
			got, n := pages(t, s, path, size)
			if got != whole {
				rt.Fatalf("%s in pages of %d:\n%s\nwant\n%s", path, size, got, whole)
			}
			if rows := strings.Count(whole, "\n"); n != max(1, (rows+size-1)/size) {
				rt.Fatalf("%s: %d pages of %d for %d rows", path, n, size, rows)
			}
		})
	}
}

// pages reads a whole list and returns its rows, one a line, and the number of
// its pages.
func pages(t *testing.T, s *server, path string, size int) (rows string, n int) {
	t.Helper()
	for token := ""; ; {
		var body map[string]any
		s.must(t, &body, "GET", fmt.Sprintf("%s?consistency=strong&page_size=%d&page_token=%s", path, size, token), apitest.Admin, "")
		n++
		for _, v := range body {
			if list, ok := v.([]any); ok {
				for _, row := range list {
					rows += fmt.Sprintln(row)
				}
			}
		}
		next, ok := body["next_page_token"].(string)
		if !ok {
			return rows, n
		}
		token = next
	}
}

// TestStaleness: stale reads say how old, others do not.
func TestStaleness(t *testing.T) {
	s := newServer(t)
	s.withMaze(t)
	for _, path := range []string{"leaderboard", "stats", "teams", "teams/red", "teams/red/clues", "teams/red/submissions"} {
		for cons, want := range map[string]string{"": "", "strong": "", "stale": "120ms"} {
			a := s.must(t, nil, "GET", "/v1/hunts/maze/"+path+"?consistency="+cons, apitest.Organizer, "")
			if got := a.header.Get("Cairn-Staleness"); got != want {
				t.Errorf("%s, %q: Cairn-Staleness %q, want %q", path, cons, got, want)
			}
		}
	}
}

// TestCluesBeforeTheStart: nobody sees a clue of a hunt that has not begun, but
// for test teams; and of a draft, nobody at all.
func TestCluesBeforeTheStart(t *testing.T) {
	s := newServer(t)
	org := apitest.Organizer
	s.must(t, nil, "POST", "/v1/hunts", org, strings.Replace(maze, "2020-", "2999-", 1))
	red := s.team(t, "maze", "red")
	s.must(t, nil, "POST", "/v1/hunts/maze/teams", org, `{"id":"testers","name":"T","kind":"test"}`)
	shown := func(team, token string) bool {
		a := s.must(t, nil, "GET", "/v1/hunts/maze/teams/"+team+"/clues", token, "")
		b := s.must(t, nil, "GET", "/v1/hunts/maze/teams/"+team, token, "")
		if strings.Contains(a.body, "gate") != strings.Contains(b.body, "gate") {
			t.Errorf("the team and its clues disagree: %s %s", a.body, b.body)
		}
		return strings.Contains(a.body, "gate")
	}
	if shown("red", red) || !shown("testers", org) {
		t.Error("before the start")
	}
	s.must(t, nil, "POST", "/v1/hunts/maze/state", org, `{"state":"draft"}`)
	if shown("red", red) || shown("testers", org) {
		t.Error("in a draft")
	}
}
