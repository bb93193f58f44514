package group

import (
	"fmt"

	"github.com/hashicorp/raft"

	"cairn/fsm"
)

// Server is one member of a group's configuration.
type Server struct {
	Replica fsm.Replica
	Voter   bool
}

// Configuration is a group's newest configuration in this replica's log.
// Committed tells whether its entry is known to be committed.
type Configuration struct {
	Servers   []Server
	Index     uint64
	Committed bool
}

// Has returns a member's entry.
func (c Configuration) Has(r fsm.Replica) (Server, bool) {
	for _, s := range c.Servers {
		if s.Replica == r {
			return s, true
		}
	}
	return Server{}, false
}

// Configuration returns the newest configuration this replica knows.
func (g *Group) Configuration() (Configuration, error) {
	f := g.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return Configuration{}, err
	}
	c, err := configuration(f.Index(), f.Configuration())
	c.Committed = f.Index() <= g.raft.CommitIndex()
	return c, err
}

// configuration reads Raft's servers as replicas.
func configuration(index uint64, conf raft.Configuration) (Configuration, error) {
	c := Configuration{Index: index}
	for _, s := range conf.Servers {
		r, err := fsm.ParseReplica(string(s.ID))
		if err != nil {
			return Configuration{}, fmt.Errorf("configuration %d: %w", index, err)
		}
		c.Servers = append(c.Servers, Server{r, s.Suffrage == raft.Voter})
	}
	return c, nil
}

// AddNonvoter, AddVoter, Demote and Remove change the configuration by one
// member. prev is the index of the configuration that the change was planned
// from: if it moved, nothing happens and an error is returned. They return once
// the change is committed.
func (g *Group) AddNonvoter(r fsm.Replica, prev uint64) error {
	return g.await(g.raft.AddNonvoter(raft.ServerID(r.String()), raft.ServerAddress(r.String()), prev, changeTimeout))
}

// AddVoter adds or promotes a voter; see AddNonvoter.
func (g *Group) AddVoter(r fsm.Replica, prev uint64) error {
	return g.await(g.raft.AddVoter(raft.ServerID(r.String()), raft.ServerAddress(r.String()), prev, changeTimeout))
}

// Demote makes a voter a non-voter; see AddNonvoter.
func (g *Group) Demote(r fsm.Replica, prev uint64) error {
	return g.await(g.raft.DemoteVoter(raft.ServerID(r.String()), prev, changeTimeout))
}

// Remove removes a member; see AddNonvoter.
func (g *Group) Remove(r fsm.Replica, prev uint64) error {
	return g.await(g.raft.RemoveServer(raft.ServerID(r.String()), prev, changeTimeout))
}

// changeTimeout bounds the wait for raft's main loop to take a change.
const changeTimeout = enqueueTimeout

// TransferTo hands leadership to a voter that is caught up. Only one transfer at
// a time, and only to a live peer: the library can wedge otherwise, see Wedged.
func (g *Group) TransferTo(r fsm.Replica) error {
	return g.await(g.raft.LeadershipTransferToServer(raft.ServerID(r.String()), raft.ServerAddress(r.String())))
}

// Nominate makes this replica stand for election, if it is a voter that follows
// the given leader in the given term, or in a later one knows no leader; and it
// has not done so in its present term before. Whoever calls it has reason to
// believe that the leader is gone: if it is not, a follower with a log as long
// takes its place, which costs a pause and nothing else. It reports whether the
// replica stands.
//
// A later term without a leader is that of another who stood and lacks entries
// that this replica has: it cannot win, and has only raised the term.
//
// Raft itself does not look: TimeoutNow to a non-voter, or to the leader, deposes
// a healthy leader.
func (g *Group) Nominate(term uint64, leader fsm.Replica) bool {
	conf, err := g.Configuration()
	if err != nil {
		return false
	}
	self, in := conf.Has(g.conf.Replica)
	now, follows := g.Term(), g.Leader()
	orphan := now == term && follows == leader || now > term && follows.IsZero()
	if !in || !self.Voter || leader == g.conf.Replica || g.raft.State() != raft.Follower || !orphan {
		return false
	}
	if last := g.stood.Load(); last >= now || !g.stood.CompareAndSwap(last, now) {
		return false
	}
	g.trans.campaign()
	return true
}
