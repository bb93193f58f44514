package cluster

import (
	"context"
	"slices"
	"time"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// planRefounding chooses the node on which a partition is founded anew, empty,
// because nothing of it is left. Every member must be down by the log, or be heard
// and tell of no replica: whoever is neither may have one.
func planRefounding(row controller.Partition, st *controller.State, heard map[fsm.NodeID]heard) (Recovery, error) {
	if st.Level() < controller.LevelRefound {
		return Recovery{}, fsm.Errorf(fsm.Conflict, "nothing of partition %d is left, and it is only founded anew once every node speaks feature level %d: upgrade them", row.ID, controller.LevelRefound)
	}
	out := Recovery{Partition: row.ID, Epoch: row.Epoch}
	fewest := 0
	for _, m := range st.Members() {
		if m.State != controller.Alive {
			continue
		}
		h := heard[m.ID]
		switch {
		case h.Report.Node == "" || h.Age >= aliveFor:
			return Recovery{}, fsm.Errorf(fsm.Conflict, "node %s is not heard and does not count as down yet: it may have a replica of partition %d", m.Name, row.ID)
		case has(h, row):
			return Recovery{}, fsm.Errorf(fsm.Conflict, "node %s is up and has a replica of partition %d, though nothing is in it: stop it until it counts as down", m.Name, row.ID)
		case wishedOn(row, m.ID):
			return Recovery{}, fsm.Errorf(fsm.Conflict, "node %s is up and was to have a replica of partition %d, though it has none: stop it until it counts as down", m.Name, row.ID)
		case m.Duty != controller.Serving:
			continue
		}
		if n := len(h.Report.Replicas); out.Founder == "" || n < fewest {
			out.Founder, fewest = m.ID, n
		}
	}
	if out.Founder == "" {
		return Recovery{}, fsm.Errorf(fsm.Conflict, "no node is up and serves: nothing can be founded")
	}
	for _, t := range row.Target {
		out.GivenUp = append(out.GivenUp, t.Replica)
	}
	return out, nil
}

// has reports whether a node tells of a replica of a partition, whatever is in it.
func has(h heard, row controller.Partition) bool {
	damaged, ok := h.Report.Damaged[row.ID]
	return ok && !row.GivenUp(damaged) || slices.ContainsFunc(h.Report.Replicas, func(r replicaReport) bool {
		return r.Partition == row.ID && !row.GivenUp(r.Replica)
	})
}

func wishedOn(row controller.Partition, node fsm.NodeID) bool {
	return slices.ContainsFunc(row.Target, func(t controller.TargetReplica) bool { return t.Replica.Node == node })
}

// refound founds a partition anew on this node, as the table says, and has the log
// say that it is: until then nobody is answered from it. Every step is repeated
// after a crash. The name may be used for nothing twice, for what has never
// answered can have promised nothing.
func (n *Node) refound(row controller.Partition) {
	ctx, cancel := context.WithTimeout(n.ctx, attemptTimeout)
	defer cancel()
	began, name := time.Now(), row.Refounder()
	r, err := n.replicas.found(row.ID, name)
	if err == nil {
		err = r.group.Bootstrap()
	}
	if err == nil {
		err = r.initialise(ctx, row)
	}
	if err == nil {
		_, err = n.control.propose(ctx, &controller.Refounded{Partition: row.ID, Replica: name})
	}
	if err != nil {
		n.log.Error("founding a partition anew failed, trying again", "partition", row.ID, "as", name, "err", err)
		return
	}
	n.log.Warn("a partition was founded anew, with nothing in it", "partition", row.ID, "as", name, "took", time.Since(began))
}

// found opens the replica that founds a partition anew, empty unless it runs here
// already.
func (rs *replicas) found(p fsm.PartitionID, name fsm.Replica) (*replica, error) {
	if r := rs.get(p); r != nil && r.group.Replica() == name {
		return r, nil
	}
	if !rs.damage()[p].IsZero() {
		if err := rs.drop(p); err != nil {
			return nil, err
		}
	}
	if err := rs.used.note(p, name); err != nil {
		return nil, err
	}
	if err := rs.openOne(p, name, true); err != nil {
		return nil, err
	}
	return rs.get(p), nil
}
