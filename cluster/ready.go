package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// Check is one named check of a node's health.
type Check struct {
	Name   string
	OK     bool
	Detail string
}

// lagging is how long a replica may have had no word from a leader and still
// count as caught up.
const lagging = 5 * time.Second

// Ready tells whether this node can serve: it knows the controller's leader and
// the present table, every replica that the table wishes here has what its
// leader has, its disk writes, its clock is right, and it is not draining, leaving or stopping. Whoever restarts nodes in
// turn waits for it: the next one may go when this one counts again.
func (n *Node) Ready() []Check {
	return []Check{
		check("controller", !n.control.group.Leader().IsZero(), "no leader of the controller is known"),
		check("table", n.caughtUp.Load(), "the present partition table has not arrived"),
		n.checkReplicas(),
		n.checkDisk(),
		check("clock", !n.reports.lastReply().ClockOff, fmt.Sprintf("this node's clock is off by more than %v: it leads nothing", maxClockSkew)),
		n.checkDuty(),
		check("stopping", !n.stopping.Load(), "the node is stopping"),
	}
}

func check(name string, ok bool, detail string) Check {
	if ok {
		detail = ""
	}
	return Check{name, ok, detail}
}

func (n *Node) checkDuty() Check {
	m, _ := n.control.state().Member(n.id.Node)
	return check("duty", m.Duty == controller.Serving, "the node is "+m.Duty.String())
}

func (n *Node) checkReplicas() Check {
	if d := n.replicas.damage(); len(d) > 0 {
		return check("replicas", false, fmt.Sprintf("%d replicas are damaged and being filled again", len(d)))
	}
	missing := 0
	for _, row := range n.control.state().Partitions() {
		for _, t := range row.Target {
			if t.Replica.Node == n.id.Node && !n.serves(row.ID, t) {
				missing++
			}
		}
	}
	return check("replicas", missing == 0, fmt.Sprintf("%d replicas are missing, being filled, or do not hear from a leader", missing))
}

// serves reports whether a replica that is wished here counts: it runs under its
// name, has its role in the group, and hears from a leader.
func (n *Node) serves(p fsm.PartitionID, wish controller.TargetReplica) bool {
	r := n.replicas.get(p)
	if r == nil || r.group.Replica() != wish.Replica || r.group.Leader().IsZero() || time.Since(r.group.LastContact()) > lagging {
		return false
	}
	conf, err := r.group.Configuration()
	if err != nil {
		return false
	}
	s, ok := conf.Has(wish.Replica)
	return ok && s.Voter == wish.Voter
}

// checkDisk writes a small file, with sync, at most once a second.
func (n *Node) checkDisk() Check {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if time.Since(n.disk.at) > time.Second {
		n.disk.err = n.conf.Dir.WriteFile("probe", []byte(time.Now().UTC().Format(time.RFC3339Nano)))
		n.disk.at = time.Now()
	}
	detail := ""
	if n.disk.err != nil {
		detail = n.disk.err.Error()
	}
	return check("disk", n.disk.err == nil, detail)
}

// diskProbe remembers the last probe of the disk.
type diskProbe struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// Live tells whether the process works at all: its locks can be taken and its
// controller replica answers.
func (n *Node) Live() []Check {
	ctx, cancel := context.WithTimeout(n.ctx, time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.replicas.all()
		n.control.state()
	}()
	select {
	case <-done:
		return []Check{check("process", true, "")}
	case <-ctx.Done():
		return []Check{check("process", false, "the node's locks cannot be taken")}
	}
}
