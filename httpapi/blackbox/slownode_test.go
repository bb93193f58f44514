package blackbox

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestSlowNode stops and continues a node half of the time: it answers every
// heartbeat check and serves nobody well. It must lose its leaderships, and get
// them back once it has been well for a while. Its times are printed.
func TestSlowNode(t *testing.T) {
	if !longForm {
		t.Skip("takes a minute: CAIRN_LONG=1 (make sim) runs it")
	}
	c := start(t, 3)
	victim := c.controller(false)
	eventually(t, settleWithin, "it leads something", func() error { return c.slowAndLeads(victim, false, true) })
	began := time.Now()
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		for ctx.Err() == nil {
			c.pause(victim)
			wait(ctx, 600*time.Millisecond)
			c.resume(victim)
			wait(ctx, 600*time.Millisecond)
		}
	})
	eventually(t, settleWithin, "it is slow and leads nothing", func() error { return c.slowAndLeads(victim, true, false) })
	t.Logf("stopped half of the time, it leads nothing after %v", time.Since(began).Round(100*time.Millisecond))
	stop()
	all.Wait()
	c.resume(victim)
	well := time.Now()
	eventually(t, settleWithin, "it is well and leads again", func() error { return c.slowAndLeads(victim, false, true) })
	t.Logf("it leads again %v after it was well", time.Since(well).Round(100*time.Millisecond))
}

// controller is a node that leads the controller, or one that does not.
func (c *cluster) controller(leads bool) int {
	c.t.Helper()
	nodes, err := c.admin().Nodes(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range c.Nodes() {
		for _, n := range nodes.Nodes {
			if n.Name == c.Name(i) && (n.Controller == "leader") == leads {
				return i
			}
		}
	}
	c.t.Fatalf("no node leads the controller, or all do: %s", show(nodes.Nodes))
	return -1
}

// slowAndLeads says what is otherwise: whether a node is slow, and leads.
func (c *cluster) slowAndLeads(i int, slow, leads bool) error {
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
	for _, n := range nodes.Nodes {
		if n.Name != c.Name(i) {
			continue
		}
		led := 0
		for _, p := range parts.Partitions {
			if p.Leader == n.ID {
				led++
			}
		}
		if n.Slow != slow || led > 0 != leads {
			return fmt.Errorf("%s: slow %v, leads %d partitions", n.Name, n.Slow, led)
		}
	}
	return nil
}
