package group

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// Kind is the kind of a Raft message on the wire. The node's other messages
// use kinds from KindEnd on.
type Kind uint8

const (
	KindAppend Kind = iota
	KindVote
	KindPreVote
	KindTimeoutNow
	KindSnapshot // a stream, not a call
	KindEnd
)

// Timeouts of calls between replicas. A call that misses its timeout is as if
// it was never answered, which Raft is made for.
const (
	appendTimeout   = 8 * time.Second
	voteTimeout     = 2 * time.Second
	snapshotIdle    = 30 * time.Second // of silence on a snapshot's stream
	unreachableWait = 30 * time.Second // an append waits that long for its peer to come back
	redialMin       = 20 * time.Millisecond
	redialMax       = 200 * time.Millisecond
)

// Link is what the transport needs of the channel between nodes. Call returns
// an error that wraps Unsent when provably nothing reached the peer.
type Link interface {
	Call(ctx context.Context, to fsm.NodeID, kind uint8, group uint32, body []byte) ([]byte, error)
	Stream(ctx context.Context, to fsm.NodeID, kind uint8, group uint32) (net.Conn, error)
}

// Transport is the raft.Transport of one group over the shared Link. Server ids
// and addresses are replica names ("node.incarnation").
type Transport struct {
	group  uint32
	local  fsm.Replica
	link   Link
	unsent error // what Link's errors wrap when nothing was sent
	now    func() time.Time
	wall   func() time.Time                    // what the clock says
	beat   time.Duration                       // between the beats that heartbeats wait for; 0: they never wait
	phase  time.Duration                       // of the node's beats
	later  func(as fsm.Replica, by fsm.NodeID) // told of a message to a later replica of this node; or nil
	sends  chan struct{}                       // a slot for each snapshot that the node may send at once; nil: no limit
	peers  *Progress
	rpcs   chan raft.RPC
	ctx    context.Context
	stop   context.CancelFunc
}

var (
	_ raft.Transport   = (*Transport)(nil)
	_ raft.WithPreVote = (*Transport)(nil)
	_ raft.WithClose   = (*Transport)(nil)
)

// NewTransport returns the transport of one replica. unsent is the error that
// the link wraps when nothing was sent; beat is how often heartbeats leave.
func NewTransport(group uint32, local fsm.Replica, l Link, unsent error, beat time.Duration) *Transport {
	ctx, stop := context.WithCancel(context.Background())
	return &Transport{
		group: group, local: local, link: l, unsent: unsent, now: time.Now, wall: time.Now, beat: beat, phase: phaseOf(local.Node, beat),
		peers: newProgress(), rpcs: make(chan raft.RPC), ctx: ctx, stop: stop,
	}
}

// Close ends every call under way. Raft calls it again at shutdown.
func (t *Transport) Close() error {
	t.stop()
	return nil
}

func (t *Transport) Consumer() <-chan raft.RPC     { return t.rpcs }
func (t *Transport) LocalAddr() raft.ServerAddress { return raft.ServerAddress(t.local.String()) }

func (t *Transport) EncodePeer(_ raft.ServerID, a raft.ServerAddress) []byte { return []byte(a) }
func (t *Transport) DecodePeer(b []byte) raft.ServerAddress                  { return raft.ServerAddress(b) }

// SetHeartbeatHandler ignores the fast path: see the package comment.
func (t *Transport) SetHeartbeatHandler(func(raft.RPC)) {}

// AppendEntriesPipeline refuses pipelining: see the package comment.
func (t *Transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

func (t *Transport) envelope(to raft.ServerAddress) envelope {
	return envelope{to: string(to), from: t.local.String(), sent: fsm.TimeOf(t.wall())}
}

// call sends one message and returns a reader of the answer behind its envelope.
func (t *Transport) call(to raft.ServerAddress, kind Kind, timeout time.Duration, body []byte) (*wire.Reader, envelope, error) {
	peer, err := fsm.ParseReplica(string(to))
	if err != nil {
		return nil, envelope{}, err
	}
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	resp, err := t.link.Call(ctx, peer.Node, uint8(kind), t.group, body)
	if err != nil {
		return nil, envelope{}, err
	}
	r := wire.NewReader(resp)
	return r, readEnvelope(r), nil
}

// AppendEntries sends one append. A heartbeat (no previous entry) fails at once
// when the peer cannot be reached; any other append waits for it, see the
// package comment.
func (t *Transport) AppendEntries(_ raft.ServerID, to raft.ServerAddress, q *raft.AppendEntriesRequest, p *raft.AppendEntriesResponse) error {
	heartbeat := q.PrevLogEntry == 0 && len(q.Entries) == 0
	if heartbeat {
		t.awaitBeat(q.Term, string(to))
	}
	trim(q)
	var w wire.Writer
	t.envelope(to).append(&w)
	appendAppend(&w, q)
	r, e, err := t.call(to, KindAppend, appendTimeout, w.B)
	for start := t.now(); err != nil && !heartbeat && errors.Is(err, t.unsent) && t.now().Sub(start) < unreachableWait; {
		select {
		case <-time.After(redialMin + rand.N(redialMax-redialMin)):
		case <-t.ctx.Done():
			return t.ctx.Err()
		}
		r, e, err = t.call(to, KindAppend, appendTimeout, w.B)
	}
	if err != nil {
		return err
	}
	readAppendResponse(r, e, p)
	if err := r.Done(); err != nil {
		return err
	}
	if p.Term <= q.Term {
		t.peers.answered(q.Term, e.from, t.now())
		if p.Success && !heartbeat {
			t.peers.matched(q.Term, e.from, q.PrevLogEntry+uint64(len(q.Entries)))
		}
	}
	return nil
}

// trim cuts entries off the end of an append that would be too large. Raft bounds
// only their number; what was sent it reads from q afterwards, and goes on behind
// it at once.
func trim(q *raft.AppendEntriesRequest) {
	size := 0
	for i, l := range q.Entries {
		size += len(l.Data) + len(l.Extensions)
		if i > 0 && size > appendBytes {
			q.Entries = q.Entries[:i]
			return
		}
	}
}

// beatsPerTimeout is how many beats there are in a heartbeat timeout, and three
// quarters as many in a lease of the default length.
const beatsPerTimeout = 4

// awaitBeat holds a heartbeat back until the node's next beat. Raft sends one for
// each group and follower, at a random moment of every tenth to fifth of the
// heartbeat timeout. All those of a node that leave at once share a write, and so
// do their answers. A follower that has been silent for longer than a beat gets
// its heartbeat at once: a new leader must be heard of.
func (t *Transport) awaitBeat(term uint64, to string) {
	now := t.now()
	if t.beat <= 0 || now.Sub(t.peers.Peer(term, to).Answered) >= t.beat {
		return
	}
	beat := time.NewTimer(t.beat - (time.Duration(now.UnixNano())+t.phase)%t.beat)
	defer beat.Stop()
	select {
	case <-beat.C:
	case <-t.ctx.Done():
	}
}

// phaseOf tells the beats of different nodes apart.
func phaseOf(node fsm.NodeID, beat time.Duration) time.Duration {
	if beat <= 0 {
		return 0
	}
	sum := uint64(0)
	for _, b := range node {
		sum = sum*31 + uint64(b)
	}
	return time.Duration(sum % uint64(beat))
}

func (t *Transport) RequestVote(_ raft.ServerID, to raft.ServerAddress, q *raft.RequestVoteRequest, p *raft.RequestVoteResponse) error {
	var w wire.Writer
	t.envelope(to).append(&w)
	appendVote(&w, q)
	r, e, err := t.call(to, KindVote, voteTimeout, w.B)
	if err != nil {
		return err
	}
	*p = raft.RequestVoteResponse{RPCHeader: e.header(), Term: r.Uvarint(), Granted: r.Bool()}
	return r.Done()
}

func (t *Transport) RequestPreVote(_ raft.ServerID, to raft.ServerAddress, q *raft.RequestPreVoteRequest, p *raft.RequestPreVoteResponse) error {
	var w wire.Writer
	t.envelope(to).append(&w)
	appendPreVote(&w, q)
	r, e, err := t.call(to, KindPreVote, voteTimeout, w.B)
	if err != nil {
		return err
	}
	*p = raft.RequestPreVoteResponse{RPCHeader: e.header(), Term: r.Uvarint(), Granted: r.Bool()}
	return r.Done()
}

func (t *Transport) TimeoutNow(_ raft.ServerID, to raft.ServerAddress, _ *raft.TimeoutNowRequest, p *raft.TimeoutNowResponse) error {
	var w wire.Writer
	t.envelope(to).append(&w)
	r, e, err := t.call(to, KindTimeoutNow, voteTimeout, w.B)
	if err != nil {
		return err
	}
	*p = raft.TimeoutNowResponse{RPCHeader: e.header()}
	return r.Done()
}

// Serve handles one message from a peer and returns the answer.
func (t *Transport) Serve(ctx context.Context, from fsm.NodeID, kind Kind, body []byte) ([]byte, error) {
	r := wire.NewReader(body)
	e := readEnvelope(r)
	var command any
	switch kind {
	case KindAppend:
		command = readAppend(r, e)
	case KindVote:
		command = readVote(r, e)
	case KindPreVote:
		command = readPreVote(r, e)
	case KindTimeoutNow:
		command = &raft.TimeoutNowRequest{RPCHeader: e.header()}
	default:
		return nil, fmt.Errorf("raft message of unknown kind %d", kind)
	}
	if err := t.admit(from, e, r.Done()); err != nil {
		return nil, err
	}
	resp, err := t.consume(ctx, raft.RPC{Command: command})
	if err != nil {
		return nil, err
	}
	if q, ok := command.(*raft.AppendEntriesRequest); ok && resp.(*raft.AppendEntriesResponse).Success && q.PrevLogEntry > 0 {
		t.peers.heard(q.LeaderCommitIndex, e.sent)
	}
	var w wire.Writer
	t.envelope(raft.ServerAddress(e.from)).append(&w)
	switch p := resp.(type) {
	case *raft.AppendEntriesResponse:
		appendAppendResponse(&w, p)
	case *raft.RequestVoteResponse:
		appendGrant(&w, p.Term, p.Granted)
	case *raft.RequestPreVoteResponse:
		appendGrant(&w, p.Term, p.Granted)
	case *raft.TimeoutNowResponse:
	}
	return w.B, nil
}

// admit refuses what was not meant for this replica: a message to an earlier
// incarnation must not reach a later one, which has not seen what that one
// acknowledged; and nobody speaks for another node.
func (t *Transport) admit(from fsm.NodeID, e envelope, decode error) error {
	if decode != nil {
		return decode
	}
	sender, err := fsm.ParseReplica(e.from)
	if err != nil || sender.Node != from {
		return fsm.Errorf(fsm.Forbidden, "node %s speaks as replica %q", from, e.from)
	}
	if e.to != t.local.String() {
		if r, err := fsm.ParseReplica(e.to); t.later != nil && err == nil && r.Node == t.local.Node && r.Incarnation > t.local.Incarnation {
			t.later(r, from)
		}
		return fsm.Errorf(fsm.NotFound, "replica %s is not here; %s is", e.to, t.local)
	}
	return nil
}

// consume hands a message to Raft's main loop and waits for its answer.
func (t *Transport) consume(ctx context.Context, rpc raft.RPC) (any, error) {
	answer := make(chan raft.RPCResponse, 1)
	rpc.RespChan = answer
	select {
	case t.rpcs <- rpc:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.ctx.Done():
		return nil, t.ctx.Err()
	}
	select {
	case a := <-answer:
		return a.Response, a.Error
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.ctx.Done():
		return nil, t.ctx.Err()
	}
}

// campaign tells this replica's own Raft to stand for election now. The caller
// must know that it is a voter and has no leader: Raft does not ask.
func (t *Transport) campaign() {
	own := envelope{to: t.local.String(), from: t.local.String()}
	ctx, cancel := context.WithTimeout(t.ctx, voteTimeout)
	defer cancel()
	t.consume(ctx, raft.RPC{Command: &raft.TimeoutNowRequest{RPCHeader: own.header()}})
}
