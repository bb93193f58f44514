package cluster

import (
	"slices"
	"time"

	"cairn/cluster/placement"
	"cairn/fsm"
	"cairn/fsm/controller"
)

// place has the controller's leader change the table when the members call for
// it, say goodbye to those who have nothing left, and raise the feature level.
func (n *Node) place() {
	tick := time.NewTicker(reconcileEvery)
	defer tick.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
		st := n.control.state()
		if !n.control.group.Leads() || !st.Founded() || n.stopping.Load() {
			continue
		}
		if !n.watcher.unsure() {
			n.placeOnce(st, time.Now())
		}
		n.farewells(st)
		n.raiseLevel(st)
	}
}

func (n *Node) placeOnce(st *controller.State, now time.Time) {
	table := st.Partitions()
	for _, row := range table {
		if !row.Founded {
			return // the founder is still at it
		}
	}
	reports := n.reports.list()
	if renew := renewals(table, reports); len(renew) > 0 {
		n.commitTargets(renew)
		return
	}
	n.commitTargets(placement.Plan(n.placementView(st, reports, now)))
}

// placementView is the cluster as the planner sees it.
func (n *Node) placementView(st *controller.State, reports map[fsm.NodeID]heard, now time.Time) placement.View {
	table := st.Partitions()
	v := placement.View{
		Table: table, Replicas: n.conf.Replicas, Lost: make([]bool, len(table)), Moving: make([]bool, len(table)), Rate: make([]float64, len(table)),
	}
	unfit := n.watcher.unfit()
	up := map[fsm.NodeID]bool{}
	patience := time.Duration(st.Settings().ReassignAfter) * time.Microsecond
	for _, m := range st.Members() {
		if m.State == controller.Left {
			continue
		}
		down := m.State == controller.Down
		up[m.ID] = !down
		v.Nodes = append(v.Nodes, placement.Node{
			ID: m.ID, Zone: m.Zone, Leaving: m.Duty == controller.Leaving,
			Dead: down && (m.Duty == controller.Leaving || now.Sub(m.Since.Std()) >= patience),
			Shun: down || m.Duty == controller.Draining || unfit[m.ID],
			CPU:  reports[m.ID].Report.CPU,
		})
	}
	led, rates := leaders(reports), rates(reports)
	for i, row := range table {
		v.Rate[i] = rates[row.ID]
		r, ok := led[row.ID]
		if !ok {
			v.Lost[i] = !majority(voters(row, reports), up)
			v.Moving[i] = true // nobody says that it is not
			continue
		}
		v.Moving[i] = !sameMembers(r.Members, row.Target)
	}
	return v
}

// leaders returns what the leader of each partition last told, if that is fresh:
// of two who believe to lead, the one in the later term.
func leaders(reports map[fsm.NodeID]heard) map[fsm.PartitionID]replicaReport {
	led := map[fsm.PartitionID]replicaReport{}
	for _, h := range reports {
		for _, r := range h.Report.Replicas {
			if was, ok := led[r.Partition]; r.Leads && h.Age < aliveFor && (!ok || r.Term > was.Term) {
				led[r.Partition] = r
			}
		}
	}
	return led
}

// rates returns the events a second of each partition: every replica applies
// them all, so the highest account is that of one which was there all the time,
// whoever led.
func rates(reports map[fsm.NodeID]heard) map[fsm.PartitionID]float64 {
	out := map[fsm.PartitionID]float64{}
	for _, h := range reports {
		for _, r := range h.Report.Replicas {
			if h.Age < aliveFor {
				out[r.Partition] = max(out[r.Partition], r.Rate)
			}
		}
	}
	return out
}

// voters returns the voters of a group without a leader: those of the newest
// configuration that a member tells of, for the table may wish others already;
// those that the table wishes if no member tells.
func voters(row controller.Partition, reports map[fsm.NodeID]heard) []fsm.Replica {
	var newest replicaReport
	for _, h := range reports {
		for _, r := range h.Report.Replicas {
			if r.Partition == row.ID && !row.GivenUp(r.Replica) && h.Age < aliveFor && len(r.Voters) > 0 && r.Config >= newest.Config {
				newest = r
			}
		}
	}
	if len(newest.Voters) > 0 {
		return newest.Voters
	}
	var wished []fsm.Replica
	for _, t := range row.Target {
		if t.Voter {
			wished = append(wished, t.Replica)
		}
	}
	return wished
}

// majority reports whether most voters are on nodes that are up.
func majority(voters []fsm.Replica, up map[fsm.NodeID]bool) bool {
	live := 0
	for _, r := range voters {
		if up[r.Node] {
			live++
		}
	}
	return live > len(voters)/2
}

// renewals are the rows whose replica on some node was reported damaged under
// the very name that the table wishes.
func renewals(table []controller.Partition, reports map[fsm.NodeID]heard) []placement.Change {
	damaged := map[fsm.Replica]bool{}
	for _, h := range reports {
		if h.Age > aliveFor {
			continue
		}
		for _, r := range h.Report.Damaged {
			damaged[r] = true
		}
	}
	var out []placement.Change
	for _, row := range table {
		c := controller.TargetChange{Partition: row.ID, Epoch: row.Epoch, Preferred: row.Preferred}
		for _, t := range row.Target {
			c.Target = append(c.Target, controller.Wish{Node: t.Replica.Node, Voter: t.Voter})
			if damaged[t.Replica] {
				c.Renew = append(c.Renew, t.Replica.Node)
			}
		}
		if len(c.Renew) > 0 {
			out = append(out, placement.Change{TargetChange: c, Reason: placement.ReasonRepair})
		}
	}
	return out
}

// targetsPerEntry keeps an entry of new targets far below the entry's limit.
const targetsPerEntry = 512

// commitTargets commits a plan: as one entry, unless it is beyond targetsPerEntry.
func (n *Node) commitTargets(changes []placement.Change) {
	for part := range slices.Chunk(changes, targetsPerEntry) {
		cmd := &controller.SetTargets{}
		reasons := map[string]int{}
		for _, c := range part {
			cmd.Changes = append(cmd.Changes, c.TargetChange)
			reasons[c.Reason]++
		}
		_, res, err := n.control.lead(cmd)
		if err == nil && res.Err != nil {
			err = res.Err
		}
		if err != nil {
			n.log.Warn("changing the table failed; planning again", "err", err)
			return
		}
		n.log.Info("the table changed", "partitions", len(part), "reasons", reasons)
		for _, c := range part {
			n.conf.Events.Reassigned(c.Reason)
		}
	}
}
