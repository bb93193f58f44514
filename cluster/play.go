package cluster

import (
	"context"

	"cairn/cluster/admit"
	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/fsm/partition"
)

// Submit judges and records one answer; see Submission. The key makes it
// exactly-once, through whichever node and however often it is sent.
func (n *Node) Submit(ctx context.Context, in Submission) (*partition.Submission, error) {
	if err := hunt.CheckAnswer(in.Answer); err != nil {
		return nil, err
	}
	res, err := n.command(ctx, in.Hunt.ID, in.Team, &partition.Submit{
		Hunt: in.Hunt.ID, Incarnation: in.Hunt.Incarnation, Team: in.Team, Generation: in.Generation,
		Clue: in.Clue, Answer: in.Answer, Key: in.Key, Player: in.Player, At: in.At,
	})
	if err != nil {
		return nil, err
	}
	return res.Submission, nil
}

// CreateTeam registers a team, or answers the one its key created.
func (n *Node) CreateTeam(ctx context.Context, cmd *partition.CreateTeam) (*partition.Team, bool, error) {
	if err := hunt.CheckName(cmd.Name); err != nil {
		return nil, false, err
	}
	res, err := n.command(ctx, cmd.Hunt, cmd.Team, cmd)
	if err != nil {
		return nil, false, err
	}
	return res.Team, res.Created, nil
}

// PatchTeam changes a team.
func (n *Node) PatchTeam(ctx context.Context, cmd *partition.PatchTeam) (*partition.Team, error) {
	if cmd.Name != nil {
		if err := hunt.CheckName(*cmd.Name); err != nil {
			return nil, err
		}
	}
	res, err := n.command(ctx, cmd.Hunt, cmd.Team, cmd)
	if err != nil {
		return nil, err
	}
	return res.Team, nil
}

// RotateToken makes a team's older tokens void. The command's key must be set:
// a retry after a lost answer must not rotate again.
func (n *Node) RotateToken(ctx context.Context, cmd *partition.RotateToken) (*partition.Team, error) {
	res, err := n.command(ctx, cmd.Hunt, cmd.Team, cmd)
	if err != nil {
		return nil, err
	}
	return res.Team, nil
}

// partitionOf is where a team of a hunt lives.
func (n *Node) partitionOf(ctx context.Context, h fsm.HuntID, t fsm.TeamID) (fsm.PartitionID, error) {
	st, err := n.table(ctx)
	if err != nil {
		return 0, err
	}
	return st.PartitionOf(fsm.SlotOf(h, t)), nil
}

// table returns the controller's state, waiting for it on a node that has just
// started and heard nothing yet.
func (n *Node) table(ctx context.Context) (*controller.State, error) {
	if st := n.control.state(); st.Founded() {
		return st, nil
	}
	err := n.control.catchUp(ctx)
	return n.control.state(), err
}

// command brings a command to the leader of its team's partition.
func (n *Node) command(ctx context.Context, h fsm.HuntID, t fsm.TeamID, cmd partition.Command) (partition.Result, error) {
	p, err := n.partitionOf(ctx, h, t)
	if err != nil {
		return partition.Result{}, err
	}
	var res partition.Result
	var body []byte // encoded when another node is asked
	c := call{
		local: func(ctx context.Context) (err error) {
			r := n.serving(p)
			if r == nil {
				return &fsm.Error{Kind: fsm.NotLeader}
			}
			res, err = r.lead(ctx, cmd)
			return err
		},
		remote: func(ctx context.Context, to fsm.NodeID) (err error) {
			if body == nil {
				body = partition.EncodeCommand(cmd)
			}
			res, err = n.forward.send(ctx, to, p, body)
			return err
		},
	}
	err = n.gated(ctx, admit.Flow{Hunt: h, Team: t, Partition: p}, func() error { return n.router.toPartition(ctx, p, c) })
	if err != nil {
		return res, err
	}
	if res.Err != nil {
		return res, res.Err
	}
	return res, nil
}

// lead proposes a command as the leader. It first sees to what Apply will need:
// the hunt's present version in this partition, and for an answer what it
// matches under that version. If the version moves in between, Apply refuses and
// the answer is matched again.
func (r *replica) lead(ctx context.Context, cmd partition.Command) (partition.Result, error) {
	for attempt := 0; ; attempt++ {
		if !r.group.Leads() {
			return partition.Result{}, &fsm.Error{Kind: fsm.NotLeader, Msg: string(r.group.Leader().Node)}
		}
		ready, err := r.prepare(ctx, cmd)
		if err != nil {
			return partition.Result{}, err
		}
		res, err := r.queue.Do(ctx, ready)
		if err != nil || res.Err == nil || res.Err.Kind != fsm.Stale {
			return res, err
		}
		// Another leader's catalogue was ahead of ours, or the hunt was deleted.
		if err := r.node.control.catchUp(ctx); err != nil {
			return partition.Result{}, err
		}
		if !pause(ctx, attempt) {
			return partition.Result{}, fsm.Errorf(fsm.Unavailable, "the hunt keeps changing; nothing was done")
		}
	}
}

// prepare returns the command to propose. An answer is matched in a copy: one of
// an earlier attempt may still be in the queue.
func (r *replica) prepare(ctx context.Context, cmd partition.Command) (partition.Command, error) {
	h := huntOf(cmd)
	if h.ID == "" {
		return cmd, nil
	}
	c, err := r.node.hunt(ctx, h.ID, h.Incarnation)
	if err != nil {
		return nil, err
	}
	if err := r.install(ctx, c); err != nil {
		return nil, err
	}
	s, ok := cmd.(*partition.Submit)
	if !ok {
		return cmd, nil
	}
	matched := *s
	matched.Version = c.entry.Version
	matched.Match, matched.Digest, matched.Reply, _ = c.matcher.Match(s.Clue, s.Answer)
	return &matched, nil
}

// huntOf is the hunt whose rules a command is judged by.
func huntOf(cmd partition.Command) HuntRef {
	switch c := cmd.(type) {
	case *partition.Submit:
		return HuntRef{c.Hunt, c.Incarnation}
	case *partition.CreateTeam:
		return HuntRef{c.Hunt, c.Incarnation}
	case *partition.PatchTeam:
		return HuntRef{c.Hunt, c.Incarnation}
	case *partition.RotateToken:
		return HuntRef{c.Hunt, c.Incarnation}
	}
	return HuntRef{}
}
