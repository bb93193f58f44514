package cluster

import (
	"strconv"
	"time"

	"cairn/cluster/admit"
	"cairn/cluster/health"
	"cairn/fsm/controller"
)

// NodeStates are the words for a member's state: a closed set of label values.
var NodeStates = []string{"alive", "suspect", "down", "draining", "left"}

// Gauges are a node's present figures, for metrics.
type Gauges struct {
	Replicas          []ReplicaGauges
	ControllerContact time.Duration // since the controller's leader was heard
	Partitions        int           // of the cluster
	TableVersion      uint64
	Nodes             map[string]int // members by state, every state present
	ClockOffset       time.Duration  // this node's clock against the controller leader's
	Messages, Bytes   uint64         // sent to other nodes so far
	Admission         admit.Stats
	CutOff            int // members to which no calls are made, because they do not answer
}

// ReplicaGauges are those of one replica here.
type ReplicaGauges struct {
	Partition, Group string
	Leads            bool
	Applied          uint64
	Depth            int
	Contact          time.Duration // since its leader was heard
}

// Gauges reads the node's present figures.
func (n *Node) Gauges() Gauges {
	st := n.control.state()
	g := Gauges{
		ControllerContact: time.Since(n.control.group.LastContact()),
		Partitions:        len(st.Partitions()), TableVersion: st.TableVersion(),
		Nodes: map[string]int{}, ClockOffset: n.reports.clockOffset(),
	}
	g.Messages, g.Bytes = n.link.Sent()
	g.Admission, g.CutOff = n.gate.Stats(), n.peers.Count()
	for _, s := range NodeStates {
		g.Nodes[s] = 0
	}
	for _, m := range st.Members() {
		switch s, known := n.watcher.state(m.ID); {
		case known && m.State == controller.Alive && s == health.Suspect:
			g.Nodes["suspect"]++
		case m.State == controller.Alive && m.Duty != controller.Serving:
			g.Nodes["draining"]++
		default:
			g.Nodes[m.State.String()]++
		}
	}
	for _, r := range n.replicas.all() {
		g.Replicas = append(g.Replicas, ReplicaGauges{
			Partition: strconv.Itoa(int(r.id)), Group: r.group.Name(), Leads: r.group.Leads(),
			Applied: r.group.Applied(), Depth: r.queue.Depth(), Contact: time.Since(r.group.LastContact()),
		})
	}
	return g
}
