package blackbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

const (
	// shortly is what a request asks for while there is no quorum, and overrun how
	// much later than that its answer may come on a busy machine.
	shortly = 3 * time.Second
	overrun = 3 * time.Second
	// darkness is how long a cluster is left without its quorum: longer than a
	// node trusts its copy of the tokens.
	darkness = 8 * time.Second
	// pauses is how many leaders TestPausedLeader stops, pausesLong how many its
	// long form does.
	pauses, pausesLong = 1, 3
)

// TestQuorum takes two of three nodes away, one by one, and brings them back.
func TestQuorum(t *testing.T) {
	besideAnother(t)
	c := start(t, 3, "--partitions", "4")
	doc := quiz("quorum", 40)
	teams, tokens := c.open(doc, 12)
	b := newBooks(doc.id())
	clue := 0
	everyTeam := func(nodes ...int) {
		t.Helper()
		clue++
		for n, team := range teams {
			cl := c.at(nodes[n%len(nodes)], tokens[team])
			in, key := rest.NewSubmission{Clue: fsm.ClueID(fmt.Sprintf("c%d", clue)), Answer: right}, fmt.Sprintf("k%d", clue)
			eventually(t, electWithin, "an answer to "+string(team), func() error { return b.submit(t.Context(), cl, team, in, key) })
		}
	}
	everyTeam(0, 1, 2)
	c.Terminate(0)
	everyTeam(1, 2)
	b.audit(t, c.any(c.AdminToken()), client.Default)

	board := boardPath(doc.id(), "strong")
	_, _, full := c.get(1, board)
	eventually(t, electWithin, "a stale board that has everything", func() error {
		if _, _, stale := c.get(1, boardPath(doc.id(), "stale")); !bytes.Equal(stale, full) {
			return fmt.Errorf("it is %s", stale)
		}
		return nil
	})
	c.Kill(2)
	inTheDark(t, c, b, teams, tokens, full)

	c.revive(2)
	b.resolve(t, c.at(1, c.AdminToken()))
	everyTeam(1, 2)
	b.audit(t, c.at(1, c.AdminToken()), client.Default)
	b.audit(t, c.at(2, c.AdminToken()), client.Default)
	c.revive(0)
	c.settle()
	for i := range c.Nodes() {
		b.audit(t, c.at(i, c.AdminToken()), client.Default)
	}
}

func boardPath(hunt fsm.HuntID, consistency string) string {
	return "/v1/hunts/" + string(hunt) + "/leaderboard?consistency=" + consistency
}

// inTheDark asks node 1, which is alone, for everything, again and again: nothing
// may be acknowledged and nothing served as current, and every answer comes
// within the request's deadline. What says that it is stale is still served, with
// the board that was.
func inTheDark(t *testing.T, c *cluster, b *books, teams []fsm.TeamID, tokens map[fsm.TeamID]string, board []byte) {
	t.Helper()
	since := time.Now()
	for round := 0; time.Since(since) < darkness; round++ {
		var all sync.WaitGroup
		for _, team := range teams {
			all.Go(func() {
				cl := c.at(1, tokens[team])
				cl.Timeout = shortly
				refused(t, "a submission", func(ctx context.Context) error {
					return b.submit(ctx, cl, team, rest.NewSubmission{Clue: "c40", Answer: right}, fmt.Sprintf("dark%d", round))
				}, fsm.Unavailable, fsm.OutcomeUnknown)
				refused(t, "a team", func(ctx context.Context) error {
					_, err := cl.Team(ctx, b.hunt, team, false, client.Default)
					return err
				}, fsm.Unavailable)
			})
		}
		all.Go(func() { boardsInTheDark(t, c, b.hunt) })
		all.Wait()
		staleBoard(t, c, b.hunt, board, time.Since(since))
	}
}

// boardsInTheDark asks for what spans all partitions.
func boardsInTheDark(t *testing.T, c *cluster, hunt fsm.HuntID) {
	public, admin := c.at(1, ""), c.at(1, c.AdminToken())
	public.Timeout, admin.Timeout = shortly, shortly
	refused(t, "a strong board", func(ctx context.Context) error {
		_, err := public.Leaderboard(ctx, hunt, "", client.Page{Consistency: client.Strong})
		return err
	}, fsm.Unavailable)
	refused(t, "counts", func(ctx context.Context) error {
		_, err := admin.Stats(ctx, hunt, client.Default)
		return err
	}, fsm.Unavailable)
	refused(t, "a change of state", func(ctx context.Context) error {
		_, err := admin.SetHuntState(ctx, hunt, rest.HuntState{State: "open"})
		return err
	}, fsm.Unavailable, fsm.OutcomeUnknown)
}

// refused runs one request that must fail in one of the ways, and in time.
func refused(t *testing.T, what string, request func(context.Context) error, kinds ...fsm.Kind) {
	t.Helper()
	begin := time.Now()
	wantKind(t, what+" without a quorum", request(t.Context()), kinds...)
	if took := time.Since(begin); took > shortly+overrun {
		t.Errorf("%s without a quorum was answered after %v, want %v", what, took, shortly)
	}
}

// staleBoard reads the board of who does not mind its age.
func staleBoard(t *testing.T, c *cluster, hunt fsm.HuntID, want []byte, alone time.Duration) {
	t.Helper()
	begin := time.Now()
	status, h, body := c.send(1, http.MethodGet, boardPath(hunt, "stale"), "", nil, "Cairn-Timeout", shortly.String())
	if status != http.StatusOK || !bytes.Equal(body, want) {
		t.Errorf("a stale board without a quorum: %d %s, want %s", status, body, want)
		return
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("a stale board took %v", took)
	}
	if age, err := time.ParseDuration(h.Get("Cairn-Staleness")); err != nil || age <= 0 {
		t.Errorf("Cairn-Staleness: %q", h.Get("Cairn-Staleness"))
	} else if alone > 4*time.Second && age < alone-time.Second { // until its lease ends, a leader may not know
		t.Errorf("alone for %v, the node calls its board at most %v old", alone, age)
	}
}

// TestPausedLeader stops a leader where it stands, lets the others go on without
// it, and wakes it up: it must not answer from the past.
func TestPausedLeader(t *testing.T) {
	besideAnother(t)
	c := start(t, 3, "--partitions", "1")
	doc := quiz("pause", 10)
	teams, tokens := c.open(doc, 1)
	team, b := teams[0], newBooks(doc.id())
	for round := range form(pauses, pausesLong) {
		leader := -1
		eventually(t, electWithin, "a leader", func() error {
			if leader = c.leader(doc.id(), team); leader < 0 {
				return errors.New("there is none")
			}
			return nil
		})
		c.pause(leader)
		in, key := rest.NewSubmission{Clue: fsm.ClueID(fmt.Sprintf("c%d", round+1)), Answer: right}, fmt.Sprintf("k%d", round)
		other := c.at((leader+1)%3, tokens[team])
		eventually(t, electWithin, "a submission past a paused leader", func() error { return b.submit(t.Context(), other, team, in, key) })

		paused := c.at(leader, tokens[team])
		solves := func() error {
			got, err := paused.Team(t.Context(), doc.id(), team, false, client.Default)
			if err == nil && int(got.Solves) != round+1 {
				t.Errorf("%s answers %d solves, want %d", c.Name(leader), got.Solves, round+1)
			}
			return err
		}
		var asked sync.WaitGroup
		asked.Go(func() { solves() }) // it waits in the socket; only a wrong answer is one
		c.resume(leader)
		asked.Wait()
		eventually(t, electWithin, "an answer from the node that was paused", solves)
		c.settle()
	}
	for i := range c.Nodes() {
		b.audit(t, c.at(i, c.AdminToken()), client.Default)
	}
}
