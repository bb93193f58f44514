package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// What an operator asks of members. Each is one command to the controller; the
// planner and the reconcilers carry it out, and any of them may crash meanwhile.

// self means the node that is asked.
const self = "self"

// Find returns the member that a name, an id, a unique prefix of an id, or self
// means.
func (n *Node) Find(ctx context.Context, what string) (controller.Member, error) {
	if err := n.control.catchUp(ctx); err != nil {
		return controller.Member{}, err
	}
	if what == self {
		what = string(n.id.Node)
	}
	var found []controller.Member
	for _, m := range n.control.state().Members() {
		switch {
		case string(m.ID) == what, m.Name == what && m.State != controller.Left:
			return m, nil
		case what != "" && strings.HasPrefix(string(m.ID), strings.ToUpper(what)):
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return controller.Member{}, fsm.Errorf(fsm.NotFound, "there is no node %.80q", what)
	case 1:
		return found[0], nil
	}
	return controller.Member{}, fsm.Errorf(fsm.Invalid, "%d nodes have ids that begin with %q: give more of it", len(found), what)
}

// Drain moves leaderships away from a node and keeps them away, or lets them
// come back.
func (n *Node) Drain(ctx context.Context, id fsm.NodeID, on bool) error {
	m, ok := n.control.state().Member(id)
	if ok && m.Duty == controller.Leaving && on {
		return fsm.Errorf(fsm.Conflict, "node %s is leaving; undrain it to make it stay", m.Name)
	}
	duty := controller.Serving
	if on {
		duty = controller.Draining
	}
	_, err := n.control.propose(ctx, &controller.SetDuty{Now: n.now(), Node: id, Duty: duty})
	return err
}

// Leave begins to move everything away from a live node; when nothing of it is
// left, it stops being a member and its process ends. It refuses, with the
// reason, what would cost a partition its quorum.
func (n *Node) Leave(ctx context.Context, id fsm.NodeID) error {
	return n.dismiss(ctx, id, func(m NodeView) error {
		if m.Status == "down" {
			return fsm.Errorf(fsm.Conflict, "node %s is down: start it, or remove it with force", m.Name)
		}
		return nil
	})
}

// Remove begins to replace everything that a dead node held, and then forgets
// the node. It refuses a node that is alive, and what would cost a partition its
// quorum: such a partition can only be recovered with loss.
func (n *Node) Remove(ctx context.Context, id fsm.NodeID) error {
	return n.dismiss(ctx, id, func(m NodeView) error {
		if m.Status != "down" {
			return fsm.Errorf(fsm.Conflict, "node %s is %s: let it leave, or stop it first and wait until it is down", m.Name, m.Status)
		}
		return nil
	})
}

// dismiss tells a member to leave, unless may or the partitions' quorums object.
// One that has left already is no error.
func (n *Node) dismiss(ctx context.Context, id fsm.NodeID, may func(NodeView) error) error {
	// A leadership that is just being handed over is no reason to refuse.
	for until := time.Now().Add(refuseAfter); ; {
		missed, err := n.tryDismiss(ctx, id, may)
		if !missed || time.Now().After(until) || !pause(ctx, 10) {
			return err
		}
	}
}

// refuseAfter is for how long a node must be missed before that is a reason to
// refuse.
const refuseAfter = 2 * time.Second

// tryDismiss reports also whether the error is that the node would be missed now.
func (n *Node) tryDismiss(ctx context.Context, id fsm.NodeID, may func(NodeView) error) (missed bool, err error) {
	v, err := n.View(ctx)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(v.Nodes, func(m NodeView) bool { return m.ID == id })
	if i < 0 {
		return false, fsm.Errorf(fsm.NotFound, "there is no node %s", id)
	}
	if v.Nodes[i].State == controller.Left {
		return false, nil
	}
	if err := may(v.Nodes[i]); err != nil {
		return false, err
	}
	if err := v.mayGo(id); err != nil {
		return true, err
	}
	_, err = n.control.propose(ctx, &controller.SetDuty{Now: n.now(), Node: id, Duty: controller.Leaving})
	return false, err
}

// mayGo refuses that a node goes while the cluster cannot do without it: it is
// the last one, or partitions have no majority among their other live voters
// (their repair, or another node's leaving, comes first).
func (v *View) mayGo(id fsm.NodeID) error {
	status := map[fsm.NodeID]string{}
	others := 0
	for _, m := range v.Nodes {
		status[m.ID] = m.Status
		if m.ID != id && m.Status == "alive" || m.ID != id && m.Status == "draining" && m.Duty != controller.Leaving {
			others++
		}
	}
	if others == 0 {
		return fsm.Errorf(fsm.Conflict, "no other node is alive: the cluster would be gone")
	}
	var lost []string
	for _, p := range v.Partitions {
		if !p.quorumWithout(id, status) {
			lost = append(lost, fmt.Sprint(p.ID))
		}
	}
	if len(lost) == 0 {
		return nil
	}
	word := "partitions "
	if len(lost) == 1 {
		word = "partition "
	}
	return fsm.Errorf(fsm.Conflict, "would leave %s%s without a quorum: other replicas of them are down or not caught up; repair those nodes, or wait until their replicas are replaced",
		word, listed(lost))
}

// quorumWithout reports whether a partition can do without a node: it has a
// leader, and the live, caught-up voters elsewhere are a majority of the voters
// elsewhere. A partition whose only voter is there is copied first.
func (p *PartitionView) quorumWithout(id fsm.NodeID, status map[fsm.NodeID]string) bool {
	held := slices.ContainsFunc(p.Target, func(t controller.TargetReplica) bool { return t.Replica.Node == id })
	voters, live := 0, 0
	for _, m := range p.Members {
		held = held || m.Node == id
		if m.Node == id || !m.Voter {
			continue
		}
		voters++
		if m.CaughtUp && status[m.Node] != "down" && status[m.Node] != "suspect" {
			live++
		}
	}
	if !held {
		return true
	}
	return p.Leader != "" && (voters == 0 && p.Leader == id || live > voters/2)
}

// listed is "3", "3 and 7", "3, 7 and 9", at most maxListed of them.
func listed(words []string) string {
	const maxListed = 10
	if n := len(words); n > maxListed {
		words = append(slices.Clone(words[:maxListed]), fmt.Sprintf("%d more", n-maxListed))
	}
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// Transfer hands a partition to one of its voters: now, and as its preferred
// leader, until balance or a failure says otherwise.
func (n *Node) Transfer(ctx context.Context, p fsm.PartitionID, to fsm.NodeID) error {
	if err := n.control.catchUp(ctx); err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		row, ok := n.control.state().Partition(p)
		if !ok {
			return fsm.Errorf(fsm.NotFound, "there is no partition %d", p)
		}
		if row.Preferred == to {
			break
		}
		c := controller.TargetChange{Partition: p, Epoch: row.Epoch, Preferred: to}
		voter := false
		for _, t := range row.Target {
			c.Target = append(c.Target, controller.Wish{Node: t.Replica.Node, Voter: t.Voter})
			voter = voter || t.Replica.Node == to && t.Voter
		}
		if !voter {
			return fsm.Errorf(fsm.Conflict, "node %s has no vote in partition %d", to, p)
		}
		_, err := n.control.propose(ctx, &controller.SetTargets{Changes: []controller.TargetChange{c}})
		if err == nil {
			break
		}
		if fsm.KindOf(err) != fsm.Conflict || !pause(ctx, attempt) { // the row changed meanwhile
			return err
		}
	}
	return n.awaitLeader(ctx, p, to)
}

// awaitLeader returns once a node leads a partition.
func (n *Node) awaitLeader(ctx context.Context, p fsm.PartitionID, to fsm.NodeID) error {
	for attempt := 0; ; attempt++ {
		v, err := n.View(ctx)
		if err == nil && int(p) < len(v.Partitions) && v.Partitions[p].Leader == to {
			return nil
		}
		if !pause(ctx, 4+attempt) {
			return fsm.Errorf(fsm.OutcomeUnknown, "node %s is the preferred leader of partition %d now, and does not lead yet: it takes over when it has caught up and been steady for a while", to, p)
		}
	}
}
