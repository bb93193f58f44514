package controller

import (
	"cmp"
	"slices"

	"cairn/fsm"
)

// wishes reports whether the partition wishes a replica on a node.
func (p *Partition) wishes(node fsm.NodeID) bool { return p.replicaOn(node) != nil }

func (p *Partition) replicaOn(node fsm.NodeID) *TargetReplica {
	for i := range p.Target {
		if p.Target[i].Replica.Node == node {
			return &p.Target[i]
		}
	}
	return nil
}

func (t *tx) setTargets(c *SetTargets) Result {
	if len(c.Changes) == 0 {
		return reject(fsm.Invalid, "the command changes no partition")
	}
	rows := slices.Clone(t.partitions)
	for i := range c.Changes {
		ch := &c.Changes[i]
		if int(ch.Partition) >= len(rows) {
			return rejected(errNoPartition(ch.Partition))
		}
		row := &rows[ch.Partition]
		if row.Epoch != t.partitions[ch.Partition].Epoch {
			return reject(fsm.Invalid, "partition %d is named twice in one command", ch.Partition)
		}
		if row.Epoch != ch.Epoch {
			return reject(fsm.Conflict, "partition %d is at epoch %d, the change was planned from %d: plan again",
				ch.Partition, row.Epoch, ch.Epoch)
		}
		if err := t.validTarget(ch); err != nil {
			return rejected(err)
		}
		row.Target = t.target(row, ch)
		row.Preferred = ch.Preferred
		row.Epoch++
	}
	t.putTable(rows)
	return Result{Changed: true}
}

// target builds a new target: what the row has on a node stays, unless it is to
// be renewed; what it lacks gets the next incarnation.
func (t *tx) target(row *Partition, ch *TargetChange) []TargetReplica {
	wishes := slices.Clone(ch.Target)
	slices.SortFunc(wishes, func(a, b Wish) int { return cmp.Compare(a.Node, b.Node) })
	out := make([]TargetReplica, len(wishes))
	for i, w := range wishes {
		old := row.replicaOn(w.Node)
		if old == nil || slices.Contains(ch.Renew, w.Node) {
			out[i] = TargetReplica{fsm.Replica{Node: w.Node, Incarnation: t.replica()}, w.Voter}
		} else {
			out[i] = TargetReplica{old.Replica, w.Voter}
		}
	}
	return out
}

// validTarget checks a change but for its epoch. How many voters are wise is
// the planner's business.
func (t *tx) validTarget(ch *TargetChange) *fsm.Error {
	if n := len(ch.Target); n < 1 || n > MaxReplicas {
		return fsm.Errorf(fsm.Invalid, "partition %d: a target has 1 to %d replicas, not %d", ch.Partition, MaxReplicas, n)
	}
	leads := false
	for i, w := range ch.Target {
		if _, err := t.present(w.Node); err != nil {
			return fsm.Errorf(err.Kind, "partition %d: %s", ch.Partition, err.Msg)
		}
		if slices.ContainsFunc(ch.Target[:i], func(o Wish) bool { return o.Node == w.Node }) {
			return fsm.Errorf(fsm.Invalid, "partition %d: node %s is in the target twice", ch.Partition, w.Node)
		}
		leads = leads || w.Voter && w.Node == ch.Preferred
	}
	if !leads {
		return fsm.Errorf(fsm.Invalid, "partition %d: the preferred leader %.80q must be a voter of the target", ch.Partition, ch.Preferred)
	}
	for _, node := range ch.Renew {
		if !slices.ContainsFunc(ch.Target, func(w Wish) bool { return w.Node == node }) {
			return fsm.Errorf(fsm.Invalid, "partition %d: node %.80q is to be renewed and is not in the target", ch.Partition, node)
		}
	}
	return nil
}

func (t *tx) recover(c *Recover) Result {
	if len(c.Partitions) == 0 {
		return reject(fsm.Invalid, "the command recovers no partition")
	}
	rows := slices.Clone(t.partitions)
	for i := range c.Partitions {
		r := &c.Partitions[i]
		if int(r.Partition) >= len(rows) {
			return rejected(errNoPartition(r.Partition))
		}
		row := &rows[r.Partition]
		switch {
		case row.Epoch != t.partitions[r.Partition].Epoch:
			return reject(fsm.Invalid, "partition %d is named twice in one command", r.Partition)
		case row.Epoch != r.Epoch:
			return reject(fsm.Conflict, "partition %d is at epoch %d, its recovery was planned from %d: look again", r.Partition, row.Epoch, r.Epoch)
		case !row.Founded:
			return reject(fsm.Conflict, "partition %d is not founded yet", r.Partition)
		case r.Survivor.Incarnation == 0 || r.Survivor.Incarnation >= t.nextReplica || row.GivenUp(r.Survivor):
			return reject(fsm.Invalid, "replica %s of partition %d has never run, or was given up", r.Survivor, r.Partition)
		}
		if _, err := t.present(r.Survivor.Node); err != nil {
			return reject(err.Kind, "partition %d: %s", r.Partition, err.Msg)
		}
		row.Base, row.Adopt = t.replica(), r.Survivor
		row.Target = []TargetReplica{{Replica: row.Adopter(), Voter: true}}
		row.Preferred = r.Survivor.Node
		row.Epoch++
		t.snapshots = t.snapshots.without(row.ID) // of the old history
	}
	t.putTable(rows)
	return Result{Changed: true}
}

func (t *tx) markFounded(c *MarkFounded) Result {
	rows := slices.Clone(t.partitions)
	changed := false
	for _, id := range c.Partitions {
		if int(id) >= len(rows) {
			return rejected(errNoPartition(id))
		}
		if row := &rows[id]; !row.Founded {
			row.Founded = true
			row.Epoch++
			changed = true
		}
	}
	if changed {
		t.putTable(rows)
	}
	return Result{Changed: changed}
}

func (t *tx) putTable(rows []Partition) {
	t.partitions = rows
	t.tableVersion = t.version
}

func errNoPartition(id fsm.PartitionID) *fsm.Error {
	return fsm.Errorf(fsm.NotFound, "there is no partition %d", id)
}

// registerSnapshots keeps the newest snapshot of each partition.
func (t *tx) registerSnapshots(c *RegisterSnapshots) Result {
	changed := false
	for i := range c.Snapshots {
		s := c.Snapshots[i]
		switch {
		case int(s.Partition) >= len(t.partitions):
			return rejected(errNoPartition(s.Partition))
		case !validName(string(s.Replica.Node)) || s.Replica.Incarnation == 0 || s.Index == 0 || s.Size < 0 || s.Taken <= 0:
			return reject(fsm.Invalid, "the snapshot of partition %d lacks its replica, index, size or time", s.Partition)
		}
		if old := t.snapshots.get(s.Partition); old == nil || s.Index > old.Index {
			t.snapshots = t.snapshots.with(s.Partition, &s)
			changed = true
		}
	}
	return Result{Changed: changed}
}
