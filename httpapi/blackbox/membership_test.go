package blackbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// TestMembership grows a cluster from one node to five while teams play, restarts
// every node in turn, loses one for good, and shrinks it to three: no submission
// fails, none is lost, none counts twice, and after each step replicas and leaders
// are spread.
func TestMembership(t *testing.T) {
	besideAnother(t)
	c := start(t, 1, "--reassign-after", form("3s", "5s"))
	doc := quiz("members", 1)
	teams, tokens := c.open(doc, 64)
	p := &crowd{c: c, books: newBooks(doc.id()), tokens: tokens, hunt: doc.id()}
	stop := p.play(teams)
	defer stop()

	for _, n := range form([]int{4}, []int{2, 2}) {
		c.addNodes(n)
		c.spread(fmt.Sprintf("%d nodes", c.Nodes()))
	}
	c.restartAll()
	c.spread("a rolling restart")
	c.leave(4)
	c.spread("one has left", 4)
	p.lap("all of this")
	c.Kill(3)
	c.spread("one has died", 3, 4)
	p.lap("until the dead one's replicas were replaced")

	stop()
	if n := p.failed.Load(); n > 0 {
		t.Errorf("%d of %d submissions failed, the first: %s", n, p.done.Load(), *p.first.Load())
	}
	t.Logf("%d submissions were acknowledged", p.done.Load())
	p.books.audit(t, c.admin(), client.Default)
}

// crowd submits without end.
type crowd struct {
	c            *cluster
	books        *books
	hunt         fsm.HuntID
	tokens       map[fsm.TeamID]string
	done, failed atomic.Int64
	first        atomic.Pointer[string]

	mu   sync.Mutex
	took []time.Duration // of what was acknowledged since the last lap
}

// lap tells how long submissions took since the last one.
func (p *crowd) lap(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.c.t.Logf("%s: until an answer, with retries: %s", what, spread(p.took))
	p.took = nil
}

// play begins, and returns what ends it.
func (p *crowd) play(teams []fsm.TeamID) (stop func()) {
	workers := form(4, 8)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				p.one(teams[(w+n*workers)%len(teams)], fmt.Sprintf("%d-%d", w, n))
				wait(ctx, 20*time.Millisecond)
			}
		})
	}
	return sync.OnceFunc(func() {
		cancel()
		all.Wait()
	})
}

// one submits once, as a user's client does: it tries again with the same key, on
// other nodes, and not for ever.
func (p *crowd) one(team fsm.TeamID, key string) {
	ctx, cancel := context.WithTimeout(context.Background(), electWithin)
	defer cancel()
	began := time.Now()
	var urls []string
	for _, url := range p.c.URLs() {
		if url != "" {
			urls = append(urls, url)
		}
	}
	cl := &client.Client{Addrs: urls, Token: p.tokens[team], HTTP: p.c.http}
	err := p.books.submit(ctx, cl, team, rest.NewSubmission{Clue: "c1", Answer: "wrong " + key}, key)
	if err == nil {
		p.done.Add(1)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.took = append(p.took, time.Since(began))
		return
	}
	text := fmt.Sprintf("%s %s at %v: %v", team, key, time.Now(), err)
	p.first.CompareAndSwap(nil, &text)
	p.failed.Add(1)
}

// addNodes joins nodes, all at once.
func (c *cluster) addNodes(n int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), startWithin)
	defer cancel()
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { _, errs[i] = c.Add(ctx) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		c.t.Fatal(err)
	}
}

// restartAll restarts the nodes in turn, as an operator does who waits for each.
func (c *cluster) restartAll() {
	c.t.Helper()
	for i := range c.Nodes() {
		c.Terminate(i)
		c.revive(i)
		eventually(c.t, settleWithin, c.Name(i)+" is ready", func() error {
			checks, err := c.at(i, "").Ready(c.t.Context())
			if err != nil {
				return fmt.Errorf("%w: %s", err, checks)
			}
			return nil
		})
	}
}

// leave has a node leave, and waits until its process has ended with 0.
func (c *cluster) leave(i int) {
	c.t.Helper()
	out := c.cli("leave", "--node", c.Name(i), "--timeout", settleWithin.String())
	if out.code != 0 || !strings.Contains(out.stderr, "left the cluster") {
		c.t.Fatalf("leave: exit code %d, %s", out.code, out.stderr)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), electWithin)
	defer cancel()
	if err := c.Ended(ctx, i); err != nil {
		c.t.Fatalf("the process of %s: %v", c.Name(i), err)
	}
}

// spread waits until every partition has three caught-up voters, none of them on
// a node that is gone, and no node has more than the average rounded up, plus one,
// of replicas or of leaders.
func (c *cluster) spread(after string, gone ...int) {
	c.t.Helper()
	began := time.Now()
	eventually(c.t, settleWithin, "after "+after+" everything is spread", func() error { return c.spreadOut(gone) })
	c.t.Logf("%s: everything is spread after %v", after, time.Since(began).Round(100*time.Millisecond))
}

func (c *cluster) spreadOut(gone []int) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Second)
	defer cancel()
	nodes, err := c.admin().Nodes(ctx)
	if err != nil {
		return err
	}
	parts, err := c.admin().Partitions(ctx)
	if err != nil {
		return err
	}
	names, bad := map[fsm.NodeID]string{}, map[string]bool{}
	for _, n := range nodes.Nodes {
		names[n.ID] = n.Name
	}
	for _, i := range gone {
		bad[c.Name(i)] = true
	}
	replicas, leads := map[string]int{}, map[string]int{}
	for _, p := range parts.Partitions {
		voters := 0
		for _, r := range p.Replicas {
			name := names[r.Node]
			if bad[name] {
				return fmt.Errorf("partition %d has a replica on %s", p.ID, name)
			}
			replicas[name]++
			if r.Role == "voter" && r.CaughtUp {
				voters++
			}
		}
		if p.State != "ok" || voters != 3 {
			return fmt.Errorf("partition %d is %s and has %d voters", p.ID, p.State, voters)
		}
		leads[names[p.Leader]]++
	}
	n := c.Nodes() - len(gone)
	for name, has := range replicas {
		if limit := (3*len(parts.Partitions)+n-1)/n + 1; has > limit {
			return fmt.Errorf("%s has %d replicas, more than %d", name, has, limit)
		}
		if limit := (len(parts.Partitions)+n-1)/n + 1; leads[name] > limit {
			return fmt.Errorf("%s leads %d partitions, more than %d", name, leads[name], limit)
		}
	}
	return nil
}
