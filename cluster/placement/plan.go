package placement

import (
	"cmp"
	"math"
	"slices"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// Node is one member as the planner sees it.
type Node struct {
	ID   fsm.NodeID
	Zone string
	// Dead: it has been down for so long that its replicas are to be replaced.
	Dead bool
	// Leaving: its replicas are to be moved away. It lives and leaves, or it is
	// Dead as well and is removed by force.
	Leaving bool
	// Shun: no leaderships, and no new replicas for the sake of balance, while
	// others can have them (draining, down for a short time, too slow).
	Shun bool
	// CPU in use, cores (0: unknown).
	CPU float64
}

// View is what Plan looks at. Slices by partition may be shorter than the table:
// what is missing is false or 0.
type View struct {
	// Nodes are all members that have not left, in any order. A replica on any
	// other node is gone: it is replaced like a dead one, and never kept.
	Nodes []Node
	// Table is the partition table, by id.
	Table []controller.Partition
	// Replicas is how many of a row are wished; 0 means Voters. More is for
	// measuring what that costs.
	Replicas int
	// Lost are the partitions without a live majority: never changed.
	Lost []bool
	// Moving are the partitions whose group has not yet become what the table
	// wishes. They count as if they had arrived.
	Moving []bool
	// Rate is the measured events a second of each partition, best over a minute
	// and kept over elections. Nil: unknown, all alike.
	Rate []float64
}

// Change is one row to change, and why.
type Change struct {
	controller.TargetChange
	Reason string
}

// Reasons of a Change. A row that changes for several has the first of them.
const (
	ReasonRepair  = "repair"  // a replica is on a dead node, or its leader is
	ReasonLeave   = "leave"   // a node leaves
	ReasonJoin    = "join"    // there are nodes for a replica that the row lacked, or for a vote
	ReasonZone    = "zone"    // two replicas share a zone and need not
	ReasonBalance = "balance" // a node has more than others
	ReasonLeader  = "leader"  // only the preferred leader changes
)

// Limits and sizes.
const (
	Voters     = 3 // of a partition, once there are as many nodes
	MaxMoving  = 4 // partitions on the move at once while one is moved for zones or balance
	MaxLeaving = 8 // the same while one is moved off a live node that leaves

	// Noise is how far off a measured rate may be, either way. A node gives by rate
	// only if its own is above the mean by Noise, and the rest of it above that of
	// the node that takes by (1+Noise)/(1-Noise), 1.5 times. At rest the busiest
	// node of many partitions has about 1.2 to 1.3 times the mean.
	Noise = 0.2
	// MinGain is what an exchange by rate lowers the busier node's rate by at
	// least, in mean partitions: a copy costs more than a smaller gain is worth.
	MinGain = 0.5
	// QuietRate is the least that counts as a mean partition, events a second:
	// in an idle cluster differences are not worth a move.
	QuietRate = 10
	// HotCPU times the mean CPU makes a node the last choice for a new replica
	// among nodes that are otherwise equal. It moves nothing by itself.
	HotCPU = 1.5
)

// Plan returns the rows to change, in order of partition. At rest it returns
// nothing.
//
//   - A row has min(Voters, members that do not leave) replicas on different
//     nodes: one voter with one node, one voter and one non-voter copy with two
//     (a second voter would only add a way to lose the quorum), three voters from
//     three on. A dead node is a member: death alone never shrinks a group.
//   - What is on a dead node is replaced at once, in all rows; so is what is
//     missing. With nowhere to go the dead replica stays.
//   - What is on a live node that leaves follows, at most MaxLeaving at a time.
//   - Then zones and balance, at most MaxMoving at a time. As few replicas move as
//     evenness needs.
//   - Preferred leaders are never on dead nodes nor on those that leave, on
//     shunned ones only if no other voter lives, and even over the others.
//
// One change of a row replaces at most one replica that lives, so the rest keep
// a majority. A row that is Moving changes only for dead or missing replicas and
// dead leaders. With all members leaving nothing changes.
//
// It takes milliseconds for 1,000 nodes and 4,096 partitions.
func Plan(v View) []Change {
	p := newPlanner(v)
	if p.want == 0 {
		return nil
	}
	for i := range p.rows {
		p.repair(i)
	}
	for i := range p.rows {
		p.leave(i)
	}
	p.arrange()
	p.trim()
	p.spread()
	p.lead(p.balance())
	return p.changes()
}

// planner works on numbers: nodes in order of id, rows in order of partition.
//
// Invariants:
//
//  1. count, rate and on agree with the rows' sets; leads, leadRate and led with
//     their leaders.
//  2. A row's set has no node twice.
//  3. A fixed row never changes.
type planner struct {
	view  View
	nodes []Node
	zone  []int  // of each node
	zones int    // that have a usable node
	alive []bool // usable: neither dead nor leaving
	takes []bool // usable and not shunned; all usable ones if all are shunned
	hot   []bool
	rows  []row
	want  int // replicas of a row
	rates bool

	count []int     // replicas of each node
	rate  []float64 // and their rates
	on    [][]int   // the rows they belong to

	leads    []int // preferred leaderships of each node
	leadRate []float64
	led      [][]int

	waiting int // rows that were moving before this plan
	moving  int // those, and the rows whose replicas this plan changes
}

// row is one partition.
type row struct {
	set    []int   // its nodes
	fresh  []int   // those of them that this plan added
	gone   int     // replicas on nodes that are no members
	leader int     // preferred node, -1: none
	rate   float64 // in mean partitions
	fixed  bool    // lost: it never changes
	moving bool
	reason string // why its replicas changed in this plan; empty: they did not
}

// free reports whether a row's replicas may move for leave, zones or balance.
func (r *row) free() bool { return !r.fixed && !r.moving && r.reason == "" }

// settled reports whether a row's leadership may move for balance.
func (r *row) settled() bool {
	return !r.fixed && (!r.moving || r.reason != "") && len(r.set) >= Voters
}

func newPlanner(v View) *planner {
	p := &planner{view: v, nodes: slices.Clone(v.Nodes)}
	slices.SortFunc(p.nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	n := len(p.nodes)
	p.count, p.rate = make([]int, n), make([]float64, n)
	p.leads, p.leadRate = make([]int, n), make([]float64, n)
	p.readNodes()
	p.readRows()
	return p
}

func (p *planner) readNodes() {
	n := len(p.nodes)
	p.zone, p.alive, p.takes, p.hot = make([]int, n), make([]bool, n), make([]bool, n), make([]bool, n)
	names, used := map[string]int{}, map[string]bool{}
	stay, takers, cpu, known := 0, 0, 0.0, 0
	for i, node := range p.nodes {
		if _, ok := names[node.Zone]; !ok {
			names[node.Zone] = len(names)
		}
		p.zone[i] = names[node.Zone]
		if !node.Leaving {
			stay++
		}
		p.alive[i] = !node.Dead && !node.Leaving
		if p.takes[i] = p.alive[i] && !node.Shun; p.takes[i] {
			takers++
		}
		if p.alive[i] {
			used[node.Zone] = true
		}
		if node.CPU > 0 {
			cpu, known = cpu+node.CPU, known+1
		}
	}
	p.zones, p.want = len(used), min(max(p.view.Replicas, Voters), stay)
	if takers == 0 {
		copy(p.takes, p.alive)
	}
	for i, node := range p.nodes {
		p.hot[i] = node.CPU*float64(known) > HotCPU*cpu
	}
}

func (p *planner) readRows() {
	number := make(map[fsm.NodeID]int, len(p.nodes))
	for i, node := range p.nodes {
		number[node.ID] = i
	}
	rates, room := p.relative(), make([]int, 0, (Voters+2)*len(p.view.Table))
	p.rows = make([]row, len(p.view.Table))
	for i := range p.view.Table {
		wish, r := &p.view.Table[i], &p.rows[i]
		r.rate, r.leader = rates[i], -1
		r.fixed = i < len(p.view.Lost) && p.view.Lost[i]
		if r.moving = !r.fixed && i < len(p.view.Moving) && p.view.Moving[i]; r.moving {
			p.waiting++
		}
		from := len(room)
		for _, t := range wish.Target {
			n, ok := number[t.Replica.Node]
			if !ok {
				r.gone++
				continue
			}
			room = append(room, n)
			p.count[n]++
			if t.Replica.Node == wish.Preferred {
				r.leader = n
				p.leads[n]++
			}
		}
		r.set = slices.Clip(room[from:])
	}
	p.moving = p.waiting
	p.on, p.led = lists(p.count), lists(p.leads)
	for i := range p.rows {
		r := &p.rows[i]
		for _, n := range r.set {
			p.rate[n] += r.rate
			p.on[n] = append(p.on[n], i)
		}
		if n := r.leader; n >= 0 {
			p.leadRate[n] += r.rate
			p.led[n] = append(p.led[n], i)
		}
	}
}

// lists returns empty lists with room for so many each, and some more.
func lists(count []int) [][]int {
	const more = 4
	sum := 0
	for _, n := range count {
		sum += n + more
	}
	room, out := make([]int, sum), make([][]int, len(count))
	for i, n := range count {
		out[i], room = room[:0:n+more], room[n+more:]
	}
	return out
}

// relative returns the partitions' rates in mean partitions: all 0 if they are
// unknown.
func (p *planner) relative() []float64 {
	out := make([]float64, len(p.view.Table))
	sum := 0.0
	for i := range out {
		if i < len(p.view.Rate) && p.view.Rate[i] > 0 && p.view.Rate[i] <= math.MaxFloat32 {
			out[i] = p.view.Rate[i]
			sum += out[i]
		}
	}
	p.rates = sum > 0
	mean := max(sum/float64(len(out)), QuietRate)
	for i := range out {
		out[i] /= mean
	}
	return out
}

// add puts a replica of row i on node n.
func (p *planner) add(i, n int) {
	p.rows[i].set = append(p.rows[i].set, n)
	p.count[n]++
	p.rate[n] += p.rows[i].rate
	p.on[n] = append(p.on[n], i)
}

// drop takes the replica of row i off node n.
func (p *planner) drop(i, n int) {
	r := &p.rows[i]
	r.set, r.fresh = without(r.set, n), without(r.fresh, n)
	p.count[n]--
	p.rate[n] -= r.rate
	p.on[n] = without(p.on[n], i)
}

// replace moves the replica of row i from node n to node m.
func (p *planner) replace(i, n, m int) {
	p.drop(i, n)
	p.add(i, m)
	p.rows[i].fresh = append(p.rows[i].fresh, m)
}

// touch remembers why this plan changed the replicas of row i.
func (p *planner) touch(i int, reason string) {
	r := &p.rows[i]
	if r.reason != "" {
		return
	}
	r.reason = reason
	if !r.moving {
		p.moving++
	}
}

// hand gives the leadership of row i to node n.
func (p *planner) hand(i, n int) {
	r := &p.rows[i]
	if old := r.leader; old >= 0 {
		p.leads[old]--
		p.leadRate[old] -= r.rate
		p.led[old] = without(p.led[old], i)
	}
	r.leader = n
	p.leads[n]++
	p.leadRate[n] += r.rate
	p.led[n] = append(p.led[n], i)
}

// without removes x from a list, in place, if it is there.
func without(list []int, x int) []int {
	if k := slices.Index(list, x); k >= 0 {
		return slices.Delete(list, k, k+1)
	}
	return list
}

// votes reports whether node n is a voter of row i in the table.
func (p *planner) votes(i, n int) bool {
	return slices.ContainsFunc(p.view.Table[i].Target, func(t controller.TargetReplica) bool {
		return t.Voter && t.Replica.Node == p.nodes[n].ID
	})
}

// changes compares the outcome with the table.
func (p *planner) changes() []Change {
	var out []Change
	for i := range p.rows {
		r, wish := &p.rows[i], &p.view.Table[i]
		if r.fixed {
			continue
		}
		members := p.asWished(i)
		if members && wish.Preferred == p.nodes[r.leader].ID {
			continue
		}
		c := Change{Reason: r.reason}
		c.Partition, c.Epoch, c.Preferred = wish.ID, wish.Epoch, p.nodes[r.leader].ID
		slices.Sort(r.set)
		for _, n := range r.set {
			c.Target = append(c.Target, controller.Wish{Node: p.nodes[n].ID, Voter: p.voter(i, n)})
		}
		if c.Reason == "" {
			c.Reason = ReasonJoin
			if members {
				c.Reason = p.whyLeader(wish.Preferred)
			}
		}
		out = append(out, c)
	}
	return out
}

// voter reports whether node n, which has a replica of row i, is to vote.
func (p *planner) voter(i, n int) bool {
	r := &p.rows[i]
	if r.moving && r.reason == "" {
		return p.votes(i, n)
	}
	return len(r.set) >= Voters || n == r.leader
}

// asWished reports whether the table wishes the replicas and votes of row i
// already.
func (p *planner) asWished(i int) bool {
	r, target := &p.rows[i], p.view.Table[i].Target
	if len(r.set) != len(target) {
		return false
	}
	for _, n := range r.set {
		voter := p.voter(i, n)
		if !slices.ContainsFunc(target, func(t controller.TargetReplica) bool {
			return t.Voter == voter && t.Replica.Node == p.nodes[n].ID
		}) {
			return false
		}
	}
	return true
}

// whyLeader says why a row's leadership leaves its preferred leader.
func (p *planner) whyLeader(id fsm.NodeID) string {
	n, ok := slices.BinarySearchFunc(p.nodes, id, func(n Node, id fsm.NodeID) int { return cmp.Compare(n.ID, id) })
	switch {
	case !ok || p.nodes[n].Dead:
		return ReasonRepair
	case p.nodes[n].Leaving:
		return ReasonLeave
	}
	return ReasonLeader
}
