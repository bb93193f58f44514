package httpapi

import (
	"context"

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
	if m.Heard {
		out.Load = &rest.Load{
			Replicas: m.Replicas, Leading: m.Leading, CPU: m.CPU, QueueDepth: m.Queue, AgeMS: m.Age.Milliseconds(),
		}
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
		out.Partitions = append(out.Partitions, row)
	}
	return out, nil
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
