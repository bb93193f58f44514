package load

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cairn/fsm"
	"cairn/httpapi/cli/play"
	"cairn/httpapi/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node judges everything wrong and notes what it must not see.
type node struct {
	mu     sync.Mutex
	keys   map[string]bool
	busy   map[fsm.TeamID]bool
	faults []string
	status int
	refuse bool // every second one
	asked  map[fsm.TeamID]int
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, ":batch") {
		n.batch(w, r)
		return
	}
	team := fsm.TeamID(strings.Split(r.URL.Path, "/")[5])
	body, _ := io.ReadAll(r.Body)
	var in rest.NewSubmission
	if err := json.Unmarshal(body, &in); err != nil || in.Clue != "c" || in.Answer == "" || r.Header.Get("Authorization") != "Bearer token-"+string(team) {
		n.fault("request %s %s %q %q", r.Method, r.URL, body, r.Header)
	}
	n.enter(team, r.Header.Get("Idempotency-Key"))
	defer n.leave(team)
	if n.tooMuch(team) {
		w.WriteHeader(http.StatusServiceUnavailable)
		json.NewEncoder(w).Encode(rest.Problem{Code: "overloaded", RetryAfterMS: 10_000})
		return
	}
	w.WriteHeader(n.status)
	io.WriteString(w, `{"verdict":"incorrect"}`)
}

func (n *node) batch(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	rc.EnableFullDuplex()
	w.WriteHeader(http.StatusOK)
	rc.Flush()
	for in := bufio.NewScanner(r.Body); in.Scan(); {
		var line rest.BatchLine
		if err := json.Unmarshal(in.Bytes(), &line); err != nil || line.Answer == "" {
			n.fault("line %q", in.Bytes())
		}
		n.enter(line.Team, line.Key)
		n.leave(line.Team)
		io.WriteString(w, `{"verdict":"incorrect"}`+"\n")
		rc.Flush()
	}
}

func (n *node) enter(team fsm.TeamID, key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.keys[key] || key == "" {
		n.faults = append(n.faults, "key "+key+" is not new")
	}
	if n.busy[team] {
		n.faults = append(n.faults, "two at once for team "+string(team))
	}
	n.keys[key], n.busy[team] = true, true
}

// tooMuch counts a request, and reports whether it is to be refused.
func (n *node) tooMuch(team fsm.TeamID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked[team]++
	return n.refuse && len(n.keys)%2 == 0
}

func (n *node) leave(team fsm.TeamID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.busy[team] = false
}

func (n *node) fault(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = append(n.faults, fmt.Sprintf(format, args...))
}

func newNode(t *testing.T) (*node, Config) {
	t.Helper()
	n := &node{keys: map[string]bool{}, busy: map[fsm.TeamID]bool{}, status: http.StatusOK, asked: map[fsm.TeamID]int{}}
	server := httptest.NewServer(n)
	t.Cleanup(server.Close)
	cfg := Config{Addrs: []string{server.URL}, Hunt: "h", Clue: "c", Token: "o", Run: "1", For: 300 * time.Millisecond, Warmup: 50 * time.Millisecond, PIDs: []int{os.Getpid()}}
	for i := range 50 {
		id := fsm.TeamID(fmt.Sprintf("t%d", i))
		cfg.Teams = append(cfg.Teams, play.Team{ID: id, Token: "token-" + string(id)})
	}
	return n, cfg
}

// TestClosedLoop: requests are good, keys new, a team is never asked twice at
// once, and what is counted is what was measured.
func TestClosedLoop(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(context.Context, Config) (*Result, error)
	}{
		{"single", Single},
		{"batch", func(ctx context.Context, cfg Config) (*Result, error) {
			cfg.Streams = 3
			return Batch(ctx, cfg)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, cfg := newNode(t)
			cfg.Concurrency = 7
			r, err := tt.run(t.Context(), cfg)
			if err != nil || r.Ops == 0 || len(r.Errors) > 0 || !r.Measured {
				t.Fatalf("%+v, %v", r, err)
			}
			if len(n.faults) > 0 {
				t.Errorf("%d faults, first: %s", len(n.faults), n.faults[0])
			}
			if all := int64(len(n.keys)); r.Ops >= all || r.Latency.TotalCount() != r.Ops {
				t.Errorf("counted %d (%d latencies) of %d: the warm-up must be left out", r.Ops, r.Latency.TotalCount(), all)
			}
		})
	}
}

// TestPolite: a client that was refused sends nothing until it may come back; the
// others do, and what it held back is counted.
func TestPolite(t *testing.T) {
	n, cfg := newNode(t)
	n.refuse = true // every second one
	cfg.Concurrency, cfg.Rate, cfg.Polite, cfg.Warmup = 10, 500, true, 0
	r, err := Single(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	due := int64(cfg.Rate * cfg.For.Seconds())
	if r.Refused == 0 || r.Refused > 10 || r.Held == 0 || r.Ops+r.Refused+r.Held != due {
		t.Errorf("%d done, %d refused, %d held back of %d by 10 clients", r.Ops, r.Refused, r.Held, due)
	}
	if r.Lag.TotalCount() == 0 || r.Lag.Max() > r.Elapsed.Microseconds() {
		t.Errorf("%d lags up to %d us", r.Lag.TotalCount(), r.Lag.Max())
	}
}

// TestRefused: what the cluster has no room for is neither done nor an error,
// however much of it there is.
func TestRefused(t *testing.T) {
	n, cfg := newNode(t)
	cfg.Concurrency, n.refuse = 1, true
	r, err := Single(t.Context(), cfg)
	if err != nil || len(r.Errors) > 0 || r.Ops == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if r.Refused < r.Ops-1 || r.Refused > r.Ops+1 || r.Latency.TotalCount() != r.Ops {
		t.Errorf("%d done, %d refused, %d latencies; every second one was refused", r.Ops, r.Refused, r.Latency.TotalCount())
	}
}

// TestToLeaders: each team's submissions go where Leader says.
func TestToLeaders(t *testing.T) {
	one, cfg := newNode(t)
	two, other := newNode(t)
	cfg.Addrs = append(cfg.Addrs, other.Addrs...)
	cfg.Concurrency = 7
	cfg.Leader = func(id fsm.TeamID) string { return cfg.Addrs[len(id)%2] } // t0 to t9, and t10 to t49
	r, err := Single(t.Context(), cfg)
	if err != nil || len(r.Errors) > 0 || len(one.faults)+len(two.faults) > 0 {
		t.Fatalf("%+v, %v, %v, %v", r, err, one.faults, two.faults)
	}
	if len(one.asked) != 10 || len(two.asked) != 40 {
		t.Errorf("%d and %d teams were at the nodes, want 10 and 40", len(one.asked), len(two.asked))
	}
	for id := range two.asked {
		if len(id) != 3 {
			t.Errorf("%s was at the wrong node", id)
		}
	}
}

// TestSkew: by Zipf's law the first team submits far more than the others.
func TestSkew(t *testing.T) {
	n, cfg := newNode(t)
	cfg.Concurrency, cfg.Skew = 3, 1.5
	if r, err := Single(t.Context(), cfg); err != nil || len(r.Errors) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	all := 0
	for _, k := range n.asked {
		all += k
	}
	if first := n.asked[cfg.Teams[0].ID]; first*4 < all { // it makes 0.43 of them, evenly it would be 0.02
		t.Errorf("the first team made %d of %d", first, all)
	}
}

// TestFailing: errors are counted by what they are, and nothing but errors ends
// the measurement.
func TestFailing(t *testing.T) {
	n, cfg := newNode(t)
	n.status, cfg.Concurrency = http.StatusServiceUnavailable, 2
	if _, err := Single(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "status 503") {
		t.Errorf("got %v, want status 503", err)
	}
	cfg.Addrs = []string{"http://127.0.0.1:1"}
	if _, err := Single(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "dial") {
		t.Errorf("got %v, want a dial error", err)
	}
	cfg.Streams = 1
	if _, err := Batch(t.Context(), cfg); err == nil {
		t.Error("a batch to nobody succeeds")
	}
	cfg.Concurrency = 51
	if _, err := Single(t.Context(), cfg); err == nil {
		t.Error("51 connections for 50 teams")
	}
}

func TestParseStat(t *testing.T) {
	const tail = " S 1 2 3 4 5 6 7 8 9 10 1200 34 15 16"
	for _, tt := range []struct {
		stat string
		want int64 // -1: an error
	}{
		{"42 (cairn)" + tail, 1234},
		{"42 (a ) b (c) 1 2 3)" + tail, 1234},
		{"42 (cairn) S 1 2 3", -1},
		{"42 cairn S", -1},
		{"42 (cairn) S 1 2 3 4 5 6 7 8 9 10 x 34", -1},
		{"", -1},
	} {
		got, err := parseStat([]byte(tt.stat))
		if (err != nil) != (tt.want < 0) || err == nil && got != tt.want {
			t.Errorf("%q: %d, %v; want %d", tt.stat, got, err, tt.want)
		}
	}
	if _, err := CPU([]int{1 << 30}); err == nil {
		t.Error("a process that does not exist has CPU time")
	}
}

// TestAnswers: what is not a plain answer is an error, and the next request
// goes over a new connection.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		ok           bool
	}{
		{"plain", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true},
		{"other case", "HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nok", true},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false},
		{"not HTTP", "SSH-2.0-OpenSSH_9.9\r\n\r\n", false},
		{"cut", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok", false},
		{"no length", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok", false},
		{"nothing", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, buf, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				buf.WriteString(tt.answer)
				buf.Flush()
				c.Close()
			}))
			defer server.Close()
			c := &conn{addr: strings.TrimPrefix(server.URL, "http://")}
			defer c.close()
			for range 2 {
				status, body, err := c.do([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
				if ok := err == nil && status == 200 && string(body) == "ok"; ok != tt.ok {
					t.Errorf("%d %q %v", status, body, err)
				}
				c.close() // the plain ones close theirs, too
			}
		})
	}
}
