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

// setTargets changes rows; kept are the replicas that nodes get back.
func (t *tx) setTargets(changes []TargetChange, kept []Kept) Result {
	if len(changes) == 0 {
		return reject(fsm.Invalid, "the command changes no partition")
	}
	rows := slices.Clone(t.partitions)
	for i := range changes {
		ch := &changes[i]
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
		if row.Base > 0 && !row.Founded {
			return reject(fsm.Conflict, "partition %d is being founded anew", ch.Partition)
		}
		if err := t.validTarget(ch); err != nil {
			return rejected(err)
		}
		row.Target = t.target(row, ch, kept)
		row.Preferred = ch.Preferred
		row.Epoch++
	}
	t.putTable(rows)
	return Result{Changed: true}
}

// target builds a new target: what the row has on a node stays, unless it is to
// be renewed; what it lacks is what the node gets back, or gets the next
// incarnation.
func (t *tx) target(row *Partition, ch *TargetChange, kept []Kept) []TargetReplica {
	wishes := slices.Clone(ch.Target)
	slices.SortFunc(wishes, func(a, b Wish) int { return cmp.Compare(a.Node, b.Node) })
	out := make([]TargetReplica, len(wishes))
	for i, w := range wishes {
		old := row.replicaOn(w.Node)
		back := slices.IndexFunc(kept, func(k Kept) bool { return k.Partition == row.ID && k.Replica.Node == w.Node })
		switch {
		case back >= 0:
			out[i] = TargetReplica{kept[back].Replica, w.Voter}
		case old == nil || slices.Contains(ch.Renew, w.Node):
			out[i] = TargetReplica{fsm.Replica{Node: w.Node, Incarnation: t.replica()}, w.Voter}
		default:
			out[i] = TargetReplica{old.Replica, w.Voter}
		}
	}
	return out
}

func (t *tx) giveBack(c *GiveBack) Result {
	for i, k := range c.Keep {
		if slices.ContainsFunc(c.Keep[:i], func(o Kept) bool {
			return o.Replica.Incarnation == k.Replica.Incarnation || o.Partition == k.Partition && o.Replica.Node == k.Replica.Node
		}) {
			return reject(fsm.Invalid, "replica %s is given back twice, or its node gets two", k.Replica)
		}
		if err := t.mayKeep(c.Changes, k); err != nil {
			return rejected(err)
		}
	}
	return t.setTargets(c.Changes, c.Keep)
}

// mayKeep checks one replica that is to be given back.
func (t *tx) mayKeep(changes []TargetChange, k Kept) *fsm.Error {
	if int(k.Partition) >= len(t.partitions) {
		return errNoPartition(k.Partition)
	}
	row := &t.partitions[k.Partition]
	i := slices.IndexFunc(changes, func(ch TargetChange) bool { return ch.Partition == k.Partition })
	switch {
	case i < 0 || !slices.ContainsFunc(changes[i].Target, func(w Wish) bool { return w.Node == k.Replica.Node }) ||
		slices.Contains(changes[i].Renew, k.Replica.Node) || row.wishes(k.Replica.Node):
		return fsm.Errorf(fsm.Invalid, "replica %s of partition %d is given back to a node that is to have another, or none", k.Replica, k.Partition)
	case k.Replica.Incarnation == 0 || k.Replica.Incarnation >= t.nextReplica || row.GivenUp(k.Replica):
		return fsm.Errorf(fsm.Invalid, "replica %s of partition %d has never run, or was given up", k.Replica, k.Partition)
	case t.taken(k.Replica.Incarnation):
		return fsm.Errorf(fsm.Conflict, "replica %s of partition %d is another's incarnation", k.Replica, k.Partition)
	}
	return nil
}

// taken reports whether a member or a target has an incarnation.
func (t *tx) taken(incarnation uint64) bool {
	for _, m := range t.members.all() {
		if m.Incarnation == incarnation {
			return true
		}
	}
	return slices.ContainsFunc(t.partitions, func(p Partition) bool {
		return slices.ContainsFunc(p.Target, func(r TargetReplica) bool { return r.Replica.Incarnation == incarnation })
	})
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

func (t *tx) markFounded(c *MarkFounded) Result {
	rows := slices.Clone(t.partitions)
	changed := false
	for _, id := range c.Partitions {
		if int(id) >= len(rows) {
			return rejected(errNoPartition(id))
		}
		row := &rows[id]
		if row.Base > 0 && !row.Founded {
			return reject(fsm.Conflict, "partition %d is being founded anew, by %s", id, row.Refounder())
		}
		if !row.Founded {
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
