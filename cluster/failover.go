package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"

	"cairn/cluster/group"
	"cairn/fsm"
	"cairn/fsm/wire"
)

// A group whose leader is gone elects another by itself after an election
// timeout. Two things make it faster. A process that ended resets its
// connections, and its port refuses new ones: followers that see both stand for
// election at once. And of a node that fell silent the controller's leader tells
// a follower, see watcher.nominate.

const (
	helloTimeout = 500 * time.Millisecond
	helloTries   = 3
	helloPause   = 60 * time.Millisecond // more than the link's first pause between dials
	// firstStands is when the first of a group's followers stands, and others
	// follow one by one standGap later, unless there is a leader by then.
	firstStands = 20 * time.Millisecond
	standGap    = 250 * time.Millisecond
)

// failover looks after nodes that hung up.
type failover struct {
	node *Node

	mu      sync.Mutex
	ready   bool // the node's groups are open; before that there is nothing to look after
	looking map[fsm.NodeID]bool
}

func newFailover(n *Node) *failover { return &failover{node: n, looking: map[fsm.NodeID]bool{}} }

// begin is called once the node's groups are open. Connections end before that
// too: the controller's group dials others while it opens.
func (f *failover) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ready = true
}

// hungUp is told that a connection with a node ended.
func (f *failover) hungUp(id fsm.NodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ready || f.looking[id] || f.node.ctx.Err() != nil {
		return
	}
	f.looking[id] = true
	f.node.goes(func() {
		f.look(id)
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.looking, id)
	})
}

// look stands for election in the groups that a node led, if its port refuses.
func (f *failover) look(id fsm.NodeID) {
	led := f.ledBy(id)
	if len(led) == 0 || !f.refuses(id) {
		return
	}
	var all sync.WaitGroup
	for _, g := range led {
		all.Go(func() { f.stand(g, id) })
	}
	all.Wait()
}

// ledBy returns the groups here that follow a leader on a node.
func (f *failover) ledBy(id fsm.NodeID) (led []*group.Group) {
	groups := []*group.Group{f.node.control.group}
	for _, r := range f.node.replicas.all() {
		groups = append(groups, r.group)
	}
	for _, g := range groups {
		if g.Leader().Node == id {
			led = append(led, g)
		}
	}
	return led
}

// refuses reports whether nobody listens any more where a node did. Silence
// proves nothing: that is the failure detector's business.
func (f *failover) refuses(id fsm.NodeID) bool {
	for range helloTries {
		ctx, cancel := context.WithTimeout(f.node.ctx, helloTimeout)
		_, err := f.node.link.Call(ctx, id, kindHello, controllerGroup, nil)
		cancel()
		switch {
		case err == nil:
			return false
		case errors.Is(err, syscall.ECONNREFUSED):
			return true
		}
		select {
		case <-f.node.ctx.Done():
			return false
		case <-time.After(helloPause):
		}
	}
	return false
}

// stand has this node's replica stand for election when its turn comes.
func (f *failover) stand(g *group.Group, gone fsm.NodeID) {
	leader, term := g.Leader(), g.Term()
	conf, err := g.Configuration()
	if err != nil || leader.Node != gone {
		return
	}
	voters := make([]string, 0, len(conf.Servers))
	for _, s := range conf.Servers {
		if s.Voter && s.Replica != leader {
			voters = append(voters, s.Replica.String())
		}
	}
	slices.Sort(voters)
	turn := slices.Index(voters, g.Replica().String())
	if turn < 0 {
		return
	}
	select {
	case <-f.node.ctx.Done():
		return
	case <-time.After(firstStands + time.Duration(turn)*standGap):
	}
	if g.Nominate(term, leader) {
		f.node.log.Info("the leader's node is gone: standing for election", "group", g.Name(), "term", term, "leader", leader)
	}
}

// serveNominate takes the controller leader's advice to stand for election.
func (n *Node) serveNominate(id uint32, body []byte) error {
	r := wire.NewReader(body)
	term, name := r.Uvarint(), r.String(maxReplicaName)
	if err := r.Done(); err != nil {
		return err
	}
	leader, err := fsm.ParseReplica(name)
	if err != nil {
		return err
	}
	if g := n.localGroup(id); g != nil && g.Nominate(term, leader) {
		n.log.Info("the leader's node is silent: standing for election, as the controller advises", "group", g.Name(), "term", term, "leader", leader)
	}
	return nil
}

// maxReplicaName is the length of the longest name of a replica.
const maxReplicaName = 128
