package cluster

import (
	"context"
	"errors"
	"slices"
	"time"

	"cairn/cluster/link"
	"cairn/fsm"
	"cairn/fsm/controller"
)

// A member that leaves goes in three steps, each seen in the log and in the
// groups before the next begins: its duty becomes Leaving; the planner moves its
// replicas away, and no group has it in its configuration any more; it is marked
// as left, which takes it out of the controller's group too.

// farewells has the controller's leader mark those as left who have nothing left.
func (n *Node) farewells(st *controller.State) {
	held := n.reports.holders()
	for _, m := range st.Members() {
		if m.State == controller.Left || m.Duty != controller.Leaving || held[m.ID] || wished(st, m.ID) {
			continue
		}
		if m.ID == n.id.Node {
			continue // it is wished as a non-voter and hands over; the next leader says goodbye
		}
		if _, res, err := n.control.lead(&controller.RemoveMember{Now: n.now(), Node: m.ID}); err != nil || res.Err != nil {
			n.log.Warn("marking a node as left failed; trying again", "member", m.Name, "err", err, "refused", res.Err)
			continue
		}
		n.log.Info("a node has left the cluster", "member", m.Name)
	}
}

// wished reports whether the table wishes a replica on a node.
func wished(st *controller.State, id fsm.NodeID) bool {
	return slices.ContainsFunc(st.Partitions(), func(p controller.Partition) bool {
		return slices.ContainsFunc(p.Target, func(t controller.TargetReplica) bool { return t.Replica.Node == id })
	})
}

// holders returns the nodes that have replicas by anybody's account: their own,
// or a leader's whose group has them as members. A partition without a report of
// a leader may have anybody.
func (rp *reports) holders() map[fsm.NodeID]bool {
	out := map[fsm.NodeID]bool{}
	st := rp.node.control.state()
	led := map[fsm.PartitionID]bool{}
	list := rp.list()
	for id, h := range list {
		if h.Age < aliveFor && len(h.Report.Replicas) > 0 {
			out[id] = true
		}
		for _, r := range h.Report.Replicas {
			if !r.Leads || h.Age >= aliveFor {
				continue
			}
			led[r.Partition] = true
			for _, m := range r.Members {
				out[m.Replica.Node] = true
			}
		}
	}
	if len(led) == len(st.Partitions()) {
		return out
	}
	for _, m := range st.Members() {
		out[m.ID] = true
	}
	return out
}

// departEvery is how often a node that leaves asks whether it has.
const departEvery = time.Second

// strangerFor is how long all members that answer must refuse a node that knows of
// no reason.
const strangerFor = 30 * time.Second

// depart ends this node once it is no member any more. It learns that from the
// log; or, when the others stopped talking to it before it had that entry, from
// being refused as a stranger: by one of them if it was to leave, by all of them
// if it was away when it left or was removed.
func (n *Node) depart() {
	tick := time.NewTicker(departEvery)
	defer tick.Stop()
	var strange time.Time // since when nobody knows this node
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
		m, ok := n.control.state().Member(n.id.Node) // not ok: not even its own log is known to be true
		alone := !n.control.group.Leads() && time.Since(n.control.group.LastContact()) > aliveFor
		if !alone {
			strange = time.Time{}
		}
		left := ok && m.State == controller.Left
		if alone && !left {
			some, all := n.refused()
			left = some && ok && m.Duty == controller.Leaving && len(n.replicas.all()) == 0
			switch {
			case !all:
				strange = time.Time{}
			case strange.IsZero():
				strange = time.Now()
			default:
				left = left || time.Since(strange) >= strangerFor
			}
		}
		if left {
			n.log.Info("this node is no member of the cluster any more: it has left, or was removed")
			n.stopping.Store(true)
			n.conf.Left()
			return
		}
	}
}

// refused reports whether some member says that this node is none, and whether
// all do that answer.
func (n *Node) refused() (some, all bool) {
	known := false
	for _, id := range n.book.nodes(n.id.Node) {
		ctx, cancel := context.WithTimeout(n.ctx, helloTimeout)
		_, err := n.link.Call(ctx, id, kindHello, controllerGroup, nil)
		cancel()
		some = some || errors.Is(err, link.ErrStranger)
		known = known || err == nil
	}
	return some, some && !known
}
