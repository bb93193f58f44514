package cluster

import (
	"strconv"
	"time"

	"cairn/fsm/controller"
)

// Gauges are a node's present figures, for metrics.
type Gauges struct {
	Replicas          []ReplicaGauges
	ControllerContact time.Duration // since the controller's leader was heard
	TableVersion      uint64
	Nodes             map[string]int // members by state, every state present
	ClockOffset       time.Duration  // this node's clock against the controller leader's
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
		ControllerContact: time.Since(n.control.group.LastContact()), TableVersion: st.TableVersion(),
		Nodes: map[string]int{}, ClockOffset: n.reports.clockOffset(),
	}
	for s := controller.Alive; s <= controller.Left; s++ {
		g.Nodes[s.String()] = 0
	}
	for _, m := range st.Members() {
		g.Nodes[m.State.String()]++
	}
	for _, r := range n.replicas.all() {
		g.Replicas = append(g.Replicas, ReplicaGauges{
			Partition: strconv.Itoa(int(r.id)), Group: r.group.Name(), Leads: r.group.Leads(),
			Applied: r.group.Applied(), Depth: r.queue.Depth(), Contact: time.Since(r.group.LastContact()),
		})
	}
	return g
}
