package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"cairn/cluster/breaker"
	"cairn/cluster/group"
	"cairn/cluster/link"
	"cairn/fsm"
)

// Kinds of calls between nodes, after Raft's own.
const (
	kindControl     = uint8(group.KindEnd) + iota // a controller command -> index, result
	kindControlSync                               // -> index that includes all acknowledged before
	kindCommands                                  // partition commands -> results, see forwarder
	kindQuery                                     // a partition query -> freshness, answer
	kindEnsure                                    // a hunt's version is to be applied -> nothing
	kindConfig                                    // a group's committed configuration
	kindReport                                    // a node's report to the controller's leader
	kindView                                      // the reports that the controller's leader has
	kindRenew                                     // a new incarnation for a damaged controller replica
	kindApplied                                   // -> nothing, once the controller's log is applied up to an index
	kindHello                                     // -> nothing: the process answers
	kindNominate                                  // a replica is to stand for election, see Group.Nominate
	kindCheckpoint                                // a checkpoint is to be proposed -> its index, the group's members
	kindStateHash                                 // -> what a replica has of a checkpoint
)

const (
	attemptTimeout = 3 * time.Second // one node's share of a request's time
	syncTimeout    = 10 * time.Second
	backoffMin     = 10 * time.Millisecond
	backoffMax     = 250 * time.Millisecond
)

// router finds the leader of a group and brings a request there: handled here
// if this node leads, else forwarded, once. A node that is asked and does not
// lead answers with whom it believes to lead, and the router follows.
type router struct {
	node *Node

	mu    sync.Mutex
	hints map[uint32]fsm.NodeID // who led each group when it was last asked
}

func newRouter(n *Node) *router { return &router{node: n, hints: map[uint32]fsm.NodeID{}} }

// call is one request to a group's leader.
type call struct {
	kind   uint8
	body   []byte                      // for another node
	local  func(context.Context) error // on this node, as the leader or NotLeader
	decode func(body []byte) error     // the other node's answer
	// remote, if set, asks the other node in a way of its own, instead of with
	// kind, body and decode.
	remote func(ctx context.Context, to fsm.NodeID) error
}

func (r *router) toController(ctx context.Context, c call) error {
	return r.route(ctx, controllerGroup, c)
}

func (r *router) toPartition(ctx context.Context, p fsm.PartitionID, c call) error {
	return r.route(ctx, groupOf(p), c)
}

// route tries until there is a definite answer or ctx ends. Whatever is routed
// is safe to repeat: commands carry a key or are idempotent. At the end of ctx
// the error is Unavailable if nothing can have been done, OutcomeUnknown else.
func (r *router) route(ctx context.Context, g uint32, c call) error {
	sent := false
	var ask search
	for attempt := 0; ; attempt++ {
		to := ask.next(func(n int) fsm.NodeID { return r.candidate(g, n) })
		err := r.try(ctx, g, to, c)
		switch kind := fsm.KindOf(err); {
		case err == nil:
			r.remember(g, to)
			return nil
		case kind == fsm.NotLeader:
			ask.refused(to, fsm.NodeID(err.Error()))
			r.remember(g, ask.hint)
		case kind == fsm.OutcomeUnknown:
			sent = true
			r.remember(g, "")
		case errors.Is(err, link.ErrUnsent), kind == fsm.Unavailable:
			r.remember(g, "")
		default:
			return err
		}
		if ask.hint != "" && attempt < 3 {
			continue
		}
		if !pause(ctx, attempt) {
			return r.giveUp(sent)
		}
	}
}

func (r *router) giveUp(sent bool) error {
	if sent {
		return fsm.Errorf(fsm.OutcomeUnknown, "no definite answer before the deadline; retry with the same key")
	}
	return &fsm.Error{Kind: fsm.Unavailable, Msg: "no leader with a quorum could be reached in time; nothing was done", After: time.Second}
}

// try asks one node.
func (r *router) try(ctx context.Context, g uint32, to fsm.NodeID, c call) error {
	if to == "" {
		return fsm.Errorf(fsm.Unavailable, "no replica of this group is known yet")
	}
	if to == r.node.id.Node {
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		return c.local(ctx)
	}
	err := r.node.peers.Do(ctx, to, attemptTimeout, func(ctx context.Context) error { return r.ask(ctx, g, to, c) })
	r.node.conf.Events.Forwarded(forwardResult(err))
	if unresponsive(err) {
		r.node.conf.Events.Unresponsive()
	}
	return err
}

// unresponsive reports whether a call ended because of the node that was asked:
// it could not be reached, or did not answer in time.
func unresponsive(err error) bool {
	return err != nil && (errors.Is(err, link.ErrUnsent) || fsm.KindOf(err) == fsm.OutcomeUnknown)
}

func (r *router) ask(ctx context.Context, g uint32, to fsm.NodeID, c call) error {
	if c.remote != nil {
		return c.remote(ctx, to)
	}
	body, err := r.node.link.Call(ctx, to, c.kind, g, c.body)
	if err != nil {
		return err
	}
	return c.decode(body)
}

func forwardResult(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, breaker.ErrOpen):
		return "cut_off"
	case errors.Is(err, link.ErrUnsent):
		return "unreachable"
	case fsm.KindOf(err) == fsm.NotLeader:
		return "not_leader"
	case fsm.KindOf(err) == fsm.OutcomeUnknown:
		return "lost"
	}
	return "refused"
}

// search decides whom a request asks next: whom the last one asked named as the
// leader, else the next guess. A leader need not be among the guesses: while a
// partition moves, one that is no longer wished still leads. But names may lead
// in a circle, so after maxHops of them it is a guess again.
type search struct {
	hint    fsm.NodeID // whom the last node asked believes to lead; empty: nobody
	guesses int        // made so far
	hops    int        // since the last guess
}

const maxHops = 2

func (s *search) next(guess func(n int) fsm.NodeID) fsm.NodeID {
	to := s.hint
	s.hint = ""
	if to != "" && s.hops < maxHops {
		s.hops++
		return to
	}
	s.hops = 0
	s.guesses++
	return guess(s.guesses - 1)
}

// refused notes that a node does not lead, and whom it believes to.
func (s *search) refused(by, hint fsm.NodeID) {
	if hint != by {
		s.hint = hint
	}
}

// candidate is the n-th guess who leads: what the local replica believes, else
// who led when last asked, else the preferred leader, else the wished replicas in
// turn.
func (r *router) candidate(g uint32, n int) fsm.NodeID {
	if n == 0 {
		if local := r.node.localGroup(g); local != nil {
			if leader := local.Leader().Node; leader != "" {
				return leader
			}
		}
		r.mu.Lock()
		hint := r.hints[g]
		r.mu.Unlock()
		if hint != "" {
			return hint
		}
	}
	nodes := r.members(g)
	if len(nodes) == 0 {
		return ""
	}
	return nodes[n%len(nodes)]
}

// members lists the nodes that may lead a group, the likeliest first.
func (r *router) members(g uint32) []fsm.NodeID {
	if g == controllerGroup {
		return append([]fsm.NodeID{r.node.id.Node}, r.node.book.nodes(r.node.id.Node)...)
	}
	row, ok := r.node.control.state().Partition(fsm.PartitionID(g - 1))
	if !ok {
		return nil
	}
	out := []fsm.NodeID{row.Preferred}
	for _, t := range row.Target {
		if t.Replica.Node != row.Preferred {
			out = append(out, t.Replica.Node)
		}
	}
	return out
}

func (r *router) remember(g uint32, n fsm.NodeID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hints[g] != n {
		r.hints[g] = n
	}
}

// hint is who led the group when it was last asked; empty if nobody is known.
func (r *router) hint(g uint32) fsm.NodeID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hints[g]
}

// pause waits before the next attempt, with jitter; false when ctx ended.
func pause(ctx context.Context, attempt int) bool {
	limit := min(backoffMin<<min(attempt, 10), backoffMax)
	select {
	case <-time.After(backoffMin/2 + rand.N(limit)):
		return true
	case <-ctx.Done():
		return false
	}
}
