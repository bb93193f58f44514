package blackbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

const (
	// slowdown is what groups with a quorum may be slowed down by others that
	// lost theirs: the most that the p99 may be of what it was.
	slowdown = 1.3
	// measureFor is how long a p99 is measured. The median of its ratios counts: it
	// must be good after some round, of at most maxRounds, but not before minRounds
	// or, in the long form, minRoundsLong.
	measureFor               = 2 * time.Second
	minRounds, minRoundsLong = 1, 3
	maxRounds                = 9
	askers, lostAskers       = 8, 4
)

// TestLostGroupsSlowNobody pauses two of five nodes, so that some partitions
// keep their quorum and some lose it, and goes on asking all of them. A paused
// node is worse than a dead one: whoever asks it waits.
func TestLostGroupsSlowNobody(t *testing.T) {
	c := start(t, 5, "--reassign-after", "1h")
	doc := quiz("lost", 1)
	teams, tokens := c.open(doc, 160)
	w := &lostGroups{c: c, hunt: doc.id(), teams: teams, tokens: tokens}
	w.choose()
	var ratios []float64
	for len(ratios) < maxRounds {
		ratios = append(ratios, w.round(len(ratios)))
		if m := median(ratios); len(ratios) >= form(minRounds, minRoundsLong) && m <= slowdown {
			return
		}
		if t.Failed() {
			return
		}
	}
	if raceEnabled {
		t.Skipf("p99 ratios %.2f: not judged under the race detector", ratios)
	}
	t.Errorf("with groups that lost their quorum beside them the others' p99 is %.2f times what it was (median of %.2f), want at most %v", median(ratios), ratios, slowdown)
}

type lostGroups struct {
	c          *cluster
	hunt       fsm.HuntID
	teams      []fsm.TeamID
	tokens     map[fsm.TeamID]string
	paused     []int
	alive      []int
	kept, lost []fsm.TeamID // of partitions with and without a quorum while two nodes are paused
}

// choose picks the two nodes whose pause leaves the most teams on the smaller
// side.
func (w *lostGroups) choose() {
	w.c.t.Helper()
	w.alive = nil
	voters := w.voters()
	best := -1
	for a := range w.c.Nodes() {
		for b := range a {
			var kept, lost []fsm.TeamID
			for _, team := range w.teams {
				if v := voters(team); slices.Contains(v, a) && slices.Contains(v, b) {
					lost = append(lost, team)
				} else {
					kept = append(kept, team)
				}
			}
			if n := min(len(kept), len(lost)); n > best {
				best, w.kept, w.lost, w.paused = n, kept, lost, []int{a, b}
			}
		}
	}
	if best <= 0 {
		w.c.t.Fatal("no two nodes share a partition, or all do")
	}
	for i := range w.c.Nodes() {
		if !slices.Contains(w.paused, i) {
			w.alive = append(w.alive, i)
		}
	}
}

// voters returns a function from a team to the nodes of its partition's voters.
func (w *lostGroups) voters() func(fsm.TeamID) []int {
	t, cl := w.c.t, w.c.admin()
	t.Helper()
	nodes, err := cl.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	parts, err := cl.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	index := map[fsm.NodeID]int{}
	for _, n := range nodes.Nodes {
		index[n.ID] = slices.IndexFunc(w.c.URLs(), func(url string) bool { return strings.HasSuffix(url, n.HTTP) })
	}
	return func(team fsm.TeamID) (out []int) {
		slot := fsm.SlotOf(w.hunt, team)
		for _, p := range parts.Partitions {
			if p.Slots[0] <= slot && slot <= p.Slots[1] {
				for _, r := range p.Replicas {
					out = append(out, index[r.Node])
				}
			}
		}
		return out
	}
}

// round measures with everybody there, then without the two, and then without the
// two while somebody goes on asking what they had. It returns the last p99 as a
// multiple of the smaller of the others: pausing processes leaves more of the
// machine to the rest, so being no slower than before proves little.
func (w *lostGroups) round(n int) float64 {
	t := w.c.t
	t.Helper()
	before := w.measure(fmt.Sprintf("b%d", n), true)
	w.c.settle() // the load has moved replicas, perhaps
	w.choose()
	t.Logf("pausing %s and %s leaves %d teams without a quorum, and %d with one", w.c.Name(w.paused[0]), w.c.Name(w.paused[1]), len(w.lost), len(w.kept))
	for _, i := range w.paused {
		w.c.pause(i)
	}
	w.answers(w.kept, fmt.Sprintf("e%d", n))
	quiet := w.measure(fmt.Sprintf("q%d", n), false)
	asked := w.measure(fmt.Sprintf("a%d", n), true)
	for _, i := range w.paused {
		w.c.resume(i)
	}
	w.c.settle()
	w.answers(append(slices.Clone(w.kept), w.lost...), fmt.Sprintf("r%d", n))
	ratio := float64(asked) / float64(min(before, quiet))
	t.Logf("p99 %v with all nodes, %v without two, %v while what they had is asked for: %.2f", before, quiet, asked, ratio)
	return ratio
}

// answers waits until every team's partition answers again.
func (w *lostGroups) answers(teams []fsm.TeamID, key string) {
	w.c.t.Helper()
	for _, team := range teams {
		cl := w.c.at(w.alive[0], w.tokens[team])
		cl.Timeout = shortly
		eventually(w.c.t, electWithin, "an answer to "+string(team), func() error {
			_, err := cl.Submit(w.c.t.Context(), w.hunt, team, rest.NewSubmission{Clue: "c1", Answer: key}, key)
			return err
		})
	}
}

// measure asks the partitions that keep their quorum, as fast as they answer, and
// returns the p99; all others are asked at the same time, or are not.
func (w *lostGroups) measure(name string, others bool) time.Duration {
	t := w.c.t
	ctx, cancel := context.WithTimeout(t.Context(), measureFor)
	defer cancel()
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	for a := range askers {
		all.Go(func() {
			w.ask(ctx, a, w.kept, name, func(d time.Duration, err error) {
				if ctx.Err() != nil {
					return // cut short by the end of the measurement
				}
				mu.Lock()
				defer mu.Unlock()
				if took = append(took, d); err != nil {
					t.Errorf("a group that has its quorum answers: %v", err)
				}
			})
		})
	}
	for a := range lostAskers {
		if !others {
			break
		}
		all.Go(func() { w.ask(ctx, a, w.lost, name, func(time.Duration, error) {}) })
	}
	all.Wait()
	slices.Sort(took)
	if len(took) < 100 {
		t.Fatalf("only %d answers in %v", len(took), measureFor)
	}
	return took[len(took)*99/100]
}

// ask is one client that submits for one team after the other, through the nodes
// that stay, until ctx ends.
func (w *lostGroups) ask(ctx context.Context, asker int, teams []fsm.TeamID, name string, told func(time.Duration, error)) {
	node := w.alive[asker%len(w.alive)]
	for n := asker; ctx.Err() == nil; n += askers {
		team := teams[n%len(teams)]
		cl := client.Client{Addrs: w.c.URLs()[node : node+1], Token: w.tokens[team], HTTP: w.c.http, Attempts: 1, Timeout: shortly}
		key := fmt.Sprintf("%s-%d-%d", name, asker, n)
		begin := time.Now()
		_, err := cl.Submit(ctx, w.hunt, team, rest.NewSubmission{Clue: "c1", Answer: key}, key)
		told(time.Since(begin), err)
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
