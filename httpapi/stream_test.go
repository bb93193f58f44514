package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"cairn/cluster"
	"cairn/fsm"
	"cairn/httpapi"
	"cairn/httpapi/apitest"
	"cairn/httpapi/rest"
)

// listen serves s on a real connection: streams need one.
func listen(t testing.TB, s *server) (url string) {
	t.Helper()
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = httpapi.Server("", s)
	ts.Start()
	t.Cleanup(ts.Close)
	return ts.URL
}

// post streams body to a batch route and hands every line of the answer to line.
func post(t testing.TB, url, path string, body io.Reader, line func([]byte)) {
	t.Helper()
	req, err := http.NewRequest("POST", url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apitest.Organizer)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s: %s", resp.Status, b)
	}
	scan := bufio.NewScanner(resp.Body)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		line(scan.Bytes())
	}
	if err := scan.Err(); err != nil {
		t.Fatal(err)
	}
}

func results(t testing.TB, url string, body io.Reader) (out []rest.BatchResult) {
	t.Helper()
	post(t, url, "/v1/hunts/maze/submissions:batch", body, func(b []byte) {
		var r rest.BatchResult
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		out = append(out, r)
	})
	return out
}

func batchLine(key, team, clue, answer string) string {
	return fmt.Sprintf(`{"key":%q,"team":%q,"clue":%q,"answer":%q}`+"\n", key, team, clue, answer)
}

// TestBatchLines: every kind of bad line gets its error in its place, and the
// lines around it are judged.
func TestBatchLines(t *testing.T) {
	s := newServer(t)
	s.withMaze(t)
	url := listen(t, s)
	for _, tt := range []struct {
		name, line, code, key, detail string
	}{
		{"not JSON", "hello\n", "invalid", "", "not valid JSON"},
		{"half an object", `{"key":"k","team":"red"` + "\n", "invalid", "k", "too early"},
		{"two objects", `{"key":"k","team":"red","clue":"door","answer":"a"} {}` + "\n", "invalid", "k", "after"},
		{"unknown field", `{"key":"k","team":"red","clue":"door","answer":"a","colour":"b"}` + "\n", "invalid", "k", "colour"},
		{"field twice", `{"key":"k","team":"red","team":"blue","clue":"door","answer":"a"}` + "\n", "invalid", "k", "team: is given twice"},
		{"wrong type", `{"key":"k","team":"red","clue":"door","answer":7}` + "\n", "invalid", "k", "answer: must be a string, not number"},
		{"no answer", `{"key":"k","team":"red","clue":"door"}` + "\n", "invalid", "k", "answer: is missing"},
		{"empty key", batchLine("", "red", "door", "a"), "invalid", "", "key"},
		{"long key", batchLine(strings.Repeat("k", 65), "red", "door", "a"), "invalid", strings.Repeat("k", 65), "key"},
		{"no such team", batchLine("k", "green", "door", "a"), "not_found", "k", "green"},
		{"no such clue", batchLine("k", "red", "nope", "a"), "not_found", "k", "nope"},
		{"not UTF-8", "{\"key\":\"k\",\"team\":\"red\",\"clue\":\"door\",\"answer\":\"\xff\"}\n", "invalid", "", "UTF-8"},
		{"bad time", `{"key":"k","team":"red","clue":"door","answer":"a","at":"noon"}` + "\n", "invalid", "k", "at: must be a time"},
		{"future", `{"key":"k","team":"red","clue":"door","answer":"a","at":"2999-01-01T00:00:00Z"}` + "\n", "invalid", "k", "future"},
		{"longest line", `{"key":"k","team":"red","clue":"door","answer":"` + strings.Repeat("a", httpapi.MaxLine-50) + "\"}\n", "invalid", "k", "answer"},
		{"too long", strings.Repeat("x", httpapi.MaxLine+1) + "\n", "too_large", "", "line 2"},
		{"far too long", strings.Repeat("x", 10*httpapi.MaxLine) + "\n", "too_large", "", "line 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := results(t, url, strings.NewReader(batchLine("a"+tt.name[:3], "blue", "door", "x")+tt.line+batchLine("b"+tt.name[:3], "blue", "door", "y")))
			if len(got) != 3 {
				t.Fatalf("%d answers to 3 lines", len(got))
			}
			if got[0].Error != nil && got[0].Error.Code != "attempts_exhausted" || got[2].LineKey != "b"+tt.name[:3] {
				t.Errorf("the lines around it suffered: %+v, %+v", got[0], got[2])
			}
			e := got[1].Error
			if e == nil || e.Code != tt.code || got[1].LineKey != tt.key || !strings.Contains(e.Detail, tt.detail) {
				t.Errorf("got key %q and %+v", got[1].LineKey, e)
			}
		})
	}
}

// TestBatchEnds: an empty body, a blank line, and a last line without its end
// are all right.
func TestBatchEnds(t *testing.T) {
	s := newServer(t)
	s.withMaze(t)
	url := listen(t, s)
	if got := results(t, url, strings.NewReader("")); len(got) != 0 {
		t.Errorf("an empty body was answered with %d lines", len(got))
	}
	body := "\n" + batchLine("1", "red", "door", "x") + "\r\n" + strings.TrimSpace(batchLine("2", "red", "gate", "friend"))
	got := results(t, url, strings.NewReader(body))
	if len(got) != 2 || got[0].Error != nil || got[1].Submission == nil || got[1].Verdict != "correct" {
		t.Errorf("got %+v", got)
	}
}

// TestBatchOrder: answers come in the order of the lines, a team's lines are
// judged in theirs, one at a time, and different teams' at once.
func TestBatchOrder(t *testing.T) {
	s := newServer(t)
	s.withMaze(t)
	const teams, lines = 20, 600
	for i := range teams {
		s.team(t, "maze", fmt.Sprintf("t%02d", i))
	}
	var mu sync.Mutex
	busy := map[fsm.TeamID]bool{}
	most := 0
	s.cluster.Before = func(_ context.Context, in cluster.Submission) error {
		mu.Lock()
		if busy[in.Team] {
			t.Errorf("two lines of team %s at once", in.Team)
		}
		busy[in.Team] = true
		most = max(most, len(busy))
		mu.Unlock()
		runtime.Gosched()
		mu.Lock()
		delete(busy, in.Team)
		mu.Unlock()
		return nil
	}
	var body strings.Builder
	for i := range lines {
		// Skewed: the first team has half of all lines.
		team := 0
		if i%2 == 1 {
			team = i % teams
		}
		body.WriteString(batchLine(fmt.Sprintf("k%d", i), fmt.Sprintf("t%02d", team), "gate", fmt.Sprintf("guess %d", i)))
	}
	last := map[string]int{}
	for i, r := range results(t, listen(t, s), strings.NewReader(body.String())) {
		if r.Error != nil || r.Key != fmt.Sprintf("k%d", i) {
			t.Fatalf("answer %d: %+v %+v", i, r.Submission, r.Error)
		}
		team := 0
		if i%2 == 1 {
			team = i % teams
		}
		last[fmt.Sprint(team)]++
		if want := fmt.Sprint(last[fmt.Sprint(team)]); r.Submission.Submission != want {
			t.Fatalf("line %d is submission %s of its team, want %s", i, r.Submission.Submission, want)
		}
	}
	if most < 2 {
		t.Error("different teams' lines were never judged at once")
	}
}

// TestBatchWindow: while the oldest line is not done, no more lines are taken
// than the queue holds and the one that write waits for, however many are sent.
func TestBatchWindow(t *testing.T) {
	const window, lines = 8, 30
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, func(c *httpapi.Config) { c.Window = window })
		s.withMaze(t)
		var body strings.Builder
		for i := range lines {
			id := fmt.Sprintf("t%02d", i)
			s.team(t, "maze", id)
			body.WriteString(batchLine("k", id, "gate", "x"))
		}
		var taken atomic.Int64
		release := make(chan struct{})
		s.cluster.Before = func(context.Context, cluster.Submission) error {
			taken.Add(1)
			<-release
			return nil
		}
		var got answer
		done := make(chan struct{})
		go func() {
			defer close(done)
			got = s.do(t, "POST", "/v1/hunts/maze/submissions:batch", apitest.Organizer, body.String())
		}()
		synctest.Wait()
		if n := taken.Load(); n != window+1 {
			t.Errorf("%d lines were taken", n)
		}
		close(release)
		<-done
		if n := strings.Count(got.body, "\n"); n != lines || taken.Load() != lines {
			t.Errorf("%d answers, %d lines judged", n, taken.Load())
		}
	})
}

// TestBatchDeadline: each line has its own time, and what has no answer by then
// is answered with the cluster's verdict.
func TestBatchDeadline(t *testing.T) {
	s := newServer(t)
	s.withMaze(t)
	s.cluster.Before = func(ctx context.Context, in cluster.Submission) error {
		if in.Answer == "slow" {
			<-ctx.Done()
			return fsm.Errorf(fsm.OutcomeUnknown, "not confirmed in time")
		}
		return nil
	}
	req := httptest.NewRequest("POST", "/v1/hunts/maze/submissions:batch", strings.NewReader(
		batchLine("1", "red", "gate", "slow")+batchLine("2", "red", "gate", "slow")+batchLine("3", "red", "gate", "friend"),
	))
	req.Header.Set("Authorization", "Bearer "+apitest.Organizer)
	req.Header.Set("Cairn-Timeout", "20ms")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, req)
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "outcome_unknown") || !strings.Contains(lines[1], "outcome_unknown") ||
		!strings.Contains(lines[2], `"correct"`) {
		t.Errorf("got %s", w.Body)
	}
}

// TestBatchCut: a body that breaks off in the middle of a line is judged up to
// that line, and the answer says where it broke.
func TestBatchCut(t *testing.T) {
	s := newServer(t)
	s.withMaze(t)
	url := listen(t, s)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	whole, half := batchLine("1", "red", "door", "open"), `{"key":"2","team":"red","clue":"ga`
	fmt.Fprintf(conn, "POST /v1/hunts/maze/submissions:batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Content-Length: %d\r\n\r\n%s%s", apitest.Organizer, len(whole)+1000, whole, half)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(body)), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"correct"`) || !strings.Contains(lines[1], "broke off in line 2") {
		t.Errorf("got %s", body)
	}
	var h rest.Submissions
	s.must(t, &h, "GET", "/v1/hunts/maze/teams/red/submissions", apitest.Organizer, "")
	if len(h.Submissions) != 1 {
		t.Errorf("%d submissions were recorded", len(h.Submissions))
	}
}

// TestBatchClientGone: when nobody takes the answers, the work stops long before
// the lines are done, and nothing stays behind (goleak looks in TestMain).
func TestBatchClientGone(t *testing.T) {
	const lines = 1000
	s := newServer(t)
	s.withMaze(t)
	var judged atomic.Int64
	started, ended := make(chan struct{}), make(chan struct{})
	s.cluster.Before = func(ctx context.Context, _ cluster.Submission) error {
		if judged.Add(1) == 1 {
			close(started)
		}
		<-ctx.Done()
		return ctx.Err()
	}
	h := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		h.ServeHTTP(w, r)
	})
	url := listen(t, s)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := strings.Repeat(batchLine("k", "red", "door", "x"), lines)
	fmt.Fprintf(conn, "POST /v1/hunts/maze/submissions:batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Cairn-Timeout: 30ms\r\nContent-Length: %d\r\n\r\n%s", apitest.Organizer, len(body), body)
	<-started
	conn.Close() // all lines have been sent, and arrive
	<-ended
	if n := judged.Load(); n > lines/10 {
		t.Errorf("%d of %d lines were judged for nobody", n, lines)
	}
}

// TestBatchTeams: an import may be repeated, and neither an organizer's nor a
// player's request gets at the token of an imported team by guessing its key.
func TestBatchTeams(t *testing.T) {
	s := newServer(t)
	s.must(t, nil, "POST", "/v1/hunts", apitest.Organizer, maze)
	url := listen(t, s)
	body := `{"id":"red","name":"Red"}` + "\n" + `{"name":"No id"}` + "\n" + `{"id":"RED","name":"x"}` + "\n" + `{"id":"red","name":"Red"}` + "\n"
	run := func() (out []rest.TeamLine) {
		post(t, url, "/v1/hunts/maze/teams:batch", strings.NewReader(body), func(b []byte) {
			var l rest.TeamLine
			if err := json.Unmarshal(b, &l); err != nil {
				t.Fatal(err)
			}
			out = append(out, l)
		})
		return out
	}
	first, second := run(), run()
	if len(first) != 4 || first[0].Status != "created" || first[1].Status != "created" || first[3].Status != "exists" {
		t.Fatalf("got %+v", first)
	}
	if first[2].Error == nil || first[2].Error.Code != "invalid" {
		t.Errorf("a bad id: %+v", first[2])
	}
	if second[0].Status != "exists" || second[0].Token != first[0].Token || first[3].Token != first[0].Token {
		t.Errorf("a repeated import: %+v after %+v", second[0], first[0])
	}
	for _, who := range []string{"", apitest.Organizer} {
		if a := s.do(t, "POST", "/v1/hunts/maze/teams", who, `{"id":"red","name":"Red"}`, "Idempotency-Key", "red"); a.status != 409 {
			t.Errorf("the import's key in a request of %q: %d %s", who, a.status, a.body)
		}
	}
}

// endless yields n lines, one of them bad, without holding them.
type endless struct {
	n, bad, next int
	rest         []byte
}

func (e *endless) Read(p []byte) (int, error) {
	for len(e.rest) < len(p) && e.next < e.n {
		if e.next == e.bad {
			e.rest = append(e.rest, "this is not JSON\n"...)
		} else {
			e.rest = fmt.Appendf(e.rest, `{"key":"k%d","team":"t%03d","clue":"gate","answer":"x"}`+"\n", e.next, e.next%200)
		}
		e.next++
	}
	if len(e.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, e.rest)
	e.rest = append(e.rest[:0], e.rest[n:]...)
	return n, nil
}

// TestBatchMany: a bad line in the middle of very many good ones gets its error,
// the rest goes on, and memory stays where it is. 1,000,000 lines with -long.
func TestBatchMany(t *testing.T) {
	n := 50_000
	if *long {
		n = 1_000_000
	}
	s := newServer(t)
	s.withMaze(t)
	var peak uint64
	s.Handler = httpapi.New(httpapi.Config{Cluster: instant{s.cluster}})
	i := 0
	post(t, listen(t, s), "/v1/hunts/maze/submissions:batch", &endless{n: n, bad: n / 2}, func(b []byte) {
		bad := strings.Contains(string(b), `"error"`)
		if bad != (i == n/2) || !bad && !strings.Contains(string(b), fmt.Sprintf(`"key":"k%d"`, i)) {
			t.Fatalf("answer %d: %s", i, b)
		}
		if i++; i%(n/20) == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
	})
	if i != n {
		t.Errorf("%d answers to %d lines", i, n)
	}
	if peak > 64<<20 {
		t.Errorf("the heap grew to %d MiB", peak>>20)
	}
}

// errGone is no *fsm.Error: its text must never reach a client.
var errGone = errors.New("disk /dev/sda1 is on fire")

func TestBatchInternalErrorStaysInside(t *testing.T) {
	s := newServer(t)
	s.withMaze(t)
	s.cluster.Before = func(context.Context, cluster.Submission) error { return errGone }
	got := results(t, listen(t, s), strings.NewReader(batchLine("1", "red", "gate", "x")))
	if len(got) != 1 || got[0].Error == nil || got[0].Error.Code != "internal" || strings.Contains(got[0].Error.Detail, "sda1") {
		t.Errorf("got %+v", got[0].Error)
	}
}
