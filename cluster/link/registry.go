package link

import (
	"net"
	"sync"

	"cairn/fsm"
)

const (
	// maxStrangers is how many accepted connections may be open at once whose
	// peer has not proved to be a member (joiners stay among them). The next
	// one is closed at once.
	maxStrangers = 256
	// maxPerPeer is how many connections one member may have open to this
	// node: one for calls, the rest streams.
	maxPerPeer = 16
)

// registry knows every open connection, so that Drop and Close can cut it.
//
// Invariants: strangers is the number of accepted connections without a node,
// and members[n] that of accepted connections of node n. A registered connection
// is closed by remove, and by nothing else but Drop and Close.
type registry struct {
	mu        sync.Mutex
	open      map[*tracked]struct{}
	strangers int
	members   map[fsm.NodeID]int
	closed    bool
}

// tracked is one open connection. Its mutable fields belong to the registry.
type tracked struct {
	raw      net.Conn // below TLS: closing it never waits for the peer
	accepted bool
	node     fsm.NodeID // empty: not known yet
}

func newRegistry() *registry {
	return &registry{open: map[*tracked]struct{}{}, members: map[fsm.NodeID]int{}}
}

// accept registers a connection of a stranger.
func (r *registry) accept(raw net.Conn) (*tracked, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return nil, errClosed
	case r.strangers >= maxStrangers:
		return nil, errStrangers
	}
	t := &tracked{raw: raw, accepted: true}
	r.open[t] = struct{}{}
	r.strangers++
	return t, nil
}

// dialled registers a connection to a node.
func (r *registry) dialled(raw net.Conn, node fsm.NodeID) (*tracked, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	t := &tracked{raw: raw, node: node}
	r.open[t] = struct{}{}
	return t, nil
}

// identify records who an accepted connection belongs to.
func (r *registry) identify(t *tracked, node fsm.NodeID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members[node] >= maxPerPeer {
		return errPeerConns
	}
	r.strangers--
	r.members[node]++
	t.node = node
	return nil
}

// remove closes a connection and forgets it. Repeating it is harmless.
func (r *registry) remove(t *tracked) {
	t.raw.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.open[t]; !ok {
		return
	}
	delete(r.open, t)
	switch {
	case !t.accepted:
	case t.node == "":
		r.strangers--
	case r.members[t.node] == 1:
		delete(r.members, t.node)
	default:
		r.members[t.node]--
	}
}

// cut closes every connection of a node, in both directions. Their owners
// notice and remove them.
func (r *registry) cut(node fsm.NodeID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for t := range r.open {
		if t.node == node {
			t.raw.Close()
		}
	}
}

// close closes every connection and refuses new ones.
func (r *registry) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for t := range r.open {
		t.raw.Close()
	}
}
