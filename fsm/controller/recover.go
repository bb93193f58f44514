package controller

import (
	"slices"

	"cairn/fsm"
)

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

func (t *tx) refound(c *Refound) Result {
	if len(c.Partitions) == 0 {
		return reject(fsm.Invalid, "the command founds no partition")
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
			return reject(fsm.Conflict, "partition %d is at epoch %d, its founding was planned from %d: look again", r.Partition, row.Epoch, r.Epoch)
		case !row.Founded && row.Base == 0:
			return reject(fsm.Conflict, "partition %d is not founded yet", r.Partition)
		}
		if err := t.mayRefound(row, r.Node); err != nil {
			return rejected(err)
		}
		row.Base, row.Adopt, row.Founded = t.replica(), fsm.Replica{Node: r.Node}, false
		row.Target = []TargetReplica{{Replica: row.Refounder(), Voter: true}}
		row.Preferred = r.Node
		row.Epoch++
		t.snapshots = t.snapshots.without(row.ID) // of the old history
	}
	t.putTable(rows)
	return Result{Changed: true}
}

// mayRefound refuses as long as somebody may have something of the partition, and
// a node that could not begin.
func (t *tx) mayRefound(row *Partition, node fsm.NodeID) *fsm.Error {
	for _, r := range row.Target {
		if m := t.members.get(r.Replica.Node); m != nil && m.State == Alive {
			return fsm.Errorf(fsm.Conflict, "partition %d is wished on node %s, which is alive: it is not founded anew while it may have a replica", row.ID, m.Name)
		}
	}
	m, err := t.present(node)
	if err == nil && m.State != Alive {
		err = fsm.Errorf(fsm.Conflict, "node %s is %s: it cannot found partition %d", m.Name, m.State, row.ID)
	}
	return err
}

func (t *tx) refounded(c *Refounded) Result {
	if int(c.Partition) >= len(t.partitions) {
		return rejected(errNoPartition(c.Partition))
	}
	rows := slices.Clone(t.partitions)
	row := &rows[c.Partition]
	switch {
	case c.Replica.IsZero() || row.Refounder() != c.Replica:
		return reject(fsm.Conflict, "replica %s does not found partition %d anew", c.Replica, c.Partition)
	case row.Founded:
		return Result{}
	}
	row.Founded = true
	row.Epoch++
	t.putTable(rows)
	return Result{Changed: true}
}
