package cluster

import (
	"context"

	"cairn/cluster/admit"
	"cairn/fsm"
)

// gated does a request of a team if this node can take it on, else refuses it
// with Overloaded and does nothing. It is for what comes from clients: what other
// nodes forward was admitted there, and what the cluster asks of itself must go on.
func (n *Node) gated(ctx context.Context, f admit.Flow, do func() error) error {
	if n.conf.AdmitAll {
		return do()
	}
	pass, err := n.gate.Enter(ctx, f)
	if err != nil {
		return err
	}
	done := false // stays so in a panic, which does not end the process
	defer func() { pass.Leave(done) }()
	err = do()
	done = answered(err)
	return err
}

// Overloaded refuses (Overloaded), before anything is spent on it, what a team of a
// hunt asks for, if it would be refused later.
func (n *Node) Overloaded(hunt fsm.HuntID) error {
	if n.conf.AdmitAll {
		return nil
	}
	return n.gate.Hopeless(hunt)
}

// answered reports whether a partition had to do with the outcome of a request:
// if not, it was given up for want of a leader.
func answered(err error) bool {
	if err == nil {
		return true
	}
	switch fsm.KindOf(err) {
	case fsm.Unavailable, fsm.OutcomeUnknown, fsm.NotLeader:
		return false
	}
	return true
}
