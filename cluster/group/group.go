package group

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"cairn/fsm"
)

// Group is this node's replica of one Raft group.
type Group struct {
	conf  Config
	raft  *raft.Raft
	trans *Transport
	fsm   *applier

	leading   atomic.Bool
	wedged    atomic.Int64  // unix nanoseconds since when writes are refused by a stuck transfer; 0: they are not
	stood     atomic.Uint64 // newest term in which Nominate was obeyed
	snapshots atomic.Pointer[raft.SnapshotMeta]
	cancel    context.CancelFunc
	running   sync.WaitGroup
	closed    chan struct{} // once raft has stopped
	ended     sync.Once     // closes closed
}

// observed leadership changes queue here; beyond that many raft drops them, and
// the follower of the queue reads the current state anyway.
const observations = 64

// Open starts the replica: it restores the newest snapshot and what the log
// knows to be committed, then follows, campaigns or idles as its configuration
// says. A new replica without a configuration idles until a leader adds it.
func Open(c Config) (*Group, error) {
	if c.Timing == (Timing{}) {
		c.Timing = DefaultTiming
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := c.Timing.Validate(); err != nil {
		return nil, err
	}
	g := &Group{conf: c, fsm: &applier{machine: c.Machine, fatal: c.Fatal}, closed: make(chan struct{})}
	g.trans = NewTransport(c.ID, c.Replica, c.Link, c.Unsent, c.Timing.Heartbeat/beatsPerTimeout)
	g.trans.sends, g.trans.later, g.trans.wall = c.Sends, c.Succeeded, c.Now
	r, err := raft.NewRaft(c.raft(), g.fsm, c.Logs, c.Stable, c.Snapshots, g.trans)
	if err != nil {
		g.trans.Close()
		return nil, fmt.Errorf("start replica %s of %s: %w", c.Replica, c.Name, err)
	}
	g.raft = r
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	seen := make(chan raft.Observation, observations)
	r.RegisterObserver(raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.RaftState)
		return ok
	}))
	g.running.Add(2)
	go g.watch(ctx, seen)
	go g.snapshotLoop(ctx)
	g.standAlone()
	return g, nil
}

// Bootstrap makes this replica the only voter of a new group. Only the founder
// of a group calls it, once; on a replica that has any state it does nothing.
func (g *Group) Bootstrap() error {
	self := raft.Server{ID: raft.ServerID(g.conf.Replica.String()), Address: g.trans.LocalAddr()}
	err := g.raft.BootstrapCluster(raft.Configuration{Servers: []raft.Server{self}}).Error()
	if err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
		return err
	}
	g.standAlone()
	return nil
}

// standAlone makes a replica that is its group's only voter campaign at once: it
// has nobody to wait for, and a group of one would otherwise start with a pause
// of up to two heartbeat timeouts.
func (g *Group) standAlone() {
	conf, err := g.Configuration()
	if err != nil {
		return
	}
	for _, s := range conf.Servers {
		if s.Voter != (s.Replica == g.conf.Replica) {
			return
		}
	}
	if len(conf.Servers) > 0 {
		g.running.Go(g.trans.campaign)
	}
}

// Close stops the replica. What it acknowledged is on disk.
func (g *Group) Close() error {
	g.cancel()
	g.trans.Close() // before Shutdown, which waits for calls under way
	err := g.raft.Shutdown().Error()
	g.ended.Do(func() { close(g.closed) })
	g.running.Wait()
	return err
}

// await is what Error of one of raft's futures returns, ended by Close. Raft
// leaves futures unanswered whose entries were committed but not yet applied when
// it shut down. It waits for an answer or for the end of the channel that a
// future has in ShutdownCh, but gives entries none.
func (g *Group) await(f raft.Future) error {
	v := reflect.Indirect(reflect.ValueOf(f))
	if end := v.FieldByName("ShutdownCh"); end.IsValid() && end.IsNil() {
		end.Set(reflect.ValueOf(g.closed))
	}
	return f.Error()
}

// watch tells OnLeader of this replica's leadership.
func (g *Group) watch(ctx context.Context, seen <-chan raft.Observation) {
	defer g.running.Done()
	tick := time.NewTicker(time.Second) // an observation may have been dropped
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-seen:
		case <-tick.C:
		}
		leads := g.raft.State() == raft.Leader
		if g.leading.Swap(leads) == leads {
			continue
		}
		g.wedged.Store(0)
		if !leads {
			// As a leader it had everything committed, up to a lease ago at worst.
			g.trans.peers.heard(g.Commit(), fsm.TimeOf(g.conf.Now()))
		}
		if g.conf.OnLeader != nil {
			g.conf.OnLeader(leads)
		}
	}
}

// Replica is this member's name; Name and ID are the group's.
func (g *Group) Replica() fsm.Replica { return g.conf.Replica }
func (g *Group) Name() string         { return g.conf.Name }
func (g *Group) ID() uint32           { return g.conf.ID }

// Leads reports whether this replica believes to lead. Only a committed entry
// proves that it does.
func (g *Group) Leads() bool { return g.raft.State() == raft.Leader }

// Leader is the replica this one believes to lead; zero if it knows none.
func (g *Group) Leader() fsm.Replica {
	_, id := g.raft.LeaderWithID()
	r, _ := fsm.ParseReplica(string(id))
	return r
}

// Term is the current term.
func (g *Group) Term() uint64 { return g.raft.CurrentTerm() }

// LastContact is when this follower last heard from a leader; now on the leader.
func (g *Group) LastContact() time.Time {
	if g.Leads() {
		return time.Now()
	}
	return g.raft.LastContact()
}

// Applied is the index up to which the machine's state is current, Last that of
// the newest entry in the log.
func (g *Group) Applied() uint64 { return g.fsm.index() }
func (g *Group) Last() uint64    { return g.raft.LastIndex() }

// LastTerm is the term of the newest entry. It formats all of raft's statistics.
func (g *Group) LastTerm() uint64 {
	term, _ := strconv.ParseUint(g.raft.Stats()["last_log_term"], 10, 64)
	return term
}

// Commit is the newest index this replica knows to be committed.
func (g *Group) Commit() uint64 { return g.raft.CommitIndex() }

// ErrGivenUp is the answer of WaitUnless when it was told to wait no more.
var ErrGivenUp = errors.New("given up")

// giveUpEvery is how often WaitUnless asks whether to give up.
const giveUpEvery = 50 * time.Millisecond

// Wait returns when the machine has applied index, or ctx ends.
func (g *Group) Wait(ctx context.Context, index uint64) error {
	return g.WaitUnless(ctx, index, func(time.Time) bool { return false })
}

// WaitUnless is Wait, and ends with ErrGivenUp once giveUp, told when the waiting
// began, says so.
func (g *Group) WaitUnless(ctx context.Context, index uint64, giveUp func(began time.Time) bool) error {
	began := time.Now()
	for {
		applied, moved := g.fsm.position()
		if applied >= index {
			return nil
		}
		look := time.NewTimer(giveUpEvery)
		select {
		case <-moved:
		case <-look.C:
			if giveUp(began) {
				return ErrGivenUp
			}
		case <-ctx.Done():
			look.Stop()
			return ctx.Err()
		}
		look.Stop()
	}
}

// Staleness bounds the age of this replica's state: everything committed that
// long ago is in it. The bound is the age of the newest append whose commits are
// applied, by the leader's clock when it sent it, plus the lease (a leader cut
// off may send for that long after its successor was elected) plus skew, the
// most that two clocks of the cluster may differ. ok is false when there is no
// bound yet.
func (g *Group) Staleness(skew time.Duration) (age time.Duration, ok bool) {
	if g.Leads() {
		return g.conf.Timing.Lease, true
	}
	sent, ok := g.trans.peers.asOf(g.Applied())
	if !ok {
		return 0, false
	}
	return max(0, g.conf.Now().Sub(sent.Std())) + g.conf.Timing.Lease + skew, true
}

// Peer is what this leader knows of a follower, of its present term.
func (g *Group) Peer(r fsm.Replica) Peer { return g.trans.peers.Peer(g.Term(), r.String()) }

// Serve handles a message from a peer's replica; ServeSnapshot a stream.
func (g *Group) Serve(ctx context.Context, from fsm.NodeID, kind Kind, body []byte) ([]byte, error) {
	return g.trans.Serve(ctx, from, kind, body)
}

// ServeSnapshot receives a snapshot that a leader sends, and closes conn.
func (g *Group) ServeSnapshot(from fsm.NodeID, conn net.Conn) error {
	return g.trans.ServeSnapshot(from, conn)
}

// enqueueTimeout bounds the wait for raft's main loop to take an entry.
const enqueueTimeout = 2 * time.Second

// Propose appends one entry and returns its index and what Apply returned for it
// here. An entry without data is a barrier. Errors:
//
//   - NotLeader: not appended; the message names the leader if one is known;
//   - OutcomeUnknown: it may yet be committed, by this leader's successor.
func (g *Group) Propose(entry []byte) (index uint64, result any, err error) {
	f := g.raft.Apply(entry, enqueueTimeout)
	err = g.await(f)
	switch {
	case err == nil:
		g.wedged.Store(0)
		return f.Index(), f.Response(), nil
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		g.wedged.CompareAndSwap(0, time.Now().UnixNano())
		return 0, nil, g.notLeader()
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout):
		return 0, nil, g.notLeader()
	}
	return 0, nil, fsm.Errorf(fsm.OutcomeUnknown, "%s: %v", g.conf.Name, err)
}

// notLeader says whom this replica believes to lead: the router reads the
// node's id from the message.
func (g *Group) notLeader() *fsm.Error {
	leader := g.Leader().Node
	if leader == g.conf.Replica.Node {
		leader = "" // it leads, but hands over
	}
	return &fsm.Error{Kind: fsm.NotLeader, Msg: string(leader)}
}

// Wedged reports whether a leadership transfer that never ended has kept this
// leader from writing for two election timeouts (the library's issue 696). The
// cure is to close the group and open it again.
func (g *Group) Wedged() bool {
	since := g.wedged.Load()
	return since != 0 && g.Leads() && time.Since(time.Unix(0, since)) > 2*g.conf.Timing.Election
}
