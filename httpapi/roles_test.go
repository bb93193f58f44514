package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"cairn/httpapi/apitest"
)

// lake is one more public hunt, whose registration is closed.
const lake = `{"id": "lake", "clues": [{"id": "one", "points": 1, "answers": ["x"]}]}`

// matrix is who may do what: one column for each kind of caller, one row for
// each route. The letters:
//
//	y  allowed: the request does what it asks
//	a  401: needs a token
//	f  403: has a token, and not for this
//	n  404: would be allowed, if it were there
//
// Rows are tried on a world of their own, so that they may delete things.
const matrix = `
                                                        none other own  peer otherorg org  orgall admin
POST   /v1/hunts                                        a    f     f    f    f        y    y      y
GET    /v1/hunts                                        y    y     y    y    y        y    y      y
GET    /v1/hunts/maze                                   y    y     y    y    y        y    y      y
GET    /v1/hunts/secret                                 a    f     f    f    f        f    y      y
GET    /v1/hunts/nowhere                                n    n     n    n    n        n    n      n
PUT    /v1/hunts/maze                                   a    f     f    f    f        y    y      y
PUT    /v1/hunts/nowhere                                a    f     f    f    f        f    n      n
POST   /v1/hunts/maze/state                             a    f     f    f    f        y    y      y
DELETE /v1/hunts/maze                                   a    f     f    f    f        y    y      y
GET    /v1/hunts/maze/leaderboard                       y    y     y    y    y        y    y      y
GET    /v1/hunts/secret/leaderboard                     a    f     f    f    f        f    y      y
GET    /v1/hunts/maze/stats                             a    f     f    f    f        y    y      y
POST   /v1/hunts/maze/submissions:batch                 a    f     f    f    f        y    y      y
POST   /v1/hunts/maze/teams                             y    y     y    y    y        y    y      y
POST   /v1/hunts/lake/teams                             a    f     f    f    y        f    y      y
POST   /v1/hunts/maze/teams:batch                       a    f     f    f    f        y    y      y
GET    /v1/hunts/maze/teams                             a    f     f    f    f        y    y      y
GET    /v1/hunts/maze/teams/red                         a    f     y    f    f        y    y      y
GET    /v1/hunts/maze/teams/ghost                       a    f     f    f    f        n    n      n
PATCH  /v1/hunts/maze/teams/red                         a    f     f    f    f        y    y      y
POST   /v1/hunts/maze/teams/red/token                   a    f     f    f    f        y    y      y
GET    /v1/hunts/maze/teams/red/clues                   a    f     y    f    f        y    y      y
POST   /v1/hunts/maze/teams/red/submissions             a    f     y    f    f        y    y      y
GET    /v1/hunts/maze/teams/red/submissions             a    f     y    f    f        y    y      y
GET    /v1/whoami                                       a    y     y    y    y        y    y      y
GET    /v1/routing                                      a    y     y    y    y        y    y      y
GET    /v1/cluster                                      a    f     f    f    f        f    f      y
GET    /v1/cluster/nodes                                a    f     f    f    f        f    f      y
POST   /v1/cluster/nodes/n1/drain                       a    f     f    f    f        f    f      y
POST   /v1/cluster/nodes/n1/undrain                     a    f     f    f    f        f    f      y
POST   /v1/cluster/nodes/n1/leave                       a    f     f    f    f        f    f      y
POST   /v1/cluster/nodes/n9/leave                       a    f     f    f    f        f    f      n
DELETE /v1/cluster/nodes/n1?force=true                  a    f     f    f    f        f    f      y
POST   /v1/cluster/partitions/0/transfer                a    f     f    f    f        f    f      y
POST   /v1/cluster/partitions/9/transfer                a    f     f    f    f        f    f      n
POST   /v1/cluster/recover                              a    f     f    f    f        f    f      y
POST   /v1/cluster/checkpoint                           a    f     f    f    f        f    f      y
GET    /v1/cluster/partitions                           a    f     f    f    f        f    f      y
GET    /v1/cluster/snapshots                            a    f     f    f    f        f    f      y
POST   /v1/tokens                                       a    f     f    f    f        f    f      y
GET    /v1/tokens                                       a    f     f    f    f        f    f      y
DELETE /v1/tokens/tk-maze                               a    f     f    f    f        f    f      y
GET    /livez                                           y    y     y    y    y        y    y      y
GET    /readyz                                          y    y     y    y    y        y    y      y
GET    /metrics                                         y    y     y    y    y        y    y      y
GET    /openapi.json                                    y    y     y    y    y        y    y      y
GET    /docs                                            y    y     y    y    y        y    y      y
`

// matrixBodies are of the rows that need one.
var matrixBodies = map[string]string{
	"POST /v1/hunts":                            maze,
	"PUT /v1/hunts/maze":                        strings.Replace(maze, "The maze", "The new maze", 1),
	"PUT /v1/hunts/nowhere":                     maze,
	"POST /v1/hunts/maze/state":                 `{"state":"paused"}`,
	"POST /v1/cluster/partitions/0/transfer":    `{"to":"n1"}`,
	"POST /v1/cluster/partitions/9/transfer":    `{"to":"n1"}`,
	"POST /v1/cluster/recover":                  `{}`,
	"POST /v1/cluster/checkpoint":               `{}`,
	"POST /v1/hunts/maze/teams":                 `{"name":"New"}`,
	"POST /v1/hunts/lake/teams":                 `{"name":"New"}`,
	"PATCH /v1/hunts/maze/teams/red":            `{"name":"New"}`,
	"POST /v1/hunts/maze/teams/red/submissions": `{"clue":"gate","answer":"friend"}`,
	"POST /v1/tokens":                           `{"role":"admin"}`,
	"POST /v1/hunts/maze/submissions:batch":     batchLine("k", "red", "gate", "friend"),
	"POST /v1/hunts/maze/teams:batch":           `{"id":"new","name":"New"}` + "\n",
}

type world struct {
	*server
	tokens map[string]string // by column
}

func newWorld(t *testing.T) *world {
	s := newServer(t)
	red, blue := s.withMaze(t)
	s.must(t, nil, "POST", "/v1/hunts", apitest.Organizer, secret)
	s.must(t, nil, "POST", "/v1/hunts", apitest.Organizer, lake)
	fish := s.team(t, "lake", "fish")
	var ofLake struct {
		Token string `json:"token"`
	}
	s.must(t, &ofLake, "POST", "/v1/tokens", apitest.Admin, `{"role":"organizer","hunt":"lake"}`)
	return &world{s, map[string]string{
		"none": "", "other": fish, "own": red, "peer": blue,
		"otherorg": ofLake.Token, "org": apitest.OfMaze, "orgall": apitest.Organizer, "admin": apitest.Admin,
	}}
}

// TestRoles tries every route with every kind of caller.
func TestRoles(t *testing.T) {
	rows := strings.Split(strings.TrimSpace(matrix), "\n")
	columns := strings.Fields(rows[0])
	tried := map[string]bool{}
	for _, row := range rows[1:] {
		f := strings.Fields(row)
		method, path := f[0], f[1]
		tried[method+" "+generic(path)] = true
		for i, want := range f[2:] {
			w := newWorld(t)
			a := w.do(t, method, path, w.tokens[columns[i]], matrixBodies[method+" "+path], "If-Match", `"v1-1"`)
			if got := letter(a.status); got != want {
				t.Errorf("%s %s as %s: %d, want %s: %s", method, path, columns[i], a.status, want, a.body)
			}
			if a.status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s: a 401 without WWW-Authenticate", method, path)
			}
		}
	}
	// No route may be added without its row.
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	newServer(t).must(t, &doc, "GET", "/openapi.json", "", "")
	for path, item := range doc.Paths {
		for method := range item {
			if row := strings.ToUpper(method) + " " + path; !tried[row] {
				t.Errorf("nobody says who may %s", row)
			}
		}
	}
}

// generic is the pattern of a row's path.
func generic(path string) string {
	path, _, _ = strings.Cut(path, "?")
	p := strings.Split(path, "/")
	for i := range p {
		if i > 0 && p[i-1] == "hunts" {
			p[i] = "{hunt}"
		}
		if i > 0 && p[i-1] == "teams" && i > 3 {
			p[i] = "{team}"
		}
		if i > 0 && p[i-1] == "tokens" {
			p[i] = "{id}"
		}
		if i > 0 && p[i-1] == "nodes" {
			p[i] = "{node}"
		}
		if i > 0 && p[i-1] == "partitions" {
			p[i] = "{partition}"
		}
	}
	return strings.Join(p, "/")
}

func letter(status int) string {
	switch {
	case status < 300:
		return "y"
	case status == 401:
		return "a"
	case status == 403:
		return "f"
	case status == 404:
		return "n"
	}
	return fmt.Sprint(status)
}

// TestVoidTokens: a token that was rotated away, forged, or of an earlier life of
// its hunt opens nothing, and says so even where no token is needed.
func TestVoidTokens(t *testing.T) {
	for _, tt := range []struct {
		name string
		void func(t *testing.T, s *server)
	}{
		{"rotated", func(t *testing.T, s *server) {
			s.must(t, nil, "POST", "/v1/hunts/maze/teams/red/token", apitest.Organizer, "")
		}},
		{"earlier life", func(t *testing.T, s *server) {
			s.must(t, nil, "DELETE", "/v1/hunts/maze", apitest.Organizer, "")
			s.withMaze(t)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			red, _ := s.withMaze(t)
			s.must(t, nil, "GET", "/v1/hunts/maze/teams/red", red, "")
			tt.void(t, s)
			for _, path := range []string{"", "/clues", "/submissions"} {
				if a := s.do(t, "GET", "/v1/hunts/maze/teams/red"+path, red, ""); a.status != 401 {
					t.Errorf("GET %s: %d %s", path, a.status, a.body)
				}
			}
			if a := s.do(t, "POST", "/v1/hunts/maze/teams/red/submissions", red, `{"clue":"gate","answer":"x"}`); a.status != 401 {
				t.Errorf("POST: %d %s", a.status, a.body)
			}
			if a := s.do(t, "GET", "/v1/whoami", red, ""); a.status != 401 {
				t.Errorf("whoami: %d %s", a.status, a.body)
			}
		})
	}
	s := newServer(t)
	s.withMaze(t)
	for _, auth := range []string{"Bearer nonsense", "Bearer", "Basic YTpi", "Bearer  ", "nonsense"} {
		if a := s.do(t, "GET", "/v1/hunts/maze", "", "", "Authorization", auth); a.status != 401 || a.code(t) != "unauthenticated" {
			t.Errorf("Authorization: %s: %d %s", auth, a.status, a.body)
		}
	}
	if a := s.do(t, "GET", "/v1/hunts/maze", "", "", "Authorization", "bearer "+apitest.Admin); a.status != 200 {
		t.Errorf("the scheme's case matters: %d", a.status)
	}
}

// TestPublicViewHidesTheDocument: only organizers see what they wrote.
func TestPublicViewHidesTheDocument(t *testing.T) {
	w := newWorld(t)
	for column, token := range w.tokens {
		a := w.must(t, nil, "GET", "/v1/hunts/maze", token, "")
		organizer := column == "org" || column == "orgall" || column == "admin"
		if got := strings.Contains(a.body, "friend"); got != organizer {
			t.Errorf("%s sees the answers: %v", column, got)
		}
		if a.header.Get("Vary") != "Authorization" {
			t.Error("two views of one URL, and no Vary")
		}
	}
	// A list never carries documents, and shows the hunts of the token.
	for column, want := range map[string][]string{
		"none": {"lake", "maze"}, "own": {"lake", "maze"}, "org": {"lake", "maze"}, "orgall": {"lake", "maze", "secret"},
	} {
		var out struct {
			Hunts []struct {
				ID       string          `json:"id"`
				Document json.RawMessage `json:"document"`
			} `json:"hunts"`
		}
		w.must(t, &out, "GET", "/v1/hunts", w.tokens[column], "")
		var got []string
		for _, h := range out.Hunts {
			got = append(got, h.ID)
			if h.Document != nil {
				t.Errorf("%s gets documents in a list", column)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s sees %v, want %v", column, got, want)
		}
	}
}
