package placement

import (
	"slices"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// View is what Plan looks at.
type View struct {
	// Nodes are the members that may hold replicas, in any order.
	Nodes []fsm.NodeID
	// Table is the partition table, by id.
	Table []controller.Partition
	// Moving is the number of partitions whose group has not yet become what the
	// table wishes. Moves that only balance are held back while it is above
	// MaxMoving; whatever raises the number of copies is not.
	Moving int
}

// Limits and sizes.
const (
	Voters    = 3 // of a partition, once there are as many nodes
	MaxMoving = 4 // partitions on the move for balance at once
)

// Plan returns the rows to change so that
//
//   - every partition has min(Voters, nodes) replicas on different nodes: one
//     voter with one node, one voter and one non-voter copy with two (a second
//     voter would only add a way to lose the quorum), three voters from three on;
//   - no two nodes differ by more than one replica, nor by more than one preferred
//     leadership;
//   - as few replicas as possible move.
//
// With nothing to do the result is empty: Plan of its own result is stable.
func Plan(v View) []controller.TargetChange {
	if len(v.Nodes) == 0 {
		return nil
	}
	p := newPlanner(v)
	for i := range p.sets {
		p.fill(i)
	}
	p.balance(max(0, MaxMoving-v.Moving))
	p.lead()
	return p.changes()
}

// planner works on sets of node numbers; nodes are numbered in order of id.
type planner struct {
	view   View
	nodes  []fsm.NodeID
	sets   [][]int // nodes of each partition
	leader []int   // preferred node of each
	load   []int   // replicas of each node
	leads  []int   // preferred leaderships of each node
}

func newPlanner(v View) *planner {
	p := &planner{view: v, nodes: slices.Sorted(slices.Values(v.Nodes))}
	p.load, p.leads = make([]int, len(p.nodes)), make([]int, len(p.nodes))
	for _, row := range v.Table {
		var set []int
		for _, t := range row.Target {
			if n, ok := slices.BinarySearch(p.nodes, t.Replica.Node); ok {
				set = append(set, n)
				p.load[n]++
			}
		}
		p.sets = append(p.sets, set)
		leader, ok := slices.BinarySearch(p.nodes, row.Preferred)
		if !ok {
			leader = -1
		}
		p.leader = append(p.leader, leader)
	}
	return p
}

// fill brings one partition to the wished number of replicas: copies go to the
// emptiest nodes and come from the fullest.
func (p *planner) fill(i int) {
	want := min(Voters, len(p.nodes))
	for len(p.sets[i]) < want {
		n := p.pick(func(n int) bool { return !slices.Contains(p.sets[i], n) }, func(a, b int) bool { return p.load[a] < p.load[b] })
		p.sets[i] = append(p.sets[i], n)
		p.load[n]++
	}
	for len(p.sets[i]) > want {
		n := p.pick(func(n int) bool { return slices.Contains(p.sets[i], n) && n != p.leader[i] }, func(a, b int) bool { return p.load[a] > p.load[b] })
		p.drop(i, n)
	}
}

func (p *planner) drop(i, n int) {
	p.sets[i] = slices.DeleteFunc(p.sets[i], func(m int) bool { return m == n })
	p.load[n]--
}

// pick returns the best node that qualifies, the first of equals; -1 if none does.
func (p *planner) pick(ok func(n int) bool, better func(a, b int) bool) int {
	best := -1
	for n := range p.nodes {
		if ok(n) && (best < 0 || better(n, best)) {
			best = n
		}
	}
	return best
}

// balance moves replicas from the fullest to the emptiest node until they
// differ by at most one, at most moves partitions. With three or fewer nodes every
// node holds everything and there is nothing to move.
func (p *planner) balance(moves int) {
	any := func(int) bool { return true }
	for range moves {
		full := p.pick(any, func(a, b int) bool { return p.load[a] > p.load[b] })
		empty := p.pick(any, func(a, b int) bool { return p.load[a] < p.load[b] })
		if p.load[full]-p.load[empty] <= 1 {
			return
		}
		i := slices.IndexFunc(p.sets, func(set []int) bool {
			return slices.Contains(set, full) && !slices.Contains(set, empty)
		})
		p.sets[i] = append(p.sets[i], empty) // full holds more partitions than empty, so there is one
		p.load[empty]++
		p.drop(i, full)
	}
}

// lead chooses a preferred leader for every partition among its voters and
// evens the leaderships out.
func (p *planner) lead() {
	for i, set := range p.sets {
		if !p.mayLead(i, p.leader[i]) {
			p.leader[i] = p.pick(func(n int) bool { return slices.Contains(set, n) && p.mayLead(i, n) },
				func(a, b int) bool { return p.leads[a] < p.leads[b] })
		}
		p.leads[p.leader[i]]++
	}
	if len(p.nodes) < Voters {
		return
	}
	for p.shiftLead() {
	}
}

// mayLead reports whether node n is to be a voter of partition i. With two
// nodes the voter stays who it is.
func (p *planner) mayLead(i, n int) bool {
	if n < 0 || !slices.Contains(p.sets[i], n) {
		return false
	}
	if len(p.nodes) >= Voters || len(p.sets[i]) == 1 {
		return true
	}
	return p.votes(i, n) || !slices.ContainsFunc(p.sets[i], func(m int) bool { return p.votes(i, m) })
}

// votes reports whether node n is a voter of partition i in the table.
func (p *planner) votes(i, n int) bool {
	return slices.ContainsFunc(p.view.Table[i].Target, func(t controller.TargetReplica) bool {
		return t.Voter && t.Replica.Node == p.nodes[n]
	})
}

// shiftLead moves one leadership closer to an even spread: along the shortest
// chain of partitions from a node to one that leads at least two fewer, each
// partition in the chain being handed to the next node. It reports whether it
// found one.
func (p *planner) shiftLead() bool {
	from := p.pick(func(int) bool { return true }, func(a, b int) bool { return p.leads[a] > p.leads[b] })
	via := make([]int, len(p.nodes)) // partition over which a node was reached
	for n := range via {
		via[n] = -1
	}
	queue := []int{from}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		if p.leads[n] <= p.leads[from]-2 {
			p.leads[n]++
			p.leads[from]--
			for n != from {
				i := via[n]
				n, p.leader[i] = p.leader[i], n
			}
			return true
		}
		for i, set := range p.sets {
			if p.leader[i] != n {
				continue
			}
			for _, m := range set {
				if m != from && via[m] < 0 {
					via[m] = i
					queue = append(queue, m)
				}
			}
		}
	}
	return false
}

// changes compares the outcome with the table.
func (p *planner) changes() []controller.TargetChange {
	var out []controller.TargetChange
	for i, row := range p.view.Table {
		c := controller.TargetChange{Partition: row.ID, Epoch: row.Epoch, Preferred: p.nodes[p.leader[i]]}
		same := row.Preferred == c.Preferred && len(row.Target) == len(p.sets[i])
		slices.Sort(p.sets[i])
		for _, n := range p.sets[i] {
			voter := len(p.nodes) >= Voters || n == p.leader[i]
			c.Target = append(c.Target, controller.Wish{Node: p.nodes[n], Voter: voter})
			same = same && slices.ContainsFunc(row.Target, func(t controller.TargetReplica) bool {
				return t.Replica.Node == p.nodes[n] && t.Voter == voter
			})
		}
		if !same {
			out = append(out, c)
		}
	}
	return out
}

// ControllerWant returns the wished members of the controller group: everybody,
// with 1 voter for one or two members, 3 for three or four, 5 from five on. The
// voters are those who vote already, then the longest-standing members that are
// alive.
func ControllerWant(members []controller.Member, votes func(fsm.Replica) bool) []Want {
	present := slices.DeleteFunc(slices.Clone(members), func(m controller.Member) bool { return m.State == controller.Left })
	order := func(a, b controller.Member) int {
		rank := func(m controller.Member) int {
			switch {
			case votes(fsm.Replica{Node: m.ID, Incarnation: m.Incarnation}):
				return 0
			case m.State == controller.Alive:
				return 1
			}
			return 2
		}
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		if a.Joined != b.Joined {
			return int(min(max(int64(a.Joined-b.Joined), -1), 1))
		}
		return slices.Compare([]byte(a.ID), []byte(b.ID))
	}
	slices.SortFunc(present, order)
	voters := min(5, (len(present)-1)/2*2+1)
	var out []Want
	for i, m := range present {
		out = append(out, Want{fsm.Replica{Node: m.ID, Incarnation: m.Incarnation}, i < voters})
	}
	return out
}
