package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

// flaky is a node over real HTTP that breaks connections and refuses lines, by
// its seed. Its siblings share what is recorded.
type flaky struct {
	book *book
	mu   sync.Mutex
	rng  *rand.Rand
}

// book is what a cluster remembers.
type book struct {
	mu     sync.Mutex
	keys   map[fsm.TeamID][]string
	broken int
}

func (f *flaky) roll() float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rng.Float64()
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	rc.EnableFullDuplex()
	if f.roll() < 0.2 {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"code":"unavailable","status":503,"detail":"no quorum"}`)
		return
	}
	w.WriteHeader(http.StatusOK)
	rc.Flush()
	in := bufio.NewScanner(r.Body)
	for in.Scan() {
		var line rest.BatchLine
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			panic(err)
		}
		roll := f.roll()
		if roll < 0.01 {
			f.hangUp(rc)
			return
		}
		res := rest.BatchResult{LineKey: line.Key}
		if roll < 0.05 {
			res.Error = &rest.Problem{Code: "overloaded", Status: 503, RetryAfterMS: 1}
		} else {
			s := f.book.record(line)
			res.Submission = &s
		}
		if roll > 0.98 {
			f.hangUp(rc) // recorded, and nobody was told
			return
		}
		out, err := json.Marshal(res)
		if err != nil {
			panic(err)
		}
		w.Write(append(out, '\n'))
		rc.Flush()
	}
}

// hangUp closes the connection at once, as the end of a process does. (A panic
// of the handler would first read what is left of the body.)
func (f *flaky) hangUp(rc *http.ResponseController) {
	conn, _, err := rc.Hijack()
	if err != nil {
		panic(err)
	}
	conn.Close()
	f.book.mu.Lock()
	f.book.broken++
	f.book.mu.Unlock()
}

func (b *book) record(line rest.BatchLine) rest.Submission {
	b.mu.Lock()
	defer b.mu.Unlock()
	replayed := slices.Contains(b.keys[line.Team], line.Key)
	if !replayed {
		b.keys[line.Team] = append(b.keys[line.Team], line.Key)
	}
	return rest.Submission{Submission: "1", Key: line.Key, Verdict: "incorrect", Unlocked: []fsm.ClueID{}, Replayed: replayed}
}

// TestReplayOverHTTP runs the command against three flaky nodes, one of which
// is not there at all: every line is recorded once and in its team's order, and
// nothing of the command is left running.
func TestReplayOverHTTP(t *testing.T) {
	b := &book{keys: map[fsm.TeamID][]string{}}
	addrs := []string{"http://127.0.0.1:1"}
	for i := range 2 {
		node := httptest.NewServer(&flaky{book: b, rng: rand.New(rand.NewPCG(uint64(i), 7))})
		defer node.Close()
		addrs = append(addrs, node.URL)
	}

	const lines, teams = 3000, 150
	rng := rand.New(rand.NewPCG(3, 0))
	want := map[fsm.TeamID][]string{}
	var text bytes.Buffer
	for i := range lines {
		line := rest.BatchLine{Key: fmt.Sprintf("k%d", i), Team: fsm.TeamID(fmt.Sprintf("t%d", rng.IntN(teams))), Clue: "c", Answer: "x"}
		want[line.Team] = append(want[line.Team], line.Key)
		json.NewEncoder(&text).Encode(line)
	}
	path := filepath.Join(t.TempDir(), "lines.ndjson")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}

	leaks := goleak.IgnoreCurrent() // the nodes
	var stdout, stderr bytes.Buffer
	code := New(Config{
		Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr,
		Getenv: func(string) string { return "" },
	}).Run(t.Context(), []string{"replay", "h", path, "--addr", strings.Join(addrs, ","), "-o", "json"})
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
	var sum struct {
		Lines, Errors, Unanswered, Resent, Replayed int
		Verdicts                                    map[string]int
	}
	if err := json.Unmarshal(stdout.Bytes(), &sum); err != nil {
		t.Fatal(err)
	}
	if sum.Lines != lines || sum.Verdicts["incorrect"] != lines || sum.Resent == 0 || sum.Replayed == 0 {
		t.Errorf("summary %+v", sum)
	}
	if b.broken < 10 {
		t.Errorf("only %d connections were broken: the test shows nothing", b.broken)
	}
	for team, keys := range want {
		if !slices.Equal(b.keys[team], keys) {
			t.Errorf("team %s recorded %v\nwant %v", team, b.keys[team], keys)
		}
	}
	goleak.VerifyNone(t, leaks)
}
