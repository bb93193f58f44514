package play

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/httpapi/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// judge is a small honest node: it unlocks everything, compares answers
// letter by letter, and remembers keys, unless it forgets them.
type judge struct {
	doc     *hunt.Document
	forgets bool

	mu      sync.Mutex
	solved  map[string]bool // team/clue
	results map[string]rest.Submission
	count   map[string]int
	busy    int // requests to refuse before one is taken
}

func (j *judge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	team := strings.Split(r.URL.Path, "/")[5]
	j.mu.Lock()
	defer j.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer token-"+team {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodGet {
		list := rest.Clues{Clues: []rest.Clue{}}
		for _, c := range j.doc.Clues {
			clue := rest.Clue{ID: c.ID}
			if j.solved[team+"/"+string(c.ID)] {
				clue.SolvedAt = new(fsm.Time)
			}
			list.Clues = append(list.Clues, clue)
		}
		json.NewEncoder(w).Encode(list)
		return
	}
	if j.busy++; j.busy%7 == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"code":"overloaded","status":503,"retry_after_ms":1}`)
		return
	}
	j.submit(w, r, team)
}

func (j *judge) submit(w http.ResponseWriter, r *http.Request, team string) {
	var in rest.NewSubmission
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		panic(err)
	}
	key := r.Header.Get("Idempotency-Key")
	s, known := j.results[key]
	if !known || j.forgets {
		j.count[team]++
		s = rest.Submission{Submission: fmt.Sprint(j.count[team]), Key: key, Verdict: "incorrect"}
		if slices.ContainsFunc(j.doc.Clue(in.Clue).Answers, func(a hunt.Answer) bool { return a.Value == in.Answer }) {
			s.Verdict = "correct"
			j.solved[team+"/"+string(in.Clue)] = true
		}
		j.results[key] = s
	} else {
		s.Replayed = true
	}
	json.NewEncoder(w).Encode(s)
}

// game plays the sample hunt against a judge.
func game(t *testing.T, j *judge) (results map[string]int, tried int, wrong []string) {
	t.Helper()
	text, err := os.ReadFile("../../../testdata/hunts/sample.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if j.doc, err = hunt.ParseYAML(text); err != nil {
		t.Fatal(err)
	}
	j.solved, j.results, j.count = map[string]bool{}, map[string]rest.Submission{}, map[string]int{}
	server := httptest.NewServer(j)
	defer server.Close()
	cfg := Config{
		Hunt: j.doc, Addrs: []string{server.URL}, HTTP: server.Client(), Seed: 1,
		For: time.Second, // so that players think as little as they may
	}
	for _, team := range NewTeams(8, 1) {
		cfg.Teams = append(cfg.Teams, Team{team.ID, "token-" + string(team.ID)})
	}
	var mu sync.Mutex
	results = map[string]int{}
	cfg.Submitted = func(_ time.Duration, s *rest.Submission) {
		mu.Lock()
		defer mu.Unlock()
		results[s.Key]++
	}
	cfg.Wrong = func(team fsm.TeamID, err error) {
		mu.Lock()
		defer mu.Unlock()
		wrong = append(wrong, fmt.Sprintf("%s: %v", team, err))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tried = Run(ctx, cfg)
	if ctx.Err() != nil {
		t.Fatal("the teams did not finish")
	}
	return results, tried, wrong
}

// TestPlay: teams solve everything, some buttons are pressed twice, and all
// that was tried has a result.
func TestPlay(t *testing.T) {
	j := &judge{}
	results, tried, wrong := game(t, j)
	if len(wrong) > 0 {
		t.Errorf("wrong: %q", wrong)
	}
	if want := 8 * len(j.doc.Clues); len(j.solved) != want {
		t.Errorf("%d clues solved, want %d", len(j.solved), want)
	}
	if len(results) != tried || len(j.results) != tried {
		t.Errorf("%d tried, %d with a result, %d counted", tried, len(results), len(j.results))
	}
	twice := 0
	for _, n := range results {
		if n > 1 {
			twice++
		}
	}
	if twice == 0 || len(results) == len(j.solved) {
		t.Errorf("%d of %d submissions were sent twice, %d solve something: too well behaved", twice, len(results), len(j.solved))
	}
}

// TestForgetfulClusterIsConvicted: a cluster that counts a retry again is found
// out.
func TestForgetfulClusterIsConvicted(t *testing.T) {
	_, _, wrong := game(t, &judge{forgets: true})
	if len(wrong) == 0 {
		t.Fatal("nobody noticed")
	}
	if !strings.Contains(wrong[0], "counted as submission") {
		t.Errorf("got %q", wrong[0])
	}
}

// TestNewTeams: ids and names are valid, ids are unique, and the seed decides.
func TestNewTeams(t *testing.T) {
	for _, n := range []int{1, 5, 40, 1000} {
		teams, seen := NewTeams(n, 3), map[fsm.TeamID]bool{}
		for _, team := range teams {
			if seen[team.ID] || !fsm.ValidID(string(team.ID)) || hunt.CheckName(team.Name) != nil {
				t.Errorf("team %+v", team)
			}
			seen[team.ID] = true
		}
		if len(teams) != n || !slices.Equal(teams, NewTeams(n, 3)) {
			t.Errorf("%d teams, not the same twice", n)
		}
	}
}
