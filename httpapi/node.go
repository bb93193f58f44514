package httpapi

import (
	"context"
	"slices"

	"cairn/cluster"
	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/httpapi/rest"
)

// Node is a cluster.Node as the handlers' Cluster: the game, the catalogue and
// the tokens are the node's own methods, the operator's view is put into the
// API's words here.
type Node struct{ *cluster.Node }

var _ Cluster = Node{}

// Routing tells where the leaders are.
func (n Node) Routing(context.Context) (*rest.Routing, error) {
	version, routes := n.Routes()
	out := &rest.Routing{Version: version, SlotFunction: fsm.SlotVersion, Partitions: []rest.RoutePartition{}}
	for _, r := range routes {
		out.Partitions = append(out.Partitions, rest.RoutePartition{
			ID: r.ID, Slots: [2]fsm.Slot{r.Range.First, r.Range.Last}, Leader: r.HTTP,
		})
	}
	return out, nil
}

// Cluster is the cluster at a glance.
func (n Node) Cluster(ctx context.Context) (*rest.Cluster, error) {
	v, err := n.View(ctx)
	if err != nil {
		return nil, err
	}
	out := &rest.Cluster{
		ID: v.State.Cluster(), FeatureLevel: v.State.Level(), ControllerLeader: v.Leader, Nodes: []rest.Node{},
		Partitions: len(v.Partitions), TableVersion: v.State.TableVersion(), Hunts: len(v.State.Hunts()),
	}
	for _, m := range v.Nodes {
		if m.ID == n.ID() {
			out.Version = m.Version
		}
		out.Nodes = append(out.Nodes, restNode(m))
	}
	return out, nil
}

func restNode(m cluster.NodeView) rest.Node {
	out := rest.Node{
		ID: m.ID, Name: m.Name, Address: m.Address, HTTP: m.HTTP, Zone: m.Zone,
		State: m.Status, Controller: m.Controller, Version: m.Version,
	}
	if m.Duty != controller.Serving {
		out.Duty = m.Duty.String()
	}
	out.Slow = m.Slow
	if m.Heard {
		out.Load = &rest.Load{
			Replicas: m.Replicas, Leading: m.Leading, CPU: m.CPU, QueueDepth: m.Queue, AgeMS: m.Age.Milliseconds(),
		}
	}
	return out
}

// Drain, Undrain, Leave and Remove change what is wanted of a node.
func (n Node) Drain(ctx context.Context, node string) (*rest.Node, error) {
	return n.change(ctx, node, func(id fsm.NodeID) error { return n.Node.Drain(ctx, id, true) })
}

func (n Node) Undrain(ctx context.Context, node string) (*rest.Node, error) {
	return n.change(ctx, node, func(id fsm.NodeID) error { return n.Node.Drain(ctx, id, false) })
}

func (n Node) Leave(ctx context.Context, node string) (*rest.Node, error) {
	return n.change(ctx, node, func(id fsm.NodeID) error { return n.Node.Leave(ctx, id) })
}

func (n Node) Remove(ctx context.Context, node string) (*rest.Node, error) {
	return n.change(ctx, node, func(id fsm.NodeID) error { return n.Node.Remove(ctx, id) })
}

func (n Node) change(ctx context.Context, node string, do func(fsm.NodeID) error) (*rest.Node, error) {
	m, err := n.Find(ctx, node)
	if err != nil {
		return nil, err
	}
	if err := do(m.ID); err != nil {
		return nil, err
	}
	v, err := n.View(ctx)
	if err != nil {
		return nil, err
	}
	for _, m2 := range v.Nodes {
		if m2.ID == m.ID {
			out := restNode(m2)
			return &out, nil
		}
	}
	return nil, fsm.Errorf(fsm.NotFound, "there is no node %s any more", m.Name)
}

// Transfer hands a partition to a node.
func (n Node) Transfer(ctx context.Context, p fsm.PartitionID, to string) (*rest.Partition, error) {
	m, err := n.Find(ctx, to)
	if err != nil {
		return nil, err
	}
	if err := n.Node.Transfer(ctx, p, m.ID); err != nil {
		return nil, err
	}
	v, err := n.View(ctx)
	if err != nil {
		return nil, err
	}
	row := restPartition(v.Partitions[p])
	return &row, nil
}

// Recover recovers partitions with loss, or says what that would give up.
func (n Node) Recover(ctx context.Context, partitions []fsm.PartitionID, accept bool) (*rest.Recoveries, error) {
	plan, err := n.PlanRecovery(ctx, partitions)
	if err != nil {
		return nil, err
	}
	out := &rest.Recoveries{Done: accept, Recoveries: []rest.Recovery{}}
	for _, r := range plan {
		rec := rest.Recovery{Partition: r.Partition, Survivor: r.Survivor.Node, Last: r.Last, GivenUp: []fsm.NodeID{}}
		for _, g := range r.GivenUp {
			rec.GivenUp = append(rec.GivenUp, g.Node)
		}
		slices.Sort(rec.GivenUp)
		out.Recoveries = append(out.Recoveries, rec)
	}
	if !accept {
		return out, nil
	}
	return out, n.Node.Recover(ctx, plan)
}

// Checkpoint compares the states of partitions' replicas.
func (n Node) Checkpoint(ctx context.Context, partitions []fsm.PartitionID) (*rest.Checkpoints, error) {
	all, err := n.Node.Checkpoint(ctx, partitions)
	if err != nil {
		return nil, err
	}
	out := &rest.Checkpoints{Partitions: []rest.Checkpoint{}}
	for i := range all {
		out.Partitions = append(out.Partitions, restCheckpoint(&all[i]))
	}
	return out, nil
}

func restCheckpoint(c *cluster.Comparison) rest.Checkpoint {
	out := rest.Checkpoint{ID: c.Partition, Index: c.Index, Agree: c.Agree(), Replicas: []rest.ReplicaHash{}}
	if c.Err != nil {
		out.Detail = c.Err.Error()
	}
	for _, r := range c.Replicas {
		out.Replicas = append(out.Replicas, rest.ReplicaHash(r))
	}
	return out
}

// Partitions lists the partitions as they are and as they are wished.
func (n Node) Partitions(ctx context.Context) (*rest.Partitions, error) {
	v, err := n.View(ctx)
	if err != nil {
		return nil, err
	}
	out := &rest.Partitions{Partitions: []rest.Partition{}}
	for _, p := range v.Partitions {
		out.Partitions = append(out.Partitions, restPartition(p))
	}
	return out, nil
}

func restPartition(p cluster.PartitionView) rest.Partition {
	row := rest.Partition{
		ID: p.ID, Slots: [2]fsm.Slot{p.Range.First, p.Range.Last}, Epoch: p.Epoch, Leader: p.Leader,
		Preferred: p.Preferred, State: p.State, Replicas: []rest.ReplicaInfo{}, Target: []fsm.NodeID{},
	}
	for _, m := range p.Members {
		role := "non_voter"
		if m.Voter {
			role = "voter"
		}
		row.Replicas = append(row.Replicas, rest.ReplicaInfo{Node: m.Node, Role: role, Applied: m.Applied, CaughtUp: m.CaughtUp})
	}
	for _, t := range p.Target {
		row.Target = append(row.Target, t.Replica.Node)
	}
	return row
}

// Snapshots lists the register.
func (n Node) Snapshots(ctx context.Context) (*rest.Snapshots, error) {
	list, err := n.Register(ctx)
	if err != nil {
		return nil, err
	}
	out := &rest.Snapshots{Snapshots: []rest.Snapshot{}}
	for _, s := range list {
		out.Snapshots = append(out.Snapshots, restSnapshot(s))
	}
	return out, nil
}

func restSnapshot(s controller.Snapshot) rest.Snapshot {
	return rest.Snapshot{
		Partition: s.Partition, Node: s.Replica.Node, Index: s.Index, Term: s.Term, Size: s.Size, Taken: s.Taken,
	}
}

// Live and Ready are the node's checks.
func (n Node) Live() []rest.Check  { return restChecks(n.Node.Live()) }
func (n Node) Ready() []rest.Check { return restChecks(n.Node.Ready()) }

func restChecks(list []cluster.Check) []rest.Check {
	out := make([]rest.Check, len(list))
	for i, c := range list {
		out[i] = rest.Check{Name: c.Name, OK: c.OK, Detail: c.Detail}
	}
	return out
}
