package cluster

import (
	"context"
	"slices"
	"time"

	"cairn/cluster/health"
	"cairn/fsm"
	"cairn/fsm/controller"
)

// View is the cluster at a glance, as the controller's leader sees it.
type View struct {
	State      *controller.State
	Leader     fsm.NodeID // of the controller
	Nodes      []NodeView
	Partitions []PartitionView
}

// NodeView is a member with what it last told.
type NodeView struct {
	controller.Member
	Status     string // alive, suspect, down, draining, left
	Slow       bool   // it leads nothing because its disk, CPU or clock is not fit
	Controller string // leader, voter, non_voter
	Heard      bool   // whether the rest is known
	Age        time.Duration
	CPU        float64 // cores
	Queue      int
	Replicas   int
	Leading    int
}

// PartitionView is a row of the table with what its leader told.
type PartitionView struct {
	controller.Partition
	Leader  fsm.NodeID
	State   string // ok, repairing, quorum_lost
	Members []MemberView
}

// quorumLost is the state of a partition without a leader.
const quorumLost = "quorum_lost"

// MemberView is one member of a group's configuration.
type MemberView struct {
	Node     fsm.NodeID
	Voter    bool
	Applied  uint64
	CaughtUp bool
}

// View collects the cluster's state. It needs the controller's leader.
func (n *Node) View(ctx context.Context) (*View, error) {
	if err := n.control.catchUp(ctx); err != nil {
		return nil, err
	}
	heard, err := n.reports.view(ctx)
	if err != nil {
		return nil, readError(err)
	}
	conf, err := n.control.group.Configuration()
	if err != nil {
		return nil, err
	}
	v := &View{State: n.control.state(), Leader: n.router.hint(controllerGroup)}
	if n.control.group.Leads() {
		v.Leader = n.id.Node
	}
	for _, m := range v.State.Members() {
		nv := viewNode(m, heard[m.ID])
		s, _ := conf.Has(fsm.Replica{Node: m.ID, Incarnation: m.Incarnation})
		switch {
		case m.ID == v.Leader:
			nv.Controller = "leader"
		case s.Voter:
			nv.Controller = "voter"
		default:
			nv.Controller = "non_voter"
		}
		v.Nodes = append(v.Nodes, nv)
	}
	for _, row := range v.State.Partitions() {
		v.Partitions = append(v.Partitions, viewPartition(row, heard))
	}
	return v, nil
}

// viewNode joins a member with its last report.
func viewNode(m controller.Member, h heard) NodeView {
	v := NodeView{Member: m, Heard: h.Report.Node != "", Age: h.Age, Slow: h.Unfit}
	v.CPU, v.Queue, v.Replicas = h.Report.CPU, h.Report.Queue, len(h.Report.Replicas)
	for _, r := range h.Report.Replicas {
		if r.Leads {
			v.Leading++
		}
	}
	v.Status = status(m, h)
	return v
}

// status is the API's word for a member: what the log says of it, and of one that
// is up what the failure detector sees now.
func status(m controller.Member, h heard) string {
	switch {
	case m.State != controller.Alive:
		return m.State.String()
	case h.Report.Node == "" || h.State != health.Alive:
		return max(h.State, health.Suspect).String()
	case m.Duty != controller.Serving:
		return "draining"
	}
	return m.State.String()
}

// viewPartition joins a row with the newest report of a leader of it.
func viewPartition(row controller.Partition, heard map[fsm.NodeID]heard) PartitionView {
	v := PartitionView{Partition: row, State: quorumLost}
	var leader replicaReport
	applied := map[fsm.Replica]uint64{}
	for id, h := range heard {
		for _, r := range h.Report.Replicas {
			if r.Partition != row.ID || row.GivenUp(r.Replica) {
				continue
			}
			applied[r.Replica] = r.Applied
			if r.Leads && h.Age < aliveFor && r.Term >= leader.Term {
				leader, v.Leader = r, id
			}
		}
	}
	for _, m := range leader.Members {
		v.Members = append(v.Members, MemberView{m.Replica.Node, m.Voter, applied[m.Replica], m.CaughtUp})
	}
	slices.SortFunc(v.Members, func(a, b MemberView) int { return slices.Compare([]byte(a.Node), []byte(b.Node)) })
	if v.Leader == "" {
		return v
	}
	v.State = "repairing"
	caught := !slices.ContainsFunc(v.Members, func(m MemberView) bool { return !m.CaughtUp })
	if caught && sameMembers(leader.Members, row.Target) {
		v.State = "ok"
	}
	return v
}

// Route is where a partition's leader serves clients, as far as is known here.
type Route struct {
	controller.Partition
	HTTP string
}

// Routes is the table for clients that go to the leader directly, and its version.
func (n *Node) Routes() (version uint64, routes []Route) {
	st := n.control.state()
	for _, row := range st.Partitions() {
		leader := n.router.hint(groupOf(row.ID))
		if r := n.replicas.get(row.ID); r != nil {
			leader = r.group.Leader().Node
		}
		m, _ := st.Member(orDefault(leader, row.Preferred))
		routes = append(routes, Route{row, m.HTTP})
	}
	return st.TableVersion(), routes
}

// Register is the register of hunt-state snapshots, as of now.
func (n *Node) Register(ctx context.Context) ([]controller.Snapshot, error) {
	if err := n.control.catchUp(ctx); err != nil {
		return nil, err
	}
	return n.control.state().Snapshots(), nil
}
