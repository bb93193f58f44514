package blackbox

import (
	"slices"
	"testing"
	"time"

	"cairn/httpapi/client"
)

// TestGrowth grows a cluster from one node to fifteen and shrinks it to three
// while teams play: no submission fails, none is lost, none counts twice, and
// after each step replicas and leaders are spread.
func TestGrowth(t *testing.T) {
	if !longForm {
		t.Skip("takes minutes: CAIRN_LONG=1 (make sim) runs it; TestMembership is the short form")
	}
	c := start(t, 1)
	doc := quiz("growth", 1)
	teams, tokens := c.open(doc, 64)
	p := &crowd{c: c, books: newBooks(doc.id()), tokens: tokens, hunt: doc.id()}
	stop := p.play(teams)
	defer stop()

	c.addNodes(2)
	c.spread("three nodes")
	p.lap("up to three nodes")
	c.addNodes(6)
	c.spread("nine nodes")
	p.lap("up to nine nodes")
	c.addNodes(6)
	c.spread("fifteen nodes")
	p.lap("up to fifteen nodes")
	var gone []int
	for i := 14; i >= 3; i-- {
		c.leave(i)
		gone = append(gone, i)
		c.spread("without "+c.Name(i), gone...)
	}
	p.lap("down to three")

	stop()
	if n := p.failed.Load(); n > 0 {
		t.Errorf("%d of %d submissions failed, the first: %v", n, p.done.Load(), *p.first.Load())
	}
	t.Logf("%d submissions were acknowledged", p.done.Load())
	p.books.audit(t, c.admin(), client.Default)
}

// TestThirtyAtOnce joins thirty nodes at the same moment.
func TestThirtyAtOnce(t *testing.T) {
	if !longForm {
		t.Skip("wants 31 processes: CAIRN_LONG=1 (make sim) runs it")
	}
	c := start(t, 1)
	began := time.Now()
	c.addNodes(30)
	t.Logf("thirty nodes joined within %v", time.Since(began).Round(100*time.Millisecond))
	c.spread("thirty at once")
	nodes, err := c.admin().Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range nodes.Nodes {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	if n := len(slices.Compact(names)); n != 31 {
		t.Errorf("%d members: %v", n, names)
	}
}
