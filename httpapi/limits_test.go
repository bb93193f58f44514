package httpapi_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cairn/httpapi"
	"cairn/httpapi/apitest"
)

// TestRateLimits: each token has its own quota, and so has an address for what
// carries no valid token; who is beyond it is told when to come back, and is taken
// then. Tokens do not share their address's quota.
func TestRateLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refused atomic.Int64
		s := newServer(t, func(c *httpapi.Config) {
			c.Limits = httpapi.Limits{Team: 2, Address: 1}
			c.Refused = func(reason string) {
				if reason != "rate" {
					t.Errorf("refused for %q", reason)
				}
				refused.Add(1)
			}
		})
		red, blue := s.withMaze(t)
		clues := func(token, team string) answer {
			return s.do(t, "GET", "/v1/hunts/maze/teams/"+team+"/clues", token, "")
		}
		for i := range 10 {
			a := clues(red, "red")
			if a.status != 200 {
				t.Fatalf("request %d: %d %s", i, a.status, a.body)
			}
			if i == 3 && (a.header.Get("RateLimit-Policy") != `"team";q=10;w=5` || a.header.Get("RateLimit") != `"team";r=6;t=2`) {
				t.Errorf("headers: %v", a.header)
			}
		}
		a := clues(red, "red")
		if a.status != 429 || a.code(t) != "rate_limited" || a.header.Get("Retry-After") != "1" || a.header.Get("RateLimit") != `"team";r=0;t=1` {
			t.Errorf("beyond the quota: %d %v %s", a.status, a.header, a.body)
		}
		if a := clues(blue, "blue"); a.status != 200 {
			t.Errorf("another team: %d", a.status)
		}
		if a := s.do(t, "GET", "/v1/hunts/maze/stats", apitest.Organizer, ""); a.status != 200 || a.header.Get("RateLimit") != "" {
			t.Errorf("an organizer, who has no limit: %d %v", a.status, a.header)
		}
		for range 5 {
			if a := clues("cairn_t_guess", "red"); a.status != 401 {
				t.Fatalf("a wrong token: %d", a.status)
			}
		}
		for _, r := range []struct{ path, token string }{
			{"/v1/hunts/maze/teams/red/clues", "cairn_t_guess"}, {"/v1/hunts/maze/leaderboard", ""}, {"/docs", ""}, {"/nothing", ""},
		} {
			if a := s.do(t, "GET", r.path, r.token, ""); a.status != 429 || !strings.HasPrefix(a.header.Get("RateLimit"), `"address";r=0`) {
				t.Errorf("%s with %q from a spent address: %d %v", r.path, r.token, a.status, a.header)
			}
		}
		if a := s.do(t, "GET", "/livez", "", ""); a.status != 200 {
			t.Errorf("/livez from a spent address: %d", a.status)
		}
		if a := clues(blue, "blue"); a.status != 200 {
			t.Errorf("a team at a spent address: %d", a.status)
		}
		if n := refused.Load(); n != 5 {
			t.Errorf("%d were counted as refused, want 5", n)
		}
		time.Sleep(time.Second)
		if a := clues(red, "red"); a.status != 200 {
			t.Errorf("after Retry-After: %d", a.status)
		}
	})
}

// TestLinesAreNotCounted: an import is one request, however many lines it has.
func TestLinesAreNotCounted(t *testing.T) {
	s := newServer(t, func(c *httpapi.Config) { c.Limits = httpapi.Limits{Staff: 1} })
	s.withMaze(t)
	var lines strings.Builder
	for i := range 50 {
		lines.WriteString(batchLine("k"+string(rune('a'+i%26))+string(rune('a'+i/26)), "red", "gate", "y"))
	}
	for _, r := range results(t, listen(t, s), strings.NewReader(lines.String())) {
		if r.Error != nil {
			t.Fatalf("a line: %+v", r.Error)
		}
	}
}
