package cluster

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"cairn/cluster/group"
	"cairn/fsm"
	"cairn/fsm/controller"
)

// keepEvery is how often the keeper looks without being told.
const keepEvery = time.Second

// keep brings this node to what the controller's state wishes of it: addresses,
// replicas that are to run here, replicas that are to go. It looks after every
// change of the state and every keepEvery.
func (n *Node) keep() {
	if !n.announce() || !n.current() {
		return
	}
	n.forgetAside()
	n.dropGivenUp(n.control.state())
	n.caughtUp.Store(true)
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	compared := false
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-n.moved:
		case <-tick.C:
		}
		st := n.control.state()
		if !st.Founded() || n.stopping.Load() {
			continue
		}
		if !compared {
			n.compareSettings(st)
			n.replicas.used.recover(st)
			compared = true
		}
		n.keepMembers(st)
		n.keepReplicas(st)
	}
}

// current waits until this node's copy of the state has everything that was
// committed when it started. A node that comes back replays its log from the
// beginning: it must not act on what was wished long ago. False: the node stops.
func (n *Node) current() bool {
	for attempt := 0; ; attempt++ {
		if n.control.catchUp(n.ctx) == nil {
			return true
		}
		if !pause(n.ctx, attempt) {
			return false
		}
	}
}

// compareSettings warns of flags that ask for something else than the cluster
// was founded with: they change nothing.
func (n *Node) compareSettings(st *controller.State) {
	warn := func(flag string, asked, is any) {
		n.log.Warn("a setting of the cluster was fixed at its founding; the flag is ignored", "flag", flag, "asked", asked, "is", is)
	}
	if p := n.conf.Partitions; p != 0 && p != len(st.Partitions()) {
		warn("--partitions", p, len(st.Partitions()))
	}
	for flag, pair := range map[string][2]time.Duration{
		"--node-timeout":   {n.conf.NodeTimeout, time.Duration(st.Settings().NodeTimeout) * time.Microsecond},
		"--reassign-after": {n.conf.ReassignAfter, time.Duration(st.Settings().ReassignAfter) * time.Microsecond},
	} {
		if pair[0] != 0 && pair[0] != pair[1] {
			warn(flag, pair[0], pair[1])
		}
	}
}

func (n *Node) keepMembers(st *controller.State) {
	gone, err := n.book.update(st)
	if err != nil {
		n.conf.Fatal(err)
	}
	for _, id := range gone {
		n.link.Drop(id)
	}
}

// keepReplicas starts what the table wishes here and does not run, and drops
// what runs and is proven to be no longer wanted.
func (n *Node) keepReplicas(st *controller.State) {
	wished := map[fsm.PartitionID]fsm.Replica{}
	for _, row := range st.Partitions() {
		for _, t := range row.Target {
			if t.Replica.Node == n.id.Node && row.Founded {
				wished[row.ID] = t.Replica
			}
		}
	}
	n.dropGivenUp(st)
	for p, damaged := range n.replicas.damage() {
		row, _ := st.Partition(p)
		if wished[p].Incarnation > damaged.Incarnation || wished[p].IsZero() && n.excluded(row, damaged) {
			n.dropReplica(p, "its data is damaged and it has a successor")
		}
	}
	for _, r := range n.replicas.all() {
		name := r.group.Replica()
		row, _ := st.Partition(r.id)
		switch {
		case name == row.Adopt:
			n.adopt(row)
		case wished[r.id] == name:
			n.unwedge(r)
		case row.Founded && n.excluded(row, name):
			n.dropReplica(r.id, "a committed configuration excludes it")
		}
	}
	for _, row := range st.Partitions() {
		if !row.Founded && row.Refounder().Node == n.id.Node {
			n.refound(row)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(wished)) {
		if n.replicas.get(p) == nil && n.replicas.damage()[p].IsZero() {
			row, _ := st.Partition(p)
			n.startReplica(row, wished[p])
		}
	}
}

// startReplica starts a replica that does not run here.
func (n *Node) startReplica(row controller.Partition, name fsm.Replica) {
	if name == row.Adopter() {
		n.adopt(row) // it must not begin empty
		return
	}
	n.log.Info("starting a replica", "partition", row.ID, "replica", name)
	if _, err := n.replicas.create(row.ID, name); err != nil {
		n.log.Error("starting a replica failed, trying again", "partition", row.ID, "err", err)
	}
}

// unwedge restarts a group that a leadership transfer keeps from writing.
func (n *Node) unwedge(r *replica) {
	if !r.group.Wedged() {
		return
	}
	n.log.Error("a leadership transfer never ended; restarting the group", "group", r.group.Name())
	if err := n.replicas.restart(r); err != nil && n.ctx.Err() == nil {
		n.conf.Fatal(err)
	}
}

func (n *Node) dropReplica(p fsm.PartitionID, why string) {
	n.log.Info("deleting a replica", "partition", p, "why", why)
	if err := n.replicas.drop(p); err != nil {
		n.log.Error("deleting a replica failed, trying again", "partition", p, "err", err)
	}
}

// excluded reports whether the group's leader has a committed configuration
// without a replica. Only then may its data go: until then it may be one of
// the copies that an acknowledged entry counts on.
// A leader of a history that was given up says nothing.
func (n *Node) excluded(row controller.Partition, name fsm.Replica) bool {
	ctx, cancel := context.WithTimeout(n.ctx, attemptTimeout)
	defer cancel()
	conf, err := n.groupConfig(ctx, row.ID)
	if err != nil || slices.ContainsFunc(conf.Servers, func(s group.Server) bool { return row.GivenUp(s.Replica) }) {
		return false
	}
	_, in := conf.Has(name)
	return conf.Committed && !in
}

// sortedValues returns a map's values in order of its keys.
func sortedValues[K cmp.Ordered, V any](m map[K]V) []V {
	out := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}
