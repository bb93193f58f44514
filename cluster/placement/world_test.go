package placement

import (
	"fmt"
	"slices"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// world is a cluster that Plan's changes are carried out on: at once, or some
// rounds later.
type world struct {
	nodes  []Node
	table  []controller.Partition
	rate   []float64
	slow   int   // rounds that a row whose replicas change is on the move
	left   []int // rounds that each row is still on the move
	next   uint64
	joined int // nodes ever
	index  map[fsm.NodeID]int
	made   int // replicas made
	handed int // rows whose preferred leader changed while it was a fit one
}

// failer is a test, or a property's.
type failer interface {
	Helper()
	Fatalf(string, ...any)
}

func name(i int) fsm.NodeID { return fsm.NodeID(fmt.Sprintf("n%04d", i)) }

// newWorld has one node, which founded all partitions.
func newWorld(partitions int) *world {
	w := &world{nodes: []Node{{ID: name(0)}}, joined: 1, left: make([]int, partitions)}
	for i := range partitions {
		w.next++
		w.table = append(w.table, controller.Partition{
			ID: fsm.PartitionID(i), Preferred: name(0), Founded: true,
			Target: []controller.TargetReplica{{Replica: fsm.Replica{Node: name(0), Incarnation: w.next}, Voter: true}},
		})
	}
	return w
}

// join adds n nodes in a zone.
func (w *world) join(n int, zone string) {
	for range n {
		w.nodes = append(w.nodes, Node{ID: name(w.joined), Zone: zone})
		w.joined++
	}
}

func (w *world) node(id fsm.NodeID) *Node {
	i, ok := w.index[id]
	if !ok || i >= len(w.nodes) || w.nodes[i].ID != id {
		w.index = map[fsm.NodeID]int{}
		for k := range w.nodes {
			w.index[w.nodes[k].ID] = k
		}
		if i, ok = w.index[id]; !ok {
			return nil
		}
	}
	return &w.nodes[i]
}

// depart removes the nodes that leave and hold nothing any more.
func (w *world) depart() {
	load, _ := w.loads()
	w.nodes = slices.DeleteFunc(w.nodes, func(n Node) bool { return n.Leaving && load[n.ID] == 0 })
}

func (w *world) view() View {
	v := View{Nodes: w.nodes, Table: w.table, Lost: make([]bool, len(w.table)), Moving: make([]bool, len(w.table)), Rate: w.rate}
	dead := slices.ContainsFunc(w.nodes, func(n Node) bool { return n.Dead })
	for i, row := range w.table {
		v.Moving[i] = w.left[i] > 0
		v.Lost[i] = dead && !w.majority(row)
	}
	return v
}

// majority reports whether a row's live voters are one.
func (w *world) majority(row controller.Partition) bool {
	voters, live := 0, 0
	for _, t := range row.Target {
		if t.Voter {
			voters++
			if n := w.node(t.Replica.Node); n != nil && !n.Dead {
				live++
			}
		}
	}
	return live > voters/2
}

// apply carries changes out as the controller's machine does: a node keeps its
// replica, a newcomer gets a new one. It returns how many replicas were made.
func (w *world) apply(changes []Change) (made int) {
	for _, c := range changes {
		row := &w.table[c.Partition]
		old := row.Target
		if n := w.node(row.Preferred); n != nil && c.Preferred != row.Preferred && !n.Dead && !n.Leaving && !n.Shun {
			w.handed++
		}
		row.Target, row.Preferred, row.Epoch = nil, c.Preferred, row.Epoch+1
		for _, wish := range c.Target {
			i := slices.IndexFunc(old, func(t controller.TargetReplica) bool { return t.Replica.Node == wish.Node })
			if i < 0 {
				w.next++
				made++
				row.Target = append(row.Target, controller.TargetReplica{Replica: fsm.Replica{Node: wish.Node, Incarnation: w.next}, Voter: wish.Voter})
				continue
			}
			row.Target = append(row.Target, controller.TargetReplica{Replica: old[i].Replica, Voter: wish.Voter})
		}
		if c.Reason != ReasonLeader && !slices.Equal(old, row.Target) {
			w.left[c.Partition] = w.slow
		}
	}
	w.made += made
	return made
}

// round plans and carries out once, having checked what is planned. It returns
// the number of rows that changed.
func (w *world) round(t failer) int {
	t.Helper()
	v := w.view()
	changes := Plan(v)
	if bad := w.unsafe(v, changes); bad != "" {
		t.Fatalf("%s", bad)
	}
	for i := range w.left {
		w.left[i] = max(0, w.left[i]-1)
	}
	w.apply(changes)
	return len(changes)
}

// settle plans until nothing changes and nothing is on the move. It returns how
// many replicas were made.
func (w *world) settle(t failer) (made int) {
	t.Helper()
	before := w.made
	for range (10 + 5*len(w.table)) * (w.slow + 1) {
		moving := slices.Max(w.left) > 0
		if w.round(t) == 0 && !moving {
			return w.made - before
		}
	}
	t.Fatalf("the plan does not settle: %v", Plan(w.view()))
	return 0
}

// loads counts replicas and preferred leaderships.
func (w *world) loads() (load, leads map[fsm.NodeID]int) {
	load, leads = map[fsm.NodeID]int{}, map[fsm.NodeID]int{}
	for _, row := range w.table {
		leads[row.Preferred]++
		for _, r := range row.Target {
			load[r.Replica.Node]++
		}
	}
	return load, leads
}

// unsafe says what is wrong with planned changes; empty if nothing is.
func (w *world) unsafe(v View, changes []Change) string {
	moving := 0
	for i := range v.Moving {
		if v.Moving[i] && !v.Lost[i] {
			moving++
		}
	}
	left, moved := moving, moving
	for k, c := range changes {
		if k > 0 && changes[k-1].Partition >= c.Partition {
			return "changes are out of order"
		}
		bad := w.unsafeChange(v, c)
		if bad != "" {
			return fmt.Sprintf("%s of partition %d: %s\nfrom %+v\nto %+v\nnodes %+v", c.Reason, c.Partition, bad, v.Table[c.Partition], c, w.nodes)
		}
		if w.sameSet(v.Table[c.Partition], c) {
			continue
		}
		switch c.Reason {
		case ReasonZone, ReasonBalance:
			moved++
		case ReasonLeave:
			if n := w.leaver(v.Table[c.Partition], c); n != nil && !n.Dead {
				left++
			}
		}
	}
	if left > max(moving, MaxLeaving) || moved > max(moving, MaxMoving) {
		return fmt.Sprintf("%d rows were on the move: with leave %d, with balance %d", moving, left, moved)
	}
	return ""
}

// leaver returns the node that leaves a row.
func (w *world) leaver(row controller.Partition, c Change) *Node {
	for _, t := range row.Target {
		if n := w.node(t.Replica.Node); n != nil && n.Leaving && !wishes(c, n.ID) {
			return n
		}
	}
	return nil
}

func wishes(c Change, id fsm.NodeID) bool {
	return slices.ContainsFunc(c.Target, func(w controller.Wish) bool { return w.Node == id })
}

func (w *world) sameSet(row controller.Partition, c Change) bool {
	return len(row.Target) == len(c.Target) && !slices.ContainsFunc(row.Target, func(t controller.TargetReplica) bool {
		return !wishes(c, t.Replica.Node)
	})
}

// unsafeChange holds one change to the promises of Plan.
func (w *world) unsafeChange(v View, c Change) string {
	row := v.Table[c.Partition]
	has := func(id fsm.NodeID) bool {
		return slices.ContainsFunc(row.Target, func(t controller.TargetReplica) bool { return t.Replica.Node == id })
	}
	stay, usable := 0, 0
	for _, n := range w.nodes {
		if !n.Leaving {
			stay++
			if !n.Dead {
				usable++
			}
		}
	}
	voters, leads := 0, false
	for i, wish := range c.Target {
		n := w.node(wish.Node)
		switch {
		case n == nil:
			return "a replica on a node that is no member"
		case i > 0 && c.Target[i-1].Node >= wish.Node:
			return "nodes are out of order, or twice"
		case !has(wish.Node) && (n.Dead || n.Leaving):
			return "a new replica on a node that is dead or leaves"
		}
		if wish.Voter {
			voters++
			leads = leads || wish.Node == c.Preferred
		}
	}
	dropped, live, kept := 0, 0, 0
	for _, t := range row.Target {
		n := w.node(t.Replica.Node)
		if n == nil || n.Dead {
			continue
		}
		if !wishes(c, n.ID) {
			dropped++
		}
		if t.Voter && !n.Leaving {
			live++
			if wishes(c, n.ID) {
				kept++
			}
		}
	}
	moving := v.Moving[c.Partition]
	switch {
	case v.Lost[c.Partition]:
		return "it is lost"
	case c.Epoch != row.Epoch:
		return "not from its epoch"
	case !leads:
		return "the preferred leader is no voter"
	case voters != 3 && voters != 1 || len(c.Target) >= 3 && voters != 3:
		return fmt.Sprintf("%d voters", voters)
	case len(c.Target) < min(Voters, usable) && len(c.Target) < len(row.Target):
		return fmt.Sprintf("%d replicas with %d usable nodes", len(c.Target), usable)
	case len(c.Target) < min(len(row.Target), Voters, stay) && w.members(row) == len(row.Target):
		return fmt.Sprintf("shrinks to %d replicas with %d members", len(c.Target), stay)
	case dropped > 1:
		return "two live replicas go at once"
	case live > 0 && kept <= live/2:
		return "the live voters that stay are no majority"
	case moving && c.Reason != ReasonRepair && c.Reason != ReasonJoin && w.leaver(row, c) == nil:
		return "it is on the move"
	}
	return ""
}

// members counts a row's replicas on members.
func (w *world) members(row controller.Partition) (n int) {
	for _, t := range row.Target {
		if w.node(t.Replica.Node) != nil {
			n++
		}
	}
	return n
}
