package blackbox

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

const (
	// wrkConns is how many connections wrk keeps busy. What is on them when it stops
	// the node may count and wrk does not.
	wrkConns = 32
	// wrkWithin is when it must have stopped.
	wrkWithin = time.Minute
)

// wrkLasts is how long wrk loads a node with each kind of request.
var wrkLasts = form("1s", "2s")

// TestWrk puts a load by other hands than ours on a cluster: every answer is
// good, and the node counts as many requests as wrk does. The nodes refuse nobody
// for want of room: that depends on what else the machine does.
func TestWrk(t *testing.T) {
	skipShort(t)
	if _, err := exec.LookPath("wrk"); err != nil {
		t.Skip("SKIPPED: wrk is not there, which loads a node as a stranger would; make deps installs it")
	}
	c := start(t, 3, "--bench-admit-all", "--team-rate", "0", "--staff-rate", "0", "--address-rate", "0")
	hunt := quiz("wrk", 1)
	teams, tokens := c.open(hunt, 64)
	for _, id := range teams[:40] { // so that there is a board
		if _, err := c.any(tokens[id]).Submit(t.Context(), hunt.id(), id, rest.NewSubmission{Clue: "c1", Answer: right}, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, method, route, wanted string
		requests                    func() []string // for each team, in Lua
	}{
		{"board", "GET", "/v1/hunts/{hunt}/leaderboard", `"rank":1,`, func() []string {
			return []string{`wrk.format("GET", "/v1/hunts/wrk/leaderboard")`}
		}},
		{"clues", "GET", "/v1/hunts/{hunt}/teams/{team}/clues", `"id":"c1"`, func() []string {
			return each(teams, tokens, `wrk.format("GET", "/v1/hunts/wrk/teams/%s/clues", {["Authorization"] = "Bearer %s"})`)
		}},
		{"submissions", "POST", "/v1/hunts/{hunt}/teams/{team}/submissions", `"verdict":"`, func() []string {
			return each(teams, tokens, `wrk.format("POST", "/v1/hunts/wrk/teams/%s/submissions", {["Authorization"] = "Bearer %s"}, body)`)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			of := fmt.Sprintf(`method="%s",route="%s"`, tt.method, tt.route)
			good, all := c.served(0, `code="200",`+of), c.served(0, of)
			told := wrk(t, c.URLs()[0], tt.wanted, tt.requests())
			if told.Requests == 0 || told.Good != told.Requests || told.Status+told.Connect+told.Read+told.Write+told.Timeout > 0 {
				t.Fatalf("wrk saw answers that are not good: %s", told.out)
			}
			// The last of them the node counts when it has answered them.
			eventually(t, electWithin, "the node has counted what wrk did", func() error {
				if got := c.served(0, `code="200",`+of) - good; got < told.Requests {
					return fmt.Errorf("%d good answers, and wrk has %d", got, told.Requests)
				}
				return nil
			})
			if got := c.served(0, of) - all; got > told.Requests+wrkConns {
				t.Errorf("the node counted %d requests, wrk made %d and had %d at most under way", got, told.Requests, wrkConns)
			}
			if tt.method == "POST" {
				c.counted(hunt.id(), told.Requests+40)
			}
			t.Logf("%d requests in %s", told.Requests, wrkLasts)
		})
	}
}

// each formats a line for each team, of its id and its token.
func each(teams []fsm.TeamID, tokens map[fsm.TeamID]string, format string) []string {
	lines := make([]string, len(teams))
	for i, id := range teams {
		lines[i] = fmt.Sprintf(format, id, tokens[id])
	}
	return lines
}

// wrkTold is what wrk says at its end. Good is how many answers it saw that held
// what was wanted; the others are errors.
type wrkTold struct {
	Requests, Good, Status, Connect, Read, Write, Timeout int
	out                                                   string // all it says
}

// wrk loads a node with the requests, which are expressions of Lua, in turn. Each
// body is a new wrong answer.
func wrk(t *testing.T, url, wanted string, requests []string) wrkTold {
	t.Helper()
	script := filepath.Join(t.TempDir(), "load.lua")
	err := os.WriteFile(script, []byte(`local threads = {}
function setup(thread) table.insert(threads, thread) end
good, made, bad = 0, 0, "none"
local make = {`+"\nfunction(body) return "+strings.Join(requests, " end,\nfunction(body) return ")+` end,
}
function request()
  made = made + 1
  return make[made % #make + 1]('{"clue":"c1","answer":"guess ' .. made .. '"}')
end
function response(status, headers, body)
  if status == 200 and string.find(body, '`+wanted+`', 1, true) then
    good = good + 1
  elseif bad == "none" then
    bad = status .. " " .. body
  end
end
function done(summary)
  local e, n = summary.errors, 0
  for _, thread in ipairs(threads) do
    n = n + thread:get("good")
    print("the first bad answer: " .. thread:get("bad"))
  end
  print(string.format('told {"Requests":%d,"Good":%d,"Status":%d,"Connect":%d,"Read":%d,"Write":%d,"Timeout":%d}',
    summary.requests, n, e.status, e.connect, e.read, e.write, e.timeout))
end
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wrkWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(wrkConns), "-d"+wrkLasts, "--timeout", "20s", "-s", script, url).CombinedOutput()
	if err != nil {
		t.Fatalf("wrk: %v\n%s", err, out)
	}
	_, text, _ := strings.Cut(string(out), "told ")
	told := wrkTold{out: string(out)}
	if err := json.Unmarshal([]byte(text), &told); err != nil {
		t.Fatalf("wrk says nothing of what it did: %v\n%s", err, out)
	}
	return told
}

// served is how many requests a node has counted whose labels hold the text.
func (c *cluster) served(i int, labels string) int {
	c.t.Helper()
	_, _, body := c.get(i, "/metrics")
	n := 0
	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(name, "cairn_http_request_duration_seconds_count{") && strings.Contains(name, labels) {
			v, err := strconv.Atoi(value)
			if err != nil {
				c.t.Fatal(err)
			}
			n += v
		}
	}
	return n
}

// counted fails the test unless the hunt has just so many submissions, and those
// that were under way when wrk stopped.
func (c *cluster) counted(hunt fsm.HuntID, want int) {
	c.t.Helper()
	stats, err := c.admin().Stats(c.t.Context(), hunt, client.Strong)
	if err != nil {
		c.t.Fatal(err)
	}
	all := 0
	for _, n := range stats.Submissions {
		all += n
	}
	if all < want || all > want+wrkConns {
		c.t.Errorf("the hunt has %d submissions, wrk had %d answers", all, want)
	}
}

// TestBenchLoad: on a real cluster, what "bench load" offers is what its phases
// say, every request of a calm one is accepted, and the nodes have seen them all.
func TestBenchLoad(t *testing.T) {
	c := start(t, 3)
	plot := filepath.Join(t.TempDir(), "load.svg")
	const submissions = `method="POST",route="/v1/hunts/{hunt}/teams/{team}/submissions"`
	out := c.mustCLI("bench", "load", "--phases", "calm:2s@100,burst:1s@400,closed:1s@8c", "--mix", "submit=70,clues=10,board=10,team=10",
		"--hunts", "3", "--hunt-skew", "1.5", "--skew", "1.2", "--teams", "300", "-c", "64", "--direct", "--plot", plot, "-o", "json")
	var report struct {
		Phases []struct {
			Phase                              string
			Offered, Accepted, Refused, Failed int
			Requests                           []struct {
				Request           string
				Offered, Accepted int
				P50               float64 `json:"p50_ms"`
			}
		}
		Series struct {
			Points []struct{ Offered, Accepted, Refused int }
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all, submitted := 0, 0
	for i, want := range []int{200, 400, -1} {
		p := report.Phases[i]
		if want >= 0 && p.Offered != want || p.Failed > 0 || p.Accepted+p.Refused != p.Offered || want > 0 && len(p.Requests) != 4 {
			t.Errorf("%+v; want %d offered", p, want)
		}
		all += p.Offered
		for _, r := range p.Requests {
			if r.Accepted > 0 && r.P50 <= 0 {
				t.Errorf("%s, %s: accepted %d in no time", p.Phase, r.Request, r.Accepted)
			}
			if r.Request == "submit" {
				submitted += r.Offered
			}
		}
	}
	for _, p := range report.Series.Points {
		all -= p.Offered
	}
	seen := 0
	for i := range c.Nodes() {
		seen += c.served(i, submissions)
	}
	if all != 0 || seen != submitted {
		t.Errorf("the series misses %d requests; of %d submissions the nodes saw %d", all, submitted, seen)
	}
	if svg, err := os.ReadFile(plot); err != nil || !strings.Contains(string(svg), "burst 400/s") {
		t.Errorf("the plot: %.200s, %v", svg, err)
	}
}
