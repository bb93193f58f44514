package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// Recovery is what recovering a partition means: everything beyond the survivor's
// log is given up, and the replicas of before with it. Without a survivor the
// partition is founded anew, empty: all its teams and submissions are gone.
type Recovery struct {
	Partition fsm.PartitionID
	Survivor  fsm.Replica
	Last      uint64        // index of the newest entry that the survivor has
	Founder   fsm.NodeID    // where it is founded anew; empty: there is a survivor
	GivenUp   []fsm.Replica // voters that are not the survivor
	Epoch     uint64        // of the row it was planned from
}

// PlanRecovery says what recovering partitions would mean; of all that have lost
// their majority if none is named. It refuses (Conflict) a partition that has a
// leader or could elect one, and one of which nothing is left as long as somebody
// might have something; if none is named, it leaves those out as long as there are
// others.
func (n *Node) PlanRecovery(ctx context.Context, ids []fsm.PartitionID) ([]Recovery, error) {
	if err := n.control.catchUp(ctx); err != nil {
		return nil, err
	}
	heard, err := n.reports.view(ctx)
	if err != nil {
		return nil, readError(err)
	}
	st := n.control.state()
	down := map[fsm.NodeID]bool{}
	for _, m := range st.Members() {
		down[m.ID] = m.State != controller.Alive
	}
	named := len(ids) > 0
	if !named {
		for _, row := range st.Partitions() {
			ids = append(ids, row.ID)
		}
	}
	var plan []Recovery
	var gone error // why some have no survivor
	for _, id := range ids {
		row, ok := st.Partition(id)
		if !ok {
			return nil, fsm.Errorf(fsm.NotFound, "there is no partition %d", id)
		}
		if why := hope(row, heard, down); why == "" {
			r, err := planRecovery(row, heard)
			if errors.Is(err, errNothingLeft) {
				r, err = planRefounding(row, st, heard)
			}
			switch {
			case err == nil:
				plan = append(plan, r)
			case named:
				return nil, err
			default: // the others need not wait for it
				gone = err
			}
		} else if named {
			return nil, fsm.Errorf(fsm.Conflict, "partition %d %s; nothing needs to be given up", id, why)
		}
	}
	if len(plan) == 0 {
		return nil, gone
	}
	return plan, nil
}

// hope says why a partition may go on without a loss; empty: it cannot. A voter
// counts if it runs, or may run on a node of which that is not known.
func hope(row controller.Partition, heard map[fsm.NodeID]heard, down map[fsm.NodeID]bool) string {
	if led, ok := leaders(heard)[row.ID]; ok && !row.GivenUp(led.Replica) {
		return "has a leader"
	}
	if row.Base > 0 && slices.ContainsFunc(row.Target, func(t controller.TargetReplica) bool { return t.Replica == row.Adopter() }) &&
		!down[row.Adopt.Node] && runs(heard[row.Adopt.Node], row.Adopt) {
		return "is being recovered"
	}
	if !row.Founded && !down[orDefault(row.Refounder().Node, row.Preferred)] {
		return "is being founded"
	}
	voters := voters(row, heard)
	live := 0
	for _, v := range voters {
		h, told := heard[v.Node]
		fresh := told && h.Age < aliveFor
		if !down[v.Node] && (!fresh || runs(h, v)) {
			live++
		}
	}
	if live > len(voters)/2 {
		return "has a majority of its voters, or is waiting for nodes that are not down yet"
	}
	return ""
}

// runs reports whether a node told of a replica.
func runs(h heard, name fsm.Replica) bool {
	return slices.ContainsFunc(h.Report.Replicas, func(r replicaReport) bool { return r.Replica == name })
}

// errNothingLeft means that no node that is up has anything of a partition.
var errNothingLeft = errors.New("nothing is left")

// planRecovery chooses the survivor: the voter with the log that an election
// would prefer (Raft, section 5.4.1); errNothingLeft if there is none.
func planRecovery(row controller.Partition, heard map[fsm.NodeID]heard) (Recovery, error) {
	var best replicaReport
	for _, h := range heard {
		for _, r := range h.Report.Replicas {
			if r.Partition != row.ID || h.Age >= aliveFor || r.Last == 0 || row.GivenUp(r.Replica) {
				continue
			}
			longer := r.LastTerm > best.LastTerm || r.LastTerm == best.LastTerm && r.Last > best.Last
			same := r.LastTerm == best.LastTerm && r.Last == best.Last
			if longer || same && r.Replica.Incarnation < best.Replica.Incarnation {
				best = r
			}
		}
	}
	if best.Replica.IsZero() {
		return Recovery{}, errNothingLeft
	}
	out := Recovery{Partition: row.ID, Survivor: best.Replica, Last: best.Last, Epoch: row.Epoch}
	for _, v := range voters(row, heard) {
		if v != best.Replica {
			out.GivenUp = append(out.GivenUp, v)
		}
	}
	return out, nil
}

// Recover carries a plan out and returns once the partitions have leaders.
// Conflict: something changed since it was made, and nothing was done.
func (n *Node) Recover(ctx context.Context, plan []Recovery) error {
	if len(plan) == 0 {
		return nil
	}
	cmd, anew := &controller.Recover{}, &controller.Refound{}
	for _, r := range plan {
		if r.Founder != "" {
			n.log.Warn("a partition of which nothing is left is founded anew", "partition", r.Partition, "founder", r.Founder, "given_up", fmt.Sprint(r.GivenUp))
			anew.Partitions = append(anew.Partitions, controller.Refounding{Partition: r.Partition, Epoch: r.Epoch, Node: r.Founder})
			continue
		}
		n.log.Warn("a partition is recovered with loss", "partition", r.Partition, "survivor", r.Survivor, "last", r.Last, "given_up", fmt.Sprint(r.GivenUp))
		cmd.Partitions = append(cmd.Partitions, controller.Recovery{Partition: r.Partition, Epoch: r.Epoch, Survivor: r.Survivor})
	}
	if len(cmd.Partitions) > 0 {
		if _, err := n.control.propose(ctx, cmd); err != nil {
			return err
		}
	}
	if len(anew.Partitions) > 0 {
		if _, err := n.control.propose(ctx, anew); err != nil {
			return err
		}
	}
	for attempt := 0; ; attempt++ {
		v, err := n.View(ctx)
		if err == nil && !slices.ContainsFunc(plan, func(r Recovery) bool { return v.Partitions[r.Partition].State == quorumLost }) {
			return nil
		}
		if !pause(ctx, 4+attempt) {
			return fsm.Errorf(fsm.OutcomeUnknown, "the recovery is decided, and not every survivor leads yet: look at the partitions' state")
		}
	}
}

// dropGivenUp ends the replicas here of histories that were given up, but for
// those whose data is to be adopted.
func (n *Node) dropGivenUp(st *controller.State) {
	gone := n.replicas.damage()
	for _, r := range n.replicas.all() {
		gone[r.id] = r.group.Replica()
	}
	for p, name := range gone {
		if row, _ := st.Partition(p); row.GivenUp(name) && name != row.Adopt {
			n.dropReplica(p, "its partition was recovered without this replica; what only this one had is lost")
		}
	}
}

// adopt makes the replica here whose data is adopted the beginning of its
// partition's new history.
func (n *Node) adopt(row controller.Partition) {
	began := time.Now()
	if err := n.replicas.adopt(row.ID, row.Adopt, row.Adopter()); err != nil {
		n.log.Error("recovering a partition failed, trying again", "partition", row.ID, "from", row.Adopt, "as", row.Adopter(), "err", err)
		return
	}
	n.log.Warn("a partition goes on from this node's replica", "partition", row.ID, "from", row.Adopt, "as", row.Adopter(), "took", time.Since(began))
}

// serving returns this node's replica of a partition, nil if it has none that
// may answer: before the table here was current once, it could be of a history
// that was given up while this node was away; and before the log says that the
// partition is founded, it could have to be founded again.
func (n *Node) serving(p fsm.PartitionID) *replica {
	if row, ok := n.control.state().Partition(p); !ok || !row.Founded || !n.caughtUp.Load() {
		return nil
	}
	return n.replicas.get(p)
}
