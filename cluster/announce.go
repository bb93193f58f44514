package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/cluster/link"
	"cairn/fsm"
	"cairn/fsm/controller"
)

// announce tells the cluster this node's present name, addresses and build. It
// comes first: the others reach a node that came back elsewhere only after it.
// False: the node stops, or is no longer wanted.
//
// A refusal may come from a leader of the past: one of a history that was given
// up, which does not know of this node, or whose list of names is old. So no single
// one counts. Everybody else is told as well, and only when all who answer have
// refused for strangerFor is there no current leader that would not.
func (n *Node) announce() bool {
	var since time.Time // when they began to refuse
	for attempt := 0; ; attempt++ {
		if st := n.control.state(); st.Founded() {
			n.keepMembers(st) // the others' appends may know addresses that the book has lost
		}
		err := n.tellLeader()
		if refusal(err) && n.tellAll() {
			err = nil
		}
		switch {
		case err == nil:
			return true
		case !refusal(err):
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= strangerFor:
			return n.unwanted(err)
		}
		n.log.Warn("telling the cluster this node's addresses failed, trying again", "err", err)
		if !pause(n.ctx, 4+attempt) {
			return false
		}
	}
}

// refusal reports whether an error is a member's definite no.
func refusal(err error) bool {
	switch fsm.KindOf(err) {
	case fsm.Conflict, fsm.NotFound, fsm.Invalid:
		return err != nil
	}
	return false
}

// tellLeader announces this node to whoever leads the controller as far as is
// known here.
func (n *Node) tellLeader() error {
	ctx, cancel := context.WithTimeout(n.ctx, attemptTimeout)
	defer cancel()
	_, _, err := n.control.commit(ctx, &controller.AddMember{Now: n.now(), Member: n.self()})
	return err
}

// tellAll announces this node to each of the others: of two who believe to lead
// both are asked. It reports whether one took it.
func (n *Node) tellAll() bool {
	entry := controller.Encode(&controller.AddMember{Now: n.now(), Member: n.self()})
	for _, id := range n.book.nodes(n.id.Node) {
		ctx, cancel := context.WithTimeout(n.ctx, helloTimeout)
		body, err := n.link.Call(ctx, id, kindControl, controllerGroup, entry)
		cancel()
		if err != nil {
			continue // it does not lead, or is not there
		}
		if _, res, err := readCommitted(body); err == nil && res.Err == nil {
			return true
		}
	}
	return false
}

// errForgotten is what a node is told that no current log knows.
var errForgotten = errors.New("the cluster does not know this node any more: it joined in entries of the controller's log that were lost when " +
	"the controller was recovered from another node's copy, or it was removed long ago. What it has is kept. To have it back, make a join token " +
	"(cairn token create --role join) and start it with --join and --token on this same directory: it joins again as the node that it is. " +
	"Otherwise delete the directory")

// unwanted ends what every member that answers has refused for long enough. A node
// that the log does not know joins again if whoever started it gave it a token:
// its certificate alone does not let it in, for a node that was removed has one too.
func (n *Node) unwanted(refused error) bool {
	if n.id.Founding || n.ctx.Err() != nil {
		return false
	}
	if fsm.KindOf(refused) != fsm.NotFound {
		n.conf.Fatal(fmt.Errorf("the cluster does not take this node back: %w", refused))
		return false
	}
	if n.conf.JoinToken == "" {
		n.conf.Fatal(fmt.Errorf("%w (%w)", errForgotten, refused))
		return false
	}
	if err := n.rejoin(); err != nil {
		n.conf.Fatal(fmt.Errorf("%w (joining again with the token it was given: %w)", errForgotten, err))
	}
	return false
}

// rejoin joins again under the id that this node has. The log gives it a name for
// its replica of the controller that is new, so the copy it has does not count any
// more, and it starts again as one that was succeeded. Its partitions' replicas
// are treated as those of any node that comes back: they stay as long as their
// groups have them.
func (n *Node) rejoin() error {
	_, fingerprint, err := link.ParseJoinToken(n.conf.JoinToken)
	if err != nil {
		return err
	}
	req, err := n.joinRequest(n.id)
	if err != nil {
		return err
	}
	n.log.Warn("no member knows this node: it joins again")
	addresses := n.conf.Join
	for _, id := range n.book.nodes(n.id.Node) {
		if a, ok := n.book.resolve(id); ok {
			addresses = append(addresses[:len(addresses):len(addresses)], a)
		}
	}
	err = errors.New("no member's address is known")
	for _, a := range addresses {
		var raw []byte
		if raw, err = link.JoinOver(n.ctx, n.conf.Dial, a, fingerprint, req); err != nil {
			continue
		}
		var resp joinResponse
		if resp, err = readJoined(raw); err != nil {
			continue
		}
		as := fsm.Replica{Node: n.id.Node, Incarnation: resp.Incarnation}
		if as.Incarnation <= n.id.Incarnation {
			err = fmt.Errorf("the member at %s is of the history that was given up", a)
			continue
		}
		n.succeeded(as, "")
		return nil
	}
	return err
}
