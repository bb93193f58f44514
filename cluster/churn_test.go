package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
)

// Churn: a cluster in which nodes crash and come back, are cut off, join, leave
// and are drained, at random, while teams play. Safety throughout; and once
// everybody is left alone, everything is whole again and nothing is forgotten.

// churnSize is how large and how long a churn is. The long form is CAIRN_LONG=1.
type churnSize struct {
	nodes, most, partitions, teams int
	span                           time.Duration // of virtual time
}

func TestChurn(t *testing.T) {
	size := churnSize{nodes: 5, most: 8, partitions: 8, teams: 8, span: 10 * time.Minute}
	if os.Getenv("CAIRN_LONG") == "1" {
		size = churnSize{nodes: 45, most: 50, partitions: 32, teams: 32, span: 2 * time.Hour}
	}
	seed := rand.Uint64()
	if s := os.Getenv("CAIRN_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CAIRN_SEED=%d", seed)
	synctest.Test(t, func(t *testing.T) {
		c := newChurn(newSimOf(t, size.nodes, size.partitions), rand.New(rand.NewPCG(seed, 0)))
		c.size = size
		defer c.close()
		c.run()
	})
}

type churn struct {
	*sim
	size churnSize
	rng  *rand.Rand
	hunt HuntRef
	look time.Duration // between two looks of observe

	mu      sync.Mutex // of nodes' fields, which players and observers read
	acked   map[fsm.TeamID][]string
	doubt   map[fsm.TeamID]map[string]bool
	leaders map[string]fsm.NodeID // "group/term"
	epochs  map[*Node][]uint64
	tables  map[*Node]uint64
	did     map[string]int
}

func newChurn(s *sim, rng *rand.Rand) *churn {
	return &churn{
		sim: s, rng: rng, look: 200 * time.Millisecond, did: map[string]int{},
		acked: map[fsm.TeamID][]string{}, doubt: map[fsm.TeamID]map[string]bool{},
		leaders: map[string]fsm.NodeID{}, epochs: map[*Node][]uint64{}, tables: map[*Node]uint64{},
	}
}

func (c *churn) run() {
	c.hunt = c.create(c.size.teams)
	ctx, cancel := context.WithCancel(c.t.Context())
	var all sync.WaitGroup
	stop := sync.OnceFunc(func() {
		cancel()
		all.Wait()
	})
	defer stop()
	for i := range c.size.teams {
		seed := c.rng.Uint64()
		all.Go(func() { c.player(ctx, team(i), seed) })
	}
	all.Go(func() { c.observe(ctx) })
	for end := time.Now().Add(c.size.span); time.Now().Before(end) && !c.t.Failed(); {
		c.hurt()
		time.Sleep(time.Duration(1+c.rng.IntN(20)) * time.Second)
	}
	c.heal()
	stop()
	c.audit()
	total := 0
	for _, keys := range c.acked {
		total += len(keys)
	}
	c.t.Logf("%v of virtual time, %v, %d submissions acknowledged, %d nodes at the end", c.size.span, c.did, total, len(c.running()))
	if total < int(c.size.span/time.Second) {
		c.t.Errorf("only %d submissions were acknowledged: the test tests little", total)
	}
}

// running are the numbers of the nodes that run.
func (c *churn) running() (up []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, sn := range c.nodes {
		if sn.node != nil {
			up = append(up, i)
		}
	}
	return up
}

func (c *churn) nodeAt(i int) *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i].node
}

// hurt does one thing to one node.
func (c *churn) hurt() {
	up := c.running()
	down := []int{}
	for i, sn := range c.nodes {
		if sn.node == nil && !sn.left.Load() {
			down = append(down, i)
		}
	}
	switch kind := c.rng.IntN(12); {
	case kind < 3 && len(up) > 2 && len(down) < 2:
		c.note("crash")
		c.end(up[c.rng.IntN(len(up))], false)
	case kind < 6 && len(down) > 0:
		c.note("restart")
		c.begin(down[c.rng.IntN(len(down))])
	case kind == 6:
		c.note("cut off")
		name := c.nodes[up[c.rng.IntN(len(up))]].name
		c.net.isolate(name, true)
		time.Sleep(time.Duration(1+c.rng.IntN(40)) * time.Second)
		c.net.isolate(name, false)
	case kind == 10:
		c.note("silence")
		name := c.nodes[up[c.rng.IntN(len(up))]].name
		c.net.silence(name, true)
		time.Sleep(time.Duration(1+c.rng.IntN(20)) * time.Second)
		c.net.silence(name, false)
	case kind == 11:
		c.note("slow")
		name := c.nodes[up[c.rng.IntN(len(up))]].name
		c.net.slow(name, time.Duration(1+c.rng.IntN(500))*time.Millisecond)
		time.Sleep(time.Duration(1+c.rng.IntN(40)) * time.Second)
		c.net.slow(name, 0)
	case kind == 7 && len(up)+len(down) < c.size.most && c.nodes[0].node != nil:
		c.note("join")
		c.mu.Lock()
		i := len(c.nodes)
		c.nodes = append(c.nodes, &simNode{name: fmt.Sprintf("n%d", i), data: filepath.Join(c.t.TempDir(), "data")})
		c.mu.Unlock()
		c.begin(i)
	case kind == 8 && len(up) > c.size.nodes:
		c.depart(up)
	case kind == 9:
		c.note("drain")
		n := c.nodeAt(up[c.rng.IntN(len(up))])
		ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
		_ = n.Drain(ctx, n.ID(), true) // the controller may be without a leader
		time.Sleep(time.Duration(c.rng.IntN(20)) * time.Second)
		_ = n.Drain(ctx, n.ID(), false)
		cancel()
	}
	c.farewell()
}

func (c *churn) note(what string) { c.did[what]++ }

// depart asks a node that is not the founder (others join through it) to leave.
func (c *churn) depart(up []int) {
	i := up[1+c.rng.IntN(len(up)-1)]
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	if n := c.nodeAt(i); n.Leave(ctx, n.ID()) == nil {
		c.note("leave")
	}
}

// farewell ends the processes of nodes that have left.
func (c *churn) farewell() {
	for _, i := range c.running() {
		if c.nodes[i].left.Load() {
			c.note("left")
			c.end(i, true)
		}
	}
}

func (c *churn) end(i int, cleanly bool) {
	c.mu.Lock()
	sn := c.nodes[i]
	n := sn.node
	sn.node = nil
	c.mu.Unlock()
	if cleanly {
		n.Close()
	} else {
		n.stop()
	}
	if err := sn.dir.Close(); err != nil {
		c.t.Error(err)
	}
	sn.dir = nil
}

// begin starts a node. It may not find the cluster in time: then it stays down.
func (c *churn) begin(i int) {
	n, dir, err := c.open(i, c.nodes[i])
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i].node, c.nodes[i].dir = n, dir
}

// player submits wrong answers, one after the other, through any node.
func (c *churn) player(ctx context.Context, team fsm.TeamID, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("k%d", n)
		up := c.running()
		if len(up) == 0 {
			time.Sleep(time.Second)
			continue
		}
		node := c.nodeAt(up[rng.IntN(len(up))])
		if node == nil {
			continue
		}
		call, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
		_, err := node.Submit(call, Submission{Hunt: c.hunt, Team: team, Clue: "free", Answer: key, Key: key})
		cancel()
		c.mu.Lock()
		switch {
		case err == nil:
			c.acked[team] = append(c.acked[team], key)
		case fsm.KindOf(err) != fsm.Unavailable && fsm.KindOf(err) != fsm.Overloaded:
			if c.doubt[team] == nil {
				c.doubt[team] = map[string]bool{}
			}
			c.doubt[team][key] = true
		}
		c.mu.Unlock()
		time.Sleep(time.Duration(500+rng.IntN(3000)) * time.Millisecond)
	}
}
