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
	"cairn/fsm/controller"
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
		size = churnSize{nodes: 30, most: 50, partitions: 32, teams: 32, span: 2 * time.Hour}
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
		c := &churn{sim: newSimOf(t, size.nodes, size.partitions), size: size, rng: rand.New(rand.NewPCG(seed, 0))}
		defer c.close()
		c.run()
	})
}

type churn struct {
	*sim
	size churnSize
	rng  *rand.Rand
	hunt HuntRef

	mu      sync.Mutex // of nodes' fields, which players and observers read
	acked   map[fsm.TeamID][]string
	doubt   map[fsm.TeamID]map[string]bool
	leaders map[string]fsm.NodeID // "group/term"
	epochs  map[*Node][]uint64
	tables  map[*Node]uint64
	did     map[string]int
}

func (c *churn) run() {
	c.acked, c.doubt = map[fsm.TeamID][]string{}, map[fsm.TeamID]map[string]bool{}
	c.leaders, c.epochs, c.tables = map[string]fsm.NodeID{}, map[*Node][]uint64{}, map[*Node]uint64{}
	c.did = map[string]int{}
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
	switch kind := c.rng.IntN(10); {
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

// observe checks at every moment what must never be otherwise.
func (c *churn) observe(ctx context.Context) {
	for ctx.Err() == nil {
		for _, i := range c.running() {
			if n := c.nodeAt(i); n != nil && n.control != nil {
				c.inspect(n)
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (c *churn) inspect(n *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// One leader in a term. The state is read between two looks at the term.
	term := n.control.group.Term()
	if n.control.group.Leads() && n.control.group.Term() == term {
		c.leads("controller", term, n.ID())
	}
	for _, r := range n.replicas.all() {
		term := r.group.Term()
		if r.group.Leads() && r.group.Term() == term {
			c.leads(r.group.Name(), term, n.ID())
		}
	}
	// The table only moves on. A node that restarts begins with what its log and
	// snapshot have, so what is compared is of one life.
	st := n.control.state()
	if v := st.TableVersion(); v < c.tables[n] {
		c.t.Errorf("%s: the table went from version %d back to %d", n.conf.Name, c.tables[n], v)
	}
	c.tables[n] = st.TableVersion()
	old := c.epochs[n]
	var now []uint64
	for i, row := range st.Partitions() {
		if i < len(old) && row.Epoch < old[i] {
			c.t.Errorf("%s: partition %d went from epoch %d back to %d", n.conf.Name, i, old[i], row.Epoch)
		}
		now = append(now, row.Epoch)
		c.wellFormed(row)
	}
	c.epochs[n] = now
}

func (c *churn) leads(group string, term uint64, id fsm.NodeID) {
	key := fmt.Sprintf("%s/%d", group, term)
	if other, ok := c.leaders[key]; ok && other != id {
		c.t.Errorf("%s and %s both lead %s in term %d", other, id, group, term)
	}
	c.leaders[key] = id
}

// wellFormed: no row wishes two replicas on a node, or an even number of voters.
func (c *churn) wellFormed(row controller.Partition) {
	seen, voters := map[fsm.NodeID]bool{}, 0
	for _, t := range row.Target {
		if seen[t.Replica.Node] {
			c.t.Errorf("partition %d wishes two replicas on %s", row.ID, t.Replica.Node)
		}
		seen[t.Replica.Node] = true
		if t.Voter {
			voters++
		}
	}
	if voters%2 == 0 {
		c.t.Errorf("partition %d wishes %d voters", row.ID, voters)
	}
}

// heal lets everybody back and waits until all is whole.
func (c *churn) heal() {
	for i, sn := range c.nodes {
		c.net.isolate(sn.name, false)
		if sn.node == nil && !sn.left.Load() {
			c.until(sn.name+" comes back", func() bool { c.begin(i); return c.nodeAt(i) != nil })
		}
	}
	defer func() {
		if v := c.view(); v != nil && c.t.Failed() {
			c.t.Logf("at the end: %+v", *v)
		}
	}()
	c.until("everything is whole", func() bool {
		c.farewell()
		v := c.view()
		if v == nil {
			return false
		}
		members := 0
		for _, m := range v.Nodes {
			if m.State == controller.Left {
				continue
			}
			if m.Duty == controller.Draining { // a drain whose end was lost
				_ = c.live(0).Drain(c.t.Context(), m.ID, false)
			}
			if members++; m.Status != "alive" {
				return false
			}
		}
		for _, p := range v.Partitions {
			if p.State != "ok" || len(p.Members) != min(3, members) {
				return false
			}
		}
		return members == len(c.running())
	})
}

// audit reads every team's history: what was acknowledged, once each, and beside
// it only what is in doubt.
func (c *churn) audit() {
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Minute)
	defer cancel()
	for i := range c.size.teams {
		count := map[string]int{}
		for below := uint32(0); ; {
			page, _, err := c.live(i).Submissions(ctx, c.hunt, team(i), below, 1000, Default)
			if err != nil {
				c.t.Fatal(err)
			}
			for _, s := range page {
				count[s.Key]++
				below = s.Number
			}
			if len(page) < 1000 {
				break
			}
		}
		for _, key := range c.acked[team(i)] {
			if count[key] != 1 {
				c.t.Errorf("%s: %s was acknowledged and is there %d times", team(i), key, count[key])
			}
			delete(count, key)
		}
		for key, n := range count {
			if n != 1 || !c.doubt[team(i)][key] {
				c.t.Errorf("%s: %s is there %d times, and nobody was told so", team(i), key, n)
			}
		}
	}
}
