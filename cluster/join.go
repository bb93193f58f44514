package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"cairn/cluster/link"
	"cairn/fsm"
	"cairn/fsm/controller"
)

// joinRequest is what a joining node sends over the join protocol, which has
// authenticated the member it talks to and nothing of the joiner: the token does.
type joinRequest struct {
	Token  string            `json:"token"`
	Public []byte            `json:"public"` // PKIX
	Member controller.Member `json:"member"`
	Clock  fsm.Time          `json:"clock"` // when it was sent
}

// joinResponse makes it a member.
type joinResponse struct {
	Cluster     string                `json:"cluster"`
	Incarnation uint64                `json:"incarnation"`
	CA          []byte                `json:"ca"`
	Cert        []byte                `json:"cert"`
	ClusterKey  [32]byte              `json:"cluster_key"`
	Peers       map[fsm.NodeID]string `json:"peers"`
}

// join asks the members in turn until one admits this node or ctx ends. The
// node's id and key are chosen once, so an answer that was lost does no harm:
// the next try is the same member.
func (n *Node) join(ctx context.Context) (*identity, error) {
	_, fingerprint, err := link.ParseJoinToken(n.conf.JoinToken)
	if err != nil {
		return nil, err
	}
	key, _, err := link.NewKey()
	if err != nil {
		return nil, err
	}
	id := &identity{Node: fsm.NodeID(ulid.Make().String()), Key: key}
	n.id = id
	for attempt := 0; ; attempt++ {
		addr := n.conf.Join[attempt%len(n.conf.Join)]
		req, err := n.joinRequest(id)
		if err != nil {
			return nil, err
		}
		raw, err := link.JoinOver(ctx, n.conf.Dial, addr, fingerprint, req)
		if err == nil {
			return id, n.admitted(id, raw)
		}
		switch fsm.KindOf(err) {
		case fsm.Unauthenticated, fsm.Forbidden, fsm.Invalid, fsm.Conflict:
			return nil, fmt.Errorf("join at %s: %w", addr, err) // trying again cannot help
		}
		n.log.Warn("joining failed, trying again", "member", addr, "err", err)
		if !pause(ctx, 4+attempt) {
			return nil, fmt.Errorf("join at %s: %w", strings.Join(n.conf.Join, ", "), err)
		}
	}
}

// joinRequest is what this node sends to join under an identity.
func (n *Node) joinRequest(id *identity) ([]byte, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(id.Key)
	if err != nil {
		return nil, fmt.Errorf("read the node's key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the node's key is a %T", parsed)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	return json.Marshal(joinRequest{Token: n.conf.JoinToken, Public: der, Member: n.self(), Clock: n.now()})
}

func readJoined(raw []byte) (resp joinResponse, err error) {
	if err = json.Unmarshal(raw, &resp); err != nil {
		err = fmt.Errorf("the answer to the join cannot be read: %w", err)
	}
	return resp, err
}

func (n *Node) admitted(id *identity, raw []byte) error {
	resp, err := readJoined(raw)
	if err != nil {
		return err
	}
	id.Cluster, id.Incarnation = resp.Cluster, resp.Incarnation
	id.CA, id.Cert, id.ClusterKey = resp.CA, resp.Cert, resp.ClusterKey
	if err := n.book.learn(resp.Peers); err != nil {
		return err
	}
	return id.save(n.conf.Dir)
}

// handleJoin admits a node on behalf of the cluster.
func (n *Node) handleJoin(ctx context.Context, remote string, raw []byte) ([]byte, error) {
	if !n.control.state().Founded() {
		return nil, fsm.Errorf(fsm.Unavailable, "this node is starting; try again")
	}
	var req joinRequest
	if err := json.Unmarshal(raw, &req); err != nil {
		return nil, fsm.Errorf(fsm.Invalid, "the join request cannot be read")
	}
	token, err := n.joinToken(ctx, req.Token)
	if err != nil {
		n.log.Warn("a join was refused", "remote", remote, "err", err)
		return nil, err
	}
	parsed, err := x509.ParsePKIXPublicKey(req.Public)
	pub, ok := parsed.(*ecdsa.PublicKey)
	if err != nil || !ok {
		return nil, fsm.Errorf(fsm.Invalid, "the join request's public key cannot be read")
	}
	if err := n.welcome(ctx, &req); err != nil {
		n.log.Warn("a join was refused", "remote", remote, "err", err)
		return nil, err
	}
	res, err := n.control.propose(ctx, &controller.AddMember{Now: n.now(), Member: req.Member, Token: token.ID})
	if err != nil {
		return nil, err
	}
	keys, err := n.secrets(ctx)
	if err != nil {
		return nil, err
	}
	ca, err := link.LoadAuthority(n.id.CA, keys.CAKey)
	if err != nil {
		return nil, err
	}
	resp := joinResponse{
		Cluster: n.id.Cluster, Incarnation: res.Incarnation, CA: n.id.CA, ClusterKey: n.id.ClusterKey,
		Peers: map[fsm.NodeID]string{},
	}
	if resp.Cert, err = ca.Issue(pub, n.id.Cluster, req.Member.ID, time.Now()); err != nil {
		return nil, err
	}
	for _, m := range n.control.state().Members() {
		if m.State != controller.Left {
			resp.Peers[m.ID] = m.Address
		}
	}
	n.log.Info("a node joined", "member", req.Member.ID, "name", req.Member.Name, "address", req.Member.Address)
	return json.Marshal(resp)
}

const (
	// maxJoinSkew is how far a joiner's clock may be off: beyond it this is no
	// drift but a clock that nobody set.
	maxJoinSkew = time.Minute
	// callBack is how long a joiner has to accept a connection at its address.
	callBack = 3 * time.Second
)

// welcome refuses a joiner that could not take part: its clock is wrong, or
// nobody can reach it where it says that it is.
func (n *Node) welcome(ctx context.Context, req *joinRequest) error {
	if off := n.conf.Now().Sub(req.Clock.Std()); off.Abs() > maxJoinSkew {
		return fsm.Errorf(fsm.Invalid, "the clock of the node that joins says %s and ours %s: set one of them (NTP), they may be %v apart at most to join, and %v in operation",
			req.Clock, n.now(), maxJoinSkew, maxClockSkew)
	}
	ctx, cancel := context.WithTimeout(ctx, callBack)
	defer cancel()
	conn, err := n.conf.Dial(ctx, req.Member.Address)
	if err != nil {
		return fsm.Errorf(fsm.Invalid, "the node that joins cannot be reached from here at %q (%v): give it an address that all members can reach with --advertise", req.Member.Address, err)
	}
	return conn.Close()
}

// joinToken finds the stored token of a presented one, asking the controller
// before it says no. Expiry and uses are judged when the member is added.
func (n *Node) joinToken(ctx context.Context, presented string) (controller.Token, error) {
	t, err := n.token(ctx, presented)
	if err != nil {
		return t, err
	}
	if t.Role != "join" {
		return t, fsm.Errorf(fsm.Forbidden, "the token's role is %s: joining needs a join token", t.Role)
	}
	return t, nil
}

// secrets opens the cluster's sealed secrets once.
func (n *Node) secrets(ctx context.Context) (*secrets, error) {
	if s := n.keys.Load(); s != nil {
		return s, nil
	}
	st, err := n.table(ctx)
	if err != nil {
		return nil, err
	}
	s, err := openSecrets(n.id.ClusterKey, n.id.Cluster, st.Secrets())
	if err != nil {
		return nil, err
	}
	n.keys.Store(s)
	return s, nil
}

// renewController heals a damaged controller log: the log is moved aside, and
// the other members give this node's replica a new incarnation, under which it
// starts empty and is filled again. The old incarnation never votes again.
func (n *Node) renewController(ctx context.Context, damage error) error {
	others := n.book.nodes(n.id.Node)
	if len(others) == 0 {
		return fmt.Errorf("%w; and no other member is known that could fill it again: restore this data directory from a copy", damage)
	}
	n.log.Error("this node's copy of the controller is of no use; asking the other members for a new replica", "err", damage)
	incarnation, err := n.askRenew(ctx, others)
	if err != nil {
		return fmt.Errorf("%w; and the other members could not give this node a new replica: %w", damage, err)
	}
	n.id.Incarnation, n.id.Renewing, n.id.Renew = incarnation, true, 0
	if err := n.id.save(n.conf.Dir); err != nil { // before the old data goes: its name is never used again
		return err
	}
	return n.finishRenewal()
}

// finishRenewal drops the old replica's data; a crash before it is done is made
// up for at the next start.
func (n *Node) finishRenewal() error {
	if !n.id.Renewing {
		return nil
	}
	if err := n.conf.Dir.DropController(); err != nil {
		return err
	}
	if err := n.conf.Dir.DropSnapshots("controller"); err != nil {
		return err
	}
	n.id.Renewing = false
	return n.id.save(n.conf.Dir)
}

func (n *Node) askRenew(ctx context.Context, others []fsm.NodeID) (uint64, error) {
	for attempt := 0; ; attempt++ {
		ask, cancel := context.WithTimeout(ctx, attemptTimeout) // one without a leader would take all the time
		raw, err := n.link.Call(ask, others[attempt%len(others)], kindRenew, controllerGroup, nil)
		cancel()
		if err == nil {
			var incarnation uint64
			err = json.Unmarshal(raw, &incarnation)
			if err != nil || incarnation > n.id.Renew {
				return incarnation, err
			}
			err = errors.New("a member of the old history answered")
		}
		if k := fsm.KindOf(err); k == fsm.NotFound || k == fsm.Conflict {
			return 0, err
		}
		n.log.Warn("asking for a new replica failed, trying again", "err", err)
		if !pause(ctx, 6+attempt) {
			return 0, errors.Join(ctx.Err(), err)
		}
	}
}

// serveRenew gives the calling node's controller replica a new incarnation.
func (n *Node) serveRenew(ctx context.Context, from fsm.NodeID) ([]byte, error) {
	res, err := n.control.propose(ctx, &controller.RenewMember{Node: from, Now: n.now()})
	if err != nil {
		return nil, err
	}
	n.log.Warn("a member's controller replica was damaged and is renewed", "member", from)
	return json.Marshal(res.Incarnation)
}
