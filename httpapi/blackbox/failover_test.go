package blackbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// failovers is how many kills TestFailover does, failoversLong what its long form
// does.
const failovers, failoversLong = 1, 20

// TestFailover kills the node that leads the most partitions, again and again,
// under load. It prints how long each of its partitions took until it accepted
// again, those of the controller's leader apart; and nothing that was
// acknowledged may be lost. In the end all replicas have the same state.
func TestFailover(t *testing.T) {
	besideAnother(t)
	c := start(t, 3)
	doc := quiz("failover", 1)
	teams, tokens := c.open(doc, 128)
	f := &failover{c: c, hunt: doc.id(), tokens: tokens, books: newBooks(doc.id())}
	f.choose(teams)
	var others, controllers []time.Duration
	for range form(failovers, failoversLong) {
		took, led := f.round()
		if led {
			controllers = append(controllers, took...)
		} else {
			others = append(others, took...)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("until a partition accepts again: %s", spread(others))
	t.Logf("when the node also led the controller: %s", spread(controllers))
	f.books.audit(t, c.admin(), client.Default)
	c.settle()
	if r := c.cli("operator", "checkpoint"); r.code != 0 || !strings.Contains(r.stderr, "all replicas agree") {
		t.Errorf("after the kills the replicas' states are compared: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// spread tells what a list of times looks like.
func spread(d []time.Duration) string {
	if len(d) == 0 {
		return "none"
	}
	slices.Sort(d)
	ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	return fmt.Sprintf("%d times, p50 %v, p99 %v, max %v", len(d), ms(d[len(d)/2]), ms(d[(len(d)-1)*99/100]), ms(d[len(d)-1]))
}

// failover plays one team of each partition.
type failover struct {
	c      *cluster
	hunt   fsm.HuntID
	tokens map[fsm.TeamID]string
	teams  []fsm.TeamID // one of each partition
	books  *books
	round0 int
}

func (f *failover) choose(teams []fsm.TeamID) {
	f.c.t.Helper()
	routing, err := f.c.admin().Routing(f.c.t.Context())
	if err != nil {
		f.c.t.Fatal(err)
	}
	for _, p := range routing.Partitions {
		i := slices.IndexFunc(teams, func(team fsm.TeamID) bool {
			slot := fsm.SlotOf(f.hunt, team)
			return p.Slots[0] <= slot && slot <= p.Slots[1]
		})
		if i < 0 {
			f.c.t.Fatalf("no team is of partition %d: take more teams", p.ID)
		}
		f.teams = append(f.teams, teams[i])
	}
}

// led returns the partitions by the node that leads them, and who leads the
// controller.
func (f *failover) led() (by [][]int, controller int) {
	f.c.t.Helper()
	cl, ctx := f.c.admin(), f.c.t.Context()
	nodes, err := cl.Nodes(ctx)
	if err != nil {
		f.c.t.Fatal(err)
	}
	parts, err := cl.Partitions(ctx)
	if err != nil {
		f.c.t.Fatal(err)
	}
	by = make([][]int, f.c.Nodes())
	for _, n := range nodes.Nodes {
		i := slices.IndexFunc(f.c.URLs(), func(url string) bool { return strings.HasSuffix(url, n.HTTP) })
		if n.Controller == "leader" {
			controller = i
		}
		for k, p := range parts.Partitions {
			if p.Leader == n.ID {
				by[i] = append(by[i], k)
			}
		}
	}
	return by, controller
}

// spread waits until leaderships are spread, and returns what led does. It does not
// wait for long: nodes that crash time after time are trusted less and less.
func (f *failover) spread() (by [][]int, controller int) {
	f.c.t.Helper()
	for end := time.Now().Add(electWithin); ; {
		by, controller = f.led()
		least := len(f.teams)
		for i := range by {
			least = min(least, len(by[i]))
		}
		if least >= len(f.teams)/len(by) || time.Now().After(end) {
			return by, controller
		}
		wait(f.c.t.Context(), pollEvery)
	}
}

// round kills the node that leads the most, waits until every partition has
// accepted again, and brings it back.
func (f *failover) round() (took []time.Duration, controller bool) {
	f.c.t.Helper()
	by, controllerAt := f.spread()
	victim := 0
	for i := range by {
		if len(by[i]) > len(by[victim]) || len(by[i]) == len(by[victim]) && i != controllerAt && rand.N(2) == 0 {
			victim = i
		}
	}
	var urls []string
	for i, url := range f.c.URLs() {
		if i != victim {
			urls = append(urls, url)
		}
	}
	f.round0++
	ctx, cancel := context.WithTimeout(f.c.t.Context(), settleWithin)
	defer cancel()
	back := make([]chan time.Time, len(f.teams))
	var playing sync.WaitGroup
	stop := make(chan struct{})
	at := make(chan time.Time, 1)
	for i, team := range f.teams {
		back[i] = make(chan time.Time, 1)
		playing.Go(func() { f.play(ctx, team, urls, at, back[i], stop) })
	}
	wait(ctx, time.Second)
	now := time.Now()
	f.c.Kill(victim)
	at <- now // only what is sent from here on counts
	for _, p := range by[victim] {
		select {
		case t := <-back[p]:
			took = append(took, t.Sub(now))
		case <-ctx.Done():
			f.c.t.Errorf("partition %d did not accept again within %v", p, settleWithin)
		}
	}
	close(stop)
	playing.Wait()
	f.c.t.Logf("%s led %d partitions, and the controller: %v; they accept again after %s", f.c.Name(victim), len(by[victim]), victim == controllerAt, spread(took))
	f.c.revive(victim)
	f.c.settle()
	return took, victim == controllerAt
}

// play submits for a team without a pause, through nodes that live, and says when
// the first submission was accepted after the kill.
func (f *failover) play(ctx context.Context, team fsm.TeamID, urls []string, at chan time.Time, back chan<- time.Time, stop <-chan struct{}) {
	cl := &client.Client{Addrs: urls, Token: f.tokens[team], HTTP: f.c.http}
	var kill time.Time
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case kill = <-at:
			at <- kill // for the others
		default:
		}
		in := rest.NewSubmission{Clue: "c1", Answer: fmt.Sprintf("wrong %d %d", f.round0, n)}
		err := f.books.submit(ctx, cl, team, in, fmt.Sprintf("k-%d-%d", f.round0, n))
		if err == nil && !kill.IsZero() {
			select {
			case back <- time.Now():
			default:
			}
		}
		wait(ctx, 10*time.Millisecond)
	}
}
