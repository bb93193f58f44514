package cluster

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"cairn/cluster/group"
	"cairn/cluster/placement"
	"cairn/fsm"
	"cairn/fsm/controller"
)

const (
	reconcileEvery   = 500 * time.Millisecond
	aliveFor         = 3 * time.Second  // a follower that answered so recently is alive
	steadyFor        = 4 * time.Second  // leadership goes to a follower that has answered for so long
	closeBehind      = 64               // entries behind the leader that count as caught up, of a log that has begun
	transferPause    = 10 * time.Second // before a group is handed over a second time; doubles
	maxTransferPause = 10 * time.Minute
	transferGap      = 100 * time.Millisecond // between any two hand-overs of this node
)

// reconcile brings every group that this node leads closer to what is wished,
// one step at a time. What was done is never remembered: each round looks at the
// committed configuration and plans again.
func (n *Node) reconcile() {
	tick := time.NewTicker(reconcileEvery)
	defer tick.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
		if n.stopping.Load() {
			continue
		}
		st := n.control.state()
		if !st.Founded() {
			continue
		}
		var round sync.WaitGroup
		round.Go(func() { n.stepController(st) })
		for _, row := range st.Partitions() {
			if r := n.replicas.get(row.ID); r != nil && r.group.Leads() && row.Founded {
				round.Go(func() { r.stepTowards(row) })
			}
		}
		round.Wait()
	}
}

// stepTowards takes steps as long as each of them changes something.
func (r *replica) stepTowards(row controller.Partition) {
	want := make([]placement.Want, len(row.Target))
	for i, t := range row.Target {
		want[i] = placement.Want{Replica: t.Replica, Voter: t.Voter}
	}
	for r.node.step(r.group, want, row.Preferred) {
	}
}

// stepController keeps everybody in the controller group, the right number of
// them as voters, and hands over if this node is not to lead.
func (n *Node) stepController(st *controller.State) {
	g := n.control.group
	if !g.Leads() {
		return
	}
	for {
		conf, err := g.Configuration()
		if err != nil {
			return
		}
		votes := func(r fsm.Replica) bool { s, ok := conf.Has(r); return ok && s.Voter }
		nodes := controllerNodes(st, n.watcher.unfit())
		if !n.step(g, placement.ControllerWant(nodes, votes), placement.ControllerPreferred(nodes, votes, g.Replica())) {
			return
		}
	}
}

// controllerNodes are the members as ControllerWant sees them.
func controllerNodes(st *controller.State, unfit map[fsm.NodeID]bool) []placement.ControllerNode {
	var nodes []placement.ControllerNode
	for _, m := range st.Members() {
		if m.State == controller.Left {
			continue
		}
		nodes = append(nodes, placement.ControllerNode{
			Replica: fsm.Replica{Node: m.ID, Incarnation: m.Incarnation}, Zone: m.Zone, Joined: m.Joined,
			Usable:  m.State == controller.Alive && m.Duty != controller.Leaving && !unfit[m.ID],
			Leaving: m.Duty == controller.Leaving,
			Shunned: m.Duty != controller.Serving || unfit[m.ID],
		})
	}
	return nodes
}

// step plans and takes one step of a group led here. It reports whether it
// changed the configuration, in which case there may be another one to take.
func (n *Node) step(g *group.Group, want []placement.Want, preferred fsm.NodeID) bool {
	s, view, err := nextStep(g, want, preferred)
	if err == nil && s.Action == placement.Transfer {
		if !n.awaitTransfer(g.ID(), s.Replica.Node) {
			return false
		}
		s, view, err = nextStep(g, want, preferred) // the wait was long enough for it to be otherwise
	}
	if err != nil || n.stopping.Load() || n.ctx.Err() != nil {
		return false
	}
	switch s.Action {
	case placement.AddNonvoter:
		err = g.AddNonvoter(s.Replica, view.ConfigIndex)
	case placement.Promote:
		err = g.AddVoter(s.Replica, view.ConfigIndex)
	case placement.Demote:
		err = g.Demote(s.Replica, view.ConfigIndex)
	case placement.Remove:
		err = g.Remove(s.Replica, view.ConfigIndex)
	case placement.Transfer:
		err = g.TransferTo(s.Replica)
	default:
		return false
	}
	if err != nil {
		n.log.Warn("a step of reconciliation failed; planning again", "group", g.Name(), "step", s.Action, "replica", s.Replica, "err", err)
		return false
	}
	n.log.Info("reconciled", "group", g.Name(), "step", s.Action, "replica", s.Replica, "why", s.Why)
	return s.Action != placement.Transfer
}

// nextStep looks at a group led here and plans one step.
func nextStep(g *group.Group, want []placement.Want, preferred fsm.NodeID) (placement.Step, placement.Group, error) {
	view, err := observe(g, want, preferred, time.Now())
	if err != nil {
		return placement.Step{}, view, err
	}
	return placement.Next(view), view, nil
}

// handed remembers the hand-overs of one group.
type handed struct {
	to    fsm.NodeID
	at    time.Time
	pause time.Duration // until the next to the same node
}

// awaitTransfer spaces hand-overs, so that this node's partitions do not all
// pause at once: it waits for this one's turn, and refuses if that is not within
// a round. And a group that came back is given to the same node again only after
// a pause that doubles, for whoever could not keep it may be ill.
func (n *Node) awaitTransfer(g uint32, to fsm.NodeID) bool {
	wait, ok := n.reserveTransfer(g, to, time.Now())
	if !ok {
		return false
	}
	select {
	case <-time.After(wait):
		return true
	case <-n.ctx.Done():
		return false
	}
}

func (n *Node) reserveTransfer(g uint32, to fsm.NodeID, now time.Time) (wait time.Duration, ok bool) {
	n.handMu.Lock()
	defer n.handMu.Unlock()
	last := n.handed[g]
	turn := n.handedAny.Add(transferGap)
	if turn.Before(now) {
		turn = now
	}
	if turn.Sub(now) > reconcileEvery || last.to == to && now.Sub(last.at) < last.pause {
		return 0, false
	}
	pause := min(max(transferPause, 2*last.pause), maxTransferPause)
	if last.to != to || now.Sub(last.at) > 2*maxTransferPause {
		pause = transferPause
	}
	n.handedAny, n.handed[g] = turn, handed{to, turn, pause}
	return turn.Sub(now), true
}

// observe is what the leader of a group knows of it, for placement.Next.
func observe(g *group.Group, want []placement.Want, preferred fsm.NodeID, now time.Time) (placement.Group, error) {
	conf, err := g.Configuration()
	if err != nil {
		return placement.Group{}, err
	}
	v := placement.Group{
		Self: g.Replica(), ConfigIndex: conf.Index, Committed: conf.Committed, Want: want, Preferred: preferred,
		Keep: g.ID() != controllerGroup,
	}
	last := g.Last()
	for _, s := range conf.Servers {
		m := placement.Member{Replica: s.Replica, Voter: s.Voter, Alive: true, Steady: true, CaughtUp: true, Match: last}
		if s.Replica != g.Replica() {
			peer := g.Peer(s.Replica)
			m.Match = peer.Match
			m.Alive = now.Sub(peer.Answered) < aliveFor
			m.Steady = m.Alive && now.Sub(peer.Since) >= steadyFor
			// A replica that has nothing yet is never close, however short the log is.
			m.CaughtUp = m.Alive && peer.Match > 0 && peer.Match+closeBehind >= last
		}
		v.Members = append(v.Members, m)
	}
	return v, nil
}

// handOver gives every leadership of this node to a follower that is caught up.
func (n *Node) handOver(timeout time.Duration) {
	if n.control == nil {
		return
	}
	groups := []*group.Group{n.control.group}
	for _, r := range n.replicas.all() {
		groups = append(groups, r.group)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all sync.WaitGroup
		for _, g := range groups {
			if g.Leads() {
				all.Go(func() { n.handOverGroup(g) })
			}
		}
		all.Wait()
	}()
	select {
	case <-done:
	case <-time.After(timeout):
		n.log.Warn("handing leaderships over took too long; the others will elect")
	}
}

func (n *Node) handOverGroup(g *group.Group) {
	v, err := observe(g, nil, "", time.Now())
	if err != nil {
		return
	}
	for _, m := range v.Members {
		if m.Voter && m.CaughtUp && m.Replica != g.Replica() {
			if err := g.TransferTo(m.Replica); err != nil {
				n.log.Warn("handing a leadership over failed", "group", g.Name(), "err", err)
			}
			return
		}
	}
}

// serveConfig answers with the group's committed configuration, as its leader.
func (r *replica) serveConfig() ([]byte, error) {
	if !r.group.Leads() {
		return nil, &fsm.Error{Kind: fsm.NotLeader, Msg: string(r.group.Leader().Node)}
	}
	conf, err := r.group.Configuration()
	if err != nil {
		return nil, err
	}
	return json.Marshal(conf)
}

// groupConfig asks a partition's leader for its configuration.
func (n *Node) groupConfig(ctx context.Context, p fsm.PartitionID) (group.Configuration, error) {
	var conf group.Configuration
	take := func(raw []byte) error { return json.Unmarshal(raw, &conf) }
	err := n.router.toPartition(ctx, p, call{
		kind: kindConfig,
		local: func(context.Context) error {
			r := n.serving(p)
			if r == nil {
				return &fsm.Error{Kind: fsm.NotLeader}
			}
			raw, err := r.serveConfig()
			if err != nil {
				return err
			}
			return take(raw)
		},
		decode: take,
	})
	return conf, err
}
