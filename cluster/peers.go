package cluster

import (
	"context"
	"math/rand/v2"
	"slices"

	"cairn/cluster/breaker"
	"cairn/fsm"
)

// peers is what this node learns of the others from its calls to them.
type peers struct{ *breaker.Set }

func (n *Node) newPeers() peers {
	return peers{breaker.New(n.ctx, breaker.Config{
		Probe: func(ctx context.Context, to fsm.NodeID) error {
			_, err := n.link.Call(ctx, to, kindHello, controllerGroup, nil)
			if err != nil && !unresponsive(err) {
				return nil // it answers, if only to refuse
			}
			return err
		},
		Failed: unresponsive,
		Member: n.book.member,
		Opened: func(id fsm.NodeID) {
			n.log.Warn("a member does not answer: calls to it are refused until it does", "member", id)
		},
		Closed: func(id fsm.NodeID) { n.log.Info("calls to a member go through again", "member", id) },
	})}
}

// oneOf chooses among other nodes for a call that any of them can answer: the less busy
// of two drawn at random, which spreads load nearly as well as asking for the least
// busy of all, and does not send everybody there at once (Mitzenmacher, 2001).
// Empty if there is none, or it is cut off.
func (n *Node) oneOf(nodes []fsm.NodeID) fsm.NodeID {
	nodes = slices.DeleteFunc(nodes, func(id fsm.NodeID) bool { return id == n.id.Node })
	if len(nodes) == 0 {
		return ""
	}
	i := rand.IntN(len(nodes))
	to := nodes[i]
	if len(nodes) > 1 {
		if other := nodes[(i+1+rand.IntN(len(nodes)-1))%len(nodes)]; n.peers.Less(other, to) {
			to = other
		}
	}
	if n.peers.Open(to) {
		return ""
	}
	return to
}
