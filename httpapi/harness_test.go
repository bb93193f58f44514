package httpapi_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"cairn/httpapi"
	"cairn/httpapi/apitest"
	"cairn/httpapi/rest"
)

var (
	update = flag.Bool("update", false, "rewrite golden files")
	long   = flag.Bool("long", false, "run the long tests: a million lines through a stream")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a handler in front of a cluster in memory.
type server struct {
	http.Handler
	cluster *apitest.Cluster
}

func newServer(t testing.TB, edit ...func(*httpapi.Config)) *server {
	t.Helper()
	c := apitest.New()
	cfg := httpapi.Config{Cluster: c, Version: "test"}
	for _, f := range edit {
		f(&cfg)
	}
	return &server{httpapi.New(cfg), c}
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request; headers are pairs. A token of "" sends none.
func (s *server) do(t testing.TB, method, path, token, body string, headers ...string) answer {
	t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, path, in)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// must is do for a request that has to succeed; out, if not nil, is decoded.
func (s *server) must(t testing.TB, out any, method, path, token, body string, headers ...string) answer {
	t.Helper()
	a := s.do(t, method, path, token, body, headers...)
	if a.status >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	if out != nil {
		a.decode(t, out)
	}
	return a
}

func (a answer) decode(t testing.TB, out any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), out); err != nil {
		t.Fatalf("decode %q: %v", a.body, err)
	}
}

func (a answer) code(t testing.TB) string {
	t.Helper()
	var p rest.Problem
	a.decode(t, &p)
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("an error came as %q", ct)
	}
	return p.Code
}

// maze is the hunt of most tests; secret is one that is not public.
const (
	maze = `{
	"id": "maze", "title": "The maze", "description": "Find the way out.",
	"starts_at": "2020-01-01T00:00:00Z", "registration": "open",
	"rounds": [{"id": "outer", "title": "Outer ring"}],
	"clues": [
		{"id": "gate", "round": "outer", "title": "The gate", "prompt": "Who goes there?", "points": 10,
		 "answers": ["friend"], "nudges": [{"value": "foe", "reply": "Not quite."}], "solution": "A friend.",
		 "hints": [{"id": "h1", "text": "Be nice.", "cost": 2}]},
		{"id": "door", "points": 5, "answers": ["open"], "attempts": {"limit": 2}},
		{"id": "core", "points": 20, "answers": ["heart"], "unlock": "gate"}
	]}`
	secret = `{"id": "secret", "title": "The secret", "public": false, "clues": [{"id": "one", "points": 1, "answers": ["x"]}]}`
)

// withMaze creates the hunt and two teams, and returns their tokens.
func (s *server) withMaze(t testing.TB) (red, blue string) {
	t.Helper()
	s.must(t, nil, "POST", "/v1/hunts", apitest.Organizer, maze)
	return s.team(t, "maze", "red"), s.team(t, "maze", "blue")
}

func (s *server) team(t testing.TB, hunt, id string) (token string) {
	t.Helper()
	var out rest.TeamCreated
	s.must(t, &out, "POST", "/v1/hunts/"+hunt+"/teams", apitest.Organizer, `{"id":"`+id+`","name":"Team `+id+`"}`)
	return out.Token
}

// golden compares a body with testdata/golden/api_NAME.json, indented.
func golden(t *testing.T, name, body string) {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(body), "", "  "); err != nil {
		t.Fatalf("%s: %q is not JSON: %v", name, body, err)
	}
	path := filepath.Join("testdata", "golden", "api_"+name+".json")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, b.Bytes()) {
		t.Errorf("%s differs from its golden file (run with -update if that is meant):\ngot\n%s\nwant\n%s", name, b.Bytes(), want)
	}
}
