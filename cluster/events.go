package cluster

import (
	"time"

	"cairn/cluster/placement"
)

// Events is told what happens in a node; logs and metrics subscribe. A nil func
// is not called. They are called from many goroutines and must not block.
type Events struct {
	// Committed: an entry of n commands of a partition was committed here as
	// leader; its oldest command had waited that long.
	Committed func(n int, waited time.Duration)
	// Refused: a request was not admitted; reason is queue_full, deadline or rate.
	Refused func(reason string)
	// Forwarded: a request was sent to the node believed to lead; result is ok,
	// not_leader, unreachable, lost, refused, or cut_off: it was not sent, because
	// the node does not answer.
	Forwarded func(result string)
	// LeaderChanged: this node gained or lost leadership of a group.
	LeaderChanged func(group string, leads bool)
	// SnapshotTook: a snapshot of a group was written.
	SnapshotTook func(group string, took time.Duration)
	// Unresponsive: a member did not answer a call in time, or cannot be reached.
	Unresponsive func()
	// Reassigned: a partition's wished replicas or leader changed; reason is one
	// of ReassignReasons.
	Reassigned func(reason string)
	// Diverged: this node compared the replicas of a partition, and not all that
	// answered had the same state.
	Diverged func()
}

// ForwardResults, RefuseReasons and ReassignReasons are the closed sets of
// label values that Events uses.
var (
	ForwardResults  = []string{"ok", "not_leader", "unreachable", "lost", "refused", "cut_off"}
	RefuseReasons   = []string{"queue_full", "deadline", "rate"}
	ReassignReasons = []string{
		placement.ReasonRepair, placement.ReasonLeave, placement.ReasonJoin, placement.ReasonZone, placement.ReasonBalance, placement.ReasonLeader,
	}
)

func (e Events) withDefaults() Events {
	if e.Committed == nil {
		e.Committed = func(int, time.Duration) {}
	}
	if e.Refused == nil {
		e.Refused = func(string) {}
	}
	if e.Forwarded == nil {
		e.Forwarded = func(string) {}
	}
	if e.LeaderChanged == nil {
		e.LeaderChanged = func(string, bool) {}
	}
	if e.SnapshotTook == nil {
		e.SnapshotTook = func(string, time.Duration) {}
	}
	if e.Unresponsive == nil {
		e.Unresponsive = func() {}
	}
	if e.Reassigned == nil {
		e.Reassigned = func(string) {}
	}
	if e.Diverged == nil {
		e.Diverged = func() {}
	}
	return e
}
