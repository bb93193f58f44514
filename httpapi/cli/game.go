package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"cairn/fsm"
	"cairn/httpapi/cli/local"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// Latencies are counted in microseconds, up to a minute, to three digits.
const (
	maxLatency    = int64(time.Minute / time.Microsecond)
	latencyDigits = 3
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, maxLatency, latencyDigits)
}

func record(h *hdrhistogram.Histogram, took time.Duration) {
	h.RecordValue(min(max(took.Microseconds(), 1), maxLatency)) // in range, so it cannot fail
}

// maxWrong is how many surprises a game lists.
const maxWrong = 10

// observeEvery is the pause between two looks at the board and the partitions.
const observeEvery = time.Second

// game is a demo that is being played, as seen from outside.
type game struct {
	cluster *local.Cluster
	client  *client.Client
	hunt    fsm.HuntID
	news    chan string // lines that stay; kills

	mu      sync.Mutex
	latency *hdrhistogram.Histogram
	recent  []time.Time // of submissions in the last second
	counted counts
	leaders string
	top     string
}

func newGame(cl *local.Cluster, c *client.Client, hunt fsm.HuntID) *game {
	return &game{
		cluster: cl, client: c, hunt: hunt, news: make(chan string, 16),
		latency: newHistogram(), counted: counts{verdicts: map[string]int{}, keys: map[string]bool{}},
	}
}

// submitted takes one definite result in. Whether its key had a result before
// is the players' own knowledge: a first result may well say "replayed", if the
// answer before it was lost on the way.
func (g *game) submitted(took time.Duration, s *rest.Submission) {
	g.mu.Lock()
	defer g.mu.Unlock()
	record(g.latency, took)
	g.recent = append(g.recent, time.Now())
	if g.counted.keys[s.Key] {
		g.counted.retried++
	} else {
		g.counted.keys[s.Key] = true
		g.counted.verdicts[s.Verdict]++
	}
}

func (g *game) wrong(team fsm.TeamID, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.counted.wrong) < maxWrong {
		g.counted.wrong = append(g.counted.wrong, fmt.Sprintf("%s: %v", team, err))
	}
}

func (g *game) counts() *counts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return &g.counted
}

// rate drops what is older than a second and counts the rest.
func (g *game) rate(now time.Time) int {
	keep := 0
	for keep < len(g.recent) && now.Sub(g.recent[keep]) > time.Second {
		keep++
	}
	g.recent = g.recent[keep:]
	return len(g.recent)
}

// line is the live line.
func (g *game) line(elapsed, lasts time.Duration) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return fmt.Sprintf("%3.0f s of %.0f  %4d/s  p50 %s  p99 %s  leads %s  top %s",
		elapsed.Seconds(), lasts.Seconds(), g.rate(time.Now()), micros(g.latency.ValueAtQuantile(50)), micros(g.latency.ValueAtQuantile(99)), g.leaders, g.top)
}

// micros writes a latency with two or three digits that matter.
func micros(us int64) string {
	switch d := time.Duration(us) * time.Microsecond; {
	case us == 0:
		return "-"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(us)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", float64(us)/1e3)
	default:
		return fmt.Sprintf("%.1f s", float64(us)/1e6)
	}
}

// observe looks at the cluster and at the board until ctx ends. What it cannot
// see right now, while a node is down, stays as it was.
func (g *game) observe(ctx context.Context) {
	ticker := time.NewTicker(observeEvery)
	defer ticker.Stop()
	for {
		leaders := g.countLeaders(ctx)
		top := g.topThree(ctx)
		g.mu.Lock()
		if leaders != "" {
			g.leaders = leaders
		}
		if top != "" {
			g.top = top
		}
		g.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (g *game) countLeaders(ctx context.Context) string {
	nodes, err := g.client.Nodes(ctx)
	if err != nil {
		return ""
	}
	parts, err := g.client.Partitions(ctx)
	if err != nil {
		return ""
	}
	led := map[fsm.NodeID]int{}
	for _, p := range parts.Partitions {
		led[p.Leader]++
	}
	var out []string
	for _, n := range nodes.Nodes {
		text := fmt.Sprintf("%s:%d", n.Name, led[n.ID])
		if n.State != "alive" {
			text += "(" + n.State + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func (g *game) topThree(ctx context.Context) string {
	board, err := g.client.Leaderboard(ctx, g.hunt, "", client.Page{Size: 3})
	if err != nil {
		return ""
	}
	var out []string
	for _, r := range board.Leaderboard {
		out = append(out, fmt.Sprintf("%s %s", printable(r.Name), thousands(int(r.Score))))
	}
	return strings.Join(out, ", ")
}

// killNodes kills one random node after the other and starts it again, until
// ctx ends. All nodes run when it returns, or try to.
func (g *game) killNodes(ctx context.Context, rng *rand.Rand) {
	for wait(ctx, killEvery/2+time.Duration(rng.Int64N(int64(killEvery)))) {
		i := rng.IntN(g.cluster.Nodes())
		g.cluster.Kill(i)
		g.mu.Lock()
		g.counted.kills++
		g.mu.Unlock()
		g.tell("killed " + g.cluster.Name(i))
		if !wait(ctx, downFor) {
			return
		}
		if err := g.cluster.Restart(ctx, i); err != nil {
			if ctx.Err() == nil {
				g.wrong("", err)
			}
			return
		}
		g.tell("started " + g.cluster.Name(i) + " again")
	}
}

// tell passes news to the narrator, if it still listens.
func (g *game) tell(text string) {
	select {
	case g.news <- text:
	default:
	}
}

// wait reports false if ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
