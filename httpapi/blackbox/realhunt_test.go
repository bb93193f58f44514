package blackbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

const (
	// longestDeath is how long a node that was killed lies dead at most.
	longestDeath = 1500 * time.Millisecond
	// oddPage is a page size that divides nothing.
	oddPage = 37
	// readers is how many histories are read at once.
	readers = 16
)

// fire is what a hunt is played under.
type fire struct {
	lasts time.Duration // over at least this time its lines are spread
	kills int           // how often a node dies meanwhile, at least
	apart time.Duration // all nodes run for this to twice this between two kills
}

var (
	// shortFire is full speed: two cores need this long, and where there are more
	// the kills still find the hunt under way.
	shortFire = fire{lasts: 8 * time.Second, kills: 2, apart: 1200 * time.Millisecond}
	longFire  = fire{lasts: 60 * time.Second, kills: 10, apart: 2 * time.Second}
)

// TestRealHunt plays a real hunt while nodes are killed, cuts the power of all
// of them at once, and plays it again: every submission counts exactly once, and
// everybody is ranked as in life. Its long form paces the hunt, and kills more
// often and in calm.
func TestRealHunt(t *testing.T) {
	h := loadRealHunt(t)
	c := start(t, 3)
	rng := random(t)
	h.create(c)

	ctx, cancel := context.WithCancel(t.Context())
	var nemesis sync.WaitGroup
	var kills, leaders int
	under := form(shortFire, longFire)
	nemesis.Go(func() { kills, leaders = c.killNodes(ctx, rng, under.apart) })
	begin := time.Now()
	sum := h.replay(c, "--min-duration", under.lasts.String())
	took := time.Since(begin)
	cancel()
	nemesis.Wait()
	t.Logf("%d submissions in %.1f s, %d kills, %d of them of the controller's leader, %d lines sent again", sum.Lines, took.Seconds(), kills, leaders, sum.Resent)
	if kills < under.kills || leaders == 0 || took < under.lasts {
		t.Errorf("%d kills (%d of leaders) in %v: want %d, some of leaders, in at least %v", kills, leaders, took, under.kills, under.lasts)
	}
	c.settle()
	before := h.check(c)

	c.KillAll()
	c.reviveAll()
	c.settle()
	if after := h.check(c); !bytes.Equal(after, before) {
		t.Errorf("after all nodes were killed at once the board is\n%.2000s\nand was\n%.2000s", after, before)
	}

	sum = h.replay(c)
	if sum.Replayed != h.total() {
		t.Errorf("a second replay has %d lines replayed, want all %d", sum.Replayed, h.total())
	}
	if after := h.check(c); !bytes.Equal(after, before) {
		t.Errorf("a replay of what was known changed the board from\n%.2000s\nto\n%.2000s", before, after)
	}
}

// TestRealHuntFullSpeed replays the hunt as fast as a fresh cluster takes it that
// nobody hurts.
func TestRealHuntFullSpeed(t *testing.T) {
	if !longForm {
		t.Skip("CAIRN_LONG=1 (make sim) runs it; TestRealHunt's short form plays at full speed while nodes die")
	}
	h := loadRealHunt(t)
	c := start(t, 3)
	h.create(c)
	begin := time.Now()
	h.replay(c)
	took := time.Since(begin)
	t.Logf("%d submissions in %.2f s: %.0f a second", h.total(), took.Seconds(), float64(h.total())/took.Seconds())
	h.check(c)
}

// create creates the hunt and imports its teams, by the command line.
func (h *realHunt) create(c *cluster) {
	c.t.Helper()
	c.mustCLI("hunt", "create", "-f", h.file("hunt.json"))
	out := strings.Split(strings.TrimSpace(c.mustCLI("team", "import", string(h.id), h.file("teams.tsv"))), "\n")
	tokens := map[string]bool{}
	for _, line := range out[1:] {
		f := strings.Split(line, "\t")
		if len(f) != 4 || f[3] != "created" || !strings.HasPrefix(f[2], "cairn_t_") {
			c.t.Fatalf("team import printed %q", line)
		}
		tokens[f[2]] = true
	}
	if len(tokens) != h.teams {
		c.t.Fatalf("team import printed %d different tokens for %d teams", len(tokens), h.teams)
	}
}

// replayed is what "cairn replay -o json" prints.
type replayed struct {
	Lines, Replayed, Errors, Unanswered, Resent int
	Verdicts                                    map[string]int
}

// replay sends a file of submissions through all nodes, by the command line.
func (c *cluster) replay(hunt fsm.HuntID, file string, flags ...string) replayed {
	c.t.Helper()
	args := append([]string{"replay", string(hunt), file, "-o", "json"}, flags...)
	var sum replayed
	if err := json.Unmarshal([]byte(c.mustCLI(args...)), &sum); err != nil {
		c.t.Fatal(err)
	}
	return sum
}

// replay sends every submission of the hunt.
func (h *realHunt) replay(c *cluster, flags ...string) replayed {
	c.t.Helper()
	sum := c.replay(h.id, h.file("submissions.ndjson.gz"), flags...)
	if sum.Lines != h.total() || sum.Errors+sum.Unanswered != 0 || sum.Verdicts["correct"] != h.correct || sum.Verdicts["incorrect"] != h.incorrect {
		c.t.Errorf("replay says %+v, want %d lines, %d correct, %d incorrect", sum, h.total(), h.correct, h.incorrect)
	}
	return sum
}

// killNodes kills a random node, lets it lie for a moment and starts it again,
// until ctx ends; all run for apart to twice that in between. At first and every
// third time it is the node that leads the controller. It returns how many were
// killed, and how many of them led it.
func (c *cluster) killNodes(ctx context.Context, rng *rand.Rand, apart time.Duration) (kills, leaders int) {
	for wait(ctx, between(rng, apart, 2*apart)) {
		i := rng.IntN(c.Nodes())
		lead, err := c.controllerLeader(ctx)
		if err == nil && (leaders == 0 || rng.IntN(3) == 0) {
			i = lead
		}
		c.Kill(i)
		kills++
		if err == nil && i == lead {
			leaders++
		}
		wait(ctx, between(rng, 0, longestDeath))
		up, cancel := context.WithTimeout(context.WithoutCancel(ctx), startWithin)
		err = c.Restart(up, i)
		cancel()
		if err != nil {
			c.t.Errorf("after kill %d: %v", kills, err)
			return kills, leaders
		}
	}
	return kills, leaders
}

func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)))
}

// controllerLeader is the node that leads the controller's group.
func (c *cluster) controllerLeader(ctx context.Context) (int, error) {
	cl, err := c.admin().Cluster(ctx)
	if err != nil {
		return 0, err
	}
	for _, n := range cl.Nodes {
		for i := range c.Nodes() {
			if n.ID == cl.ControllerLeader && n.Name == c.Name(i) {
				return i, nil
			}
		}
	}
	return 0, fmt.Errorf("no leader of the controller is known")
}

// check compares everything that every node says of the hunt with what is known
// of it, and returns the strong board, the same bytes from every node. In the short
// form the histories come from one node, the next one at each check.
func (h *realHunt) check(c *cluster) []byte {
	c.t.Helper()
	h.checks++
	var board []byte
	for i := range c.Nodes() {
		h.checkStats(c, i)
		h.checkBoard(c, i)
		if longForm || i == h.checks%c.Nodes() {
			h.checkHistories(c, i)
		}
		status, _, body := c.get(i, h.path("/leaderboard?consistency=strong&page_size=1000"))
		if status != 200 || board != nil && !bytes.Equal(body, board) {
			c.t.Errorf("%s answers %d with a board of other bytes:\n%.2000s\nthan the node before:\n%.2000s", c.Name(i), status, body, board)
		}
		board = body
	}
	return board
}

func (h *realHunt) checkStats(c *cluster, node int) {
	c.t.Helper()
	for _, cons := range []client.Consistency{client.Default, client.Strong} {
		s, err := c.at(node, c.AdminToken()).Stats(c.t.Context(), h.id, cons)
		if err != nil {
			c.t.Errorf("stats of %s: %v", c.Name(node), err)
			continue
		}
		counted := 0
		for _, n := range s.Submissions {
			counted += n
		}
		if s.Teams != h.teams || s.Submissions["correct"] != h.correct || s.Submissions["incorrect"] != h.incorrect || counted != h.total() {
			c.t.Errorf("%s counts %d teams and %v, want %d teams, %d correct, %d incorrect and nothing else",
				c.Name(node), s.Teams, s.Submissions, h.teams, h.correct, h.incorrect)
		}
	}
}

// checkBoard reads the board in pages of an odd size and in the largest ones.
func (h *realHunt) checkBoard(c *cluster, node int) {
	c.t.Helper()
	for _, size := range []int{oddPage, 1000} {
		var rows []rest.Row
		page := client.Page{Size: size, Consistency: client.Strong}
		for {
			b, err := c.at(node, "").Leaderboard(c.t.Context(), h.id, "", page)
			if err != nil {
				c.t.Errorf("board of %s: %v", c.Name(node), err)
				return
			}
			rows = append(rows, b.Leaderboard...)
			if page.Token = b.NextPageToken; page.Token == "" {
				break
			}
		}
		if d := diffBoard(rows, h.board); d != "" {
			c.t.Errorf("the board of %s in pages of %d: %s", c.Name(node), size, d)
		}
	}
}

// checkHistories reads every team's history: each line once, in its place. So many
// readers may be refused for a moment, as by any node that has much to do: they ask
// it again.
func (h *realHunt) checkHistories(c *cluster, node int) {
	c.t.Helper()
	cl := c.at(node, c.AdminToken())
	cl.Attempts = client.DefaultAttempts
	var all errgroup.Group
	all.SetLimit(readers)
	for team, lines := range h.lines {
		all.Go(func() error { return checkHistory(c.t.Context(), cl, h.id, team, lines) })
	}
	if err := all.Wait(); err != nil {
		c.t.Errorf("%s: %v", c.Name(node), err)
	}
}

// checkHistory compares a team's history with what it sent, in that order.
func checkHistory(ctx context.Context, cl *client.Client, hunt fsm.HuntID, team fsm.TeamID, sent []rest.BatchLine) error {
	got, err := history(ctx, cl, hunt, team, client.Default)
	if err != nil {
		return err
	}
	if len(got) != len(sent) {
		return fmt.Errorf("team %s has %d submissions, want %d", team, len(got), len(sent))
	}
	for i, want := range sent {
		s := got[len(got)-1-i]
		if s.Submission != fmt.Sprint(i+1) || s.Key != want.Key || s.Clue != want.Clue || s.Answer != want.Answer || want.At != nil && s.At != *want.At {
			return fmt.Errorf("submission %d of team %s is %s, want %s", i+1, team, show(s), show(want))
		}
	}
	return nil
}

// history reads all pages of a team's history, newest first.
func history(ctx context.Context, cl *client.Client, hunt fsm.HuntID, team fsm.TeamID, cons client.Consistency) ([]rest.Submission, error) {
	var all []rest.Submission
	page := client.Page{Size: 1000, Consistency: cons}
	for {
		p, err := cl.Submissions(ctx, hunt, team, page)
		if err != nil {
			return nil, fmt.Errorf("history of team %s: %w", team, err)
		}
		all = append(all, p.Submissions...)
		if page.Token = p.NextPageToken; page.Token == "" {
			return all, nil
		}
	}
}
