package cluster

import (
	"context"
	"fmt"
	"time"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// observe checks at every moment what must never be otherwise.
func (c *churn) observe(ctx context.Context) {
	for ctx.Err() == nil {
		for _, i := range c.running() {
			if n := c.nodeAt(i); n != nil && n.control != nil {
				c.inspect(n)
			}
		}
		c.inspectVoters()
		time.Sleep(c.look)
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

// inspectVoters: whoever a group counts on has its replica. The configuration that
// counts is the one of the leader in the newest term.
func (c *churn) inspectVoters() {
	c.mu.Lock()
	defer c.mu.Unlock()
	nodes, leader, newest := map[fsm.NodeID]*Node{}, map[fsm.PartitionID]*replica{}, map[fsm.PartitionID]uint64{}
	for _, sn := range c.nodes {
		if sn.node == nil {
			continue
		}
		nodes[sn.node.ID()] = sn.node
		for _, r := range sn.node.replicas.all() {
			if term := r.group.Term(); term > newest[r.id] {
				newest[r.id], leader[r.id] = term, nil
			}
			if r.group.Leads() && r.group.Term() == newest[r.id] {
				leader[r.id] = r
			}
		}
	}
	for id, r := range leader {
		if r == nil {
			continue
		}
		conf, err := r.group.Configuration()
		if err != nil || !conf.Committed || r.group.Term() != newest[id] {
			continue
		}
		for _, s := range conf.Servers {
			n := nodes[s.Replica.Node]
			if n == nil || !s.Voter {
				continue
			}
			if have := n.replicas.get(id); have == nil || have.group.Replica() != s.Replica {
				c.t.Errorf("partition %d counts on %s, which %s does not have", id, s.Replica, n.conf.Name)
			}
		}
	}
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
		return c.isWhole()
	})
}

// isWhole reports whether every member lives and every partition is as it should be.
// A drain whose end was lost it ends.
func (c *churn) isWhole() bool {
	v := c.view()
	if v == nil {
		return false
	}
	members := 0
	for _, m := range v.Nodes {
		if m.State == controller.Left {
			continue
		}
		if m.Duty == controller.Draining {
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
