package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cairn/cluster/group"
	"cairn/cluster/link"
	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/store"
)

// ControllerCopy is what a stopped node has of the controller: what recovering
// the controller from it would keep.
type ControllerCopy struct {
	Cluster                    string
	Node                       fsm.NodeID
	Index, Term                uint64 // of its last entry, committed or not
	Voters                     []ControllerVoter
	Members, Hunts, Partitions int
	Begun                      bool // a recovery from it began and did not end: the node does not start
	// Aside: the controller went on from another node's copy, its heir's, which this
	// node never got, and this copy is of before. The heir is the voter then.
	Aside bool
}

// ControllerVoter is a voter of the controller, as a copy has it.
type ControllerVoter struct {
	Node          fsm.NodeID
	Name, Address string
	Self          bool // it is the copy's own node
	Answers       bool // something listens at its address
}

// skip is how many numbers a recovery of the controller leaves out at least: far
// more than the entries that are lost can have given out. skipSecond are added for
// every second of the time, more than a recovery and what follows it give out in
// one, so that two recoveries, one after the other or by mistake from two copies,
// do not give out the same.
const (
	skip       = 1 << 20
	skipSecond = 1 << 12
)

// answersWithin is how long another voter has to accept a connection.
const answersWithin = 2 * time.Second

// ReadController reads a stopped node's copy of the controller, and knocks at the
// other voters' addresses.
func ReadController(ctx context.Context, dir *store.Dir, dial link.Dialer) (ControllerCopy, error) {
	s, err := openSuccession(dir)
	if err != nil {
		return ControllerCopy{}, err
	}
	return s.describe(ctx, dial), nil
}

// RecoverController makes a stopped node's copy of the controller the beginning
// of a new history, in which this node is the only voter for now. What other
// voters acknowledged and the copy lacks is lost; nobody else's copy counts any
// more. It refuses (Conflict) while a majority of the voters could still decide.
// A crash leaves it undone or to be completed by another call; until then the
// node does not start.
func RecoverController(ctx context.Context, dir *store.Dir, dial link.Dialer, now time.Time) (ControllerCopy, error) {
	s, err := openSuccession(dir)
	if err != nil {
		return ControllerCopy{}, err
	}
	c := s.describe(ctx, dial)
	if s.id.Resuming == 0 {
		if err := c.hopeless(); err != nil {
			return c, err
		}
	}
	return c, s.take(now)
}

// hopeless refuses what needs no recovery. This node counts as well: it would
// run.
func (c ControllerCopy) hopeless() error {
	var able []string
	if c.Aside && slices.ContainsFunc(c.Voters, func(v ControllerVoter) bool { return v.Answers }) {
		return fsm.Errorf(fsm.Conflict, "the controller goes on from the copy of node %s, which answers, and this node is to be filled by it: start this node instead; nothing needs to be given up",
			c.Voters[0].Name)
	}
	for _, v := range c.Voters {
		if v.Answers || v.Self {
			able = append(able, v.Name)
		}
	}
	if len(c.Voters) > 0 && len(able) <= len(c.Voters)/2 {
		return nil
	}
	return fsm.Errorf(fsm.Conflict, "of the controller's %d voters %s could go on together: start this node instead; nothing needs to be given up",
		len(c.Voters), strings.Join(able, ", "))
}

// succession is a stopped node's copy, open.
type succession struct {
	dir     *store.Dir
	id      *identity
	conf    group.Config
	machine *controlMachine
	have    group.Copy
	aside   bool // it is the one that was put aside
}

func openSuccession(dir *store.Dir) (*succession, error) {
	id, err := readIdentity(dir)
	if err != nil {
		return nil, err
	}
	s := &succession{dir: dir, id: id, machine: newControlMachine(func() {})}
	old := id.replica()
	if id.Resuming > 0 {
		old.Incarnation = id.Resuming
	}
	s.conf = group.Config{Name: "controller", Replica: old, Machine: s.machine}
	if id.Renewing { // what was not put aside is half gone
		return s, s.openAside(errors.New("this node's copy of the controller was being replaced when it stopped, and is worth nothing: choose another node's"))
	}
	snaps, err := dir.Snapshots("controller")
	if err != nil {
		return nil, fmt.Errorf("open the controller's snapshots: %w", err)
	}
	s.conf.Snapshots = snaps
	if id.Resuming > 0 {
		// The log may be the old one, the new one, or gone. If the new history's
		// snapshot is there, that is all that is needed.
		if s.have, err = group.Read(s.conf); err != nil || s.have.Of(id.replica()) {
			return s, err
		}
		s.machine.m.Store(controller.New())
	}
	err = s.openLog(old)
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return nil, err
	}
	return s, s.openAside(err)
}

// openLog reads the whole copy that a replica has.
func (s *succession) openLog(old fsm.Replica) error {
	log, err := s.dir.OpenController(old.String())
	if err != nil {
		return fmt.Errorf("open the controller's log: %w", err)
	}
	if err := verifyStorage(log, s.conf.Snapshots.(*store.Snapshots)); err != nil {
		return err
	}
	s.conf.Logs = log
	s.have, err = group.Read(s.conf)
	return err
}

// openAside takes the copy that was put aside in place of the replica's own, if
// that one is of no use (unusable says why), or has not got as far: it was to be
// filled by the heir.
func (s *succession) openAside(unusable error) error {
	conf, err := asideConf(s.dir, s.conf.Replica)
	if err != nil {
		return errors.Join(unusable, err)
	}
	conf.Machine = newControlMachine(func() {})
	have, err := group.Read(conf)
	if err != nil {
		return errors.Join(unusable, err)
	}
	m := conf.Machine.(*controlMachine)
	switch old := m.m.Load().State(); {
	case !old.Founded():
		return unusable
	case unusable == nil && further(s.state(), old):
		return nil
	}
	s.aside, s.machine, s.conf.Machine, s.have = true, m, m, have
	return nil
}

func (s *succession) state() *controller.State { return s.machine.m.Load().State() }

func (s *succession) describe(ctx context.Context, dial link.Dialer) ControllerCopy {
	st := s.state()
	c := ControllerCopy{
		Cluster: s.id.Cluster, Node: s.id.Node, Index: s.have.Index, Term: s.have.Term,
		Hunts: len(st.Hunts()), Partitions: len(st.Partitions()), Begun: s.id.Resuming > 0, Aside: s.aside,
	}
	members := map[fsm.NodeID]controller.Member{}
	for _, m := range st.Members() {
		if members[m.ID] = m; m.State != controller.Left {
			c.Members++
		}
	}
	var knock sync.WaitGroup
	servers := s.have.Configuration.Servers
	if s.aside && s.id.Heir != "" {
		// Those of the copy's own configuration have given it up, as this node has.
		servers = []group.Server{{Replica: fsm.Replica{Node: s.id.Heir}, Voter: true}}
	}
	for _, v := range servers {
		if v.Voter {
			m := members[v.Replica.Node]
			c.Voters = append(c.Voters, ControllerVoter{Node: v.Replica.Node, Name: orDefault(m.Name, string(v.Replica.Node)), Address: m.Address, Self: v.Replica.Node == s.id.Node})
		}
	}
	for i := range c.Voters {
		if v := &c.Voters[i]; !v.Self {
			knock.Go(func() { v.Answers = answers(ctx, dial, v.Address) })
		}
	}
	knock.Wait()
	slices.SortFunc(c.Voters, func(a, b ControllerVoter) int { return strings.Compare(a.Name, b.Name) })
	return c
}

func answers(ctx context.Context, dial link.Dialer, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	conn, err := dial(ctx, address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// take makes the copy the new history. The name is noted first: from then on the
// node only starts when all is done.
func (s *succession) take(now time.Time) error {
	if !s.state().Founded() {
		return errors.New("this node has no copy of the controller's state: nothing can be recovered from it")
	}
	if !s.have.Of(s.id.replica()) || s.id.Resuming == 0 {
		resume := &controller.Resume{Now: fsm.TimeOf(now), Node: s.id.Node, Skip: s.skip(now)}
		res, err := s.machine.m.Load().Apply(controller.Encode(resume))
		if err == nil && res.Err != nil {
			err = res.Err
		}
		if err != nil {
			return err
		}
		if s.id.Resuming == 0 {
			s.id.Resuming = s.id.Incarnation
		}
		if s.id.Renewing { // what is left of the replica's own copy is under another name
			if err := s.dir.DropController(); err != nil {
				return err
			}
		}
		s.id.Incarnation, s.id.Renew, s.id.Renewing = res.Incarnation, 0, false
		if err := s.id.save(s.dir); err != nil {
			return err
		}
		if err := s.makeRoom(); err != nil {
			return err
		}
		if err := group.Begin(s.conf, s.have, s.id.replica()); err != nil {
			return err
		}
	}
	if err := s.dir.DropController(); err != nil {
		return err
	}
	log, err := s.dir.OpenController(s.id.replica().String())
	if err != nil {
		return err
	}
	// An election must lead to a term behind that of the snapshot.
	if err := log.SetUint64([]byte("CurrentTerm"), s.have.Term); err != nil {
		return err
	}
	s.id.Resuming = 0
	if err := s.id.save(s.dir); err != nil {
		return err
	}
	return s.dir.DropSnapshots(asideName)
}

// skip is how many numbers are left out: behind all that this node was ever called
// by as well, for that came from a history that the copy may know nothing of.
func (s *succession) skip(now time.Time) uint64 {
	heard, next := max(s.id.Incarnation, s.id.Renew), s.state().NextReplica()
	return max(skip+skipSecond*uint64(max(0, now.Unix())), skip+heard-min(heard, next))
}

// makeRoom drops what the copy that was put aside is to take the place of. A
// crash leaves the one aside.
func (s *succession) makeRoom() error {
	if !s.aside {
		return nil
	}
	if err := s.dir.DropSnapshots("controller"); err != nil {
		return err
	}
	snaps, err := s.dir.Snapshots("controller")
	s.conf.Snapshots = snaps
	return err
}

// errSucceeded is why a node that was called by a later name asks for a new one.
var errSucceeded = errors.New("the controller goes on without it")

// succeeded is told that another member takes this node's controller replica for
// a later one: the state gives it a new name. Either the controller was recovered
// from another member's copy, or this node's data is of the past. What it has does
// not count any more, and it starts again with nothing, under a name that is newer
// still: it may have run under this one before, and must not forget what it said.
func (n *Node) succeeded(as fsm.Replica, by fsm.NodeID) {
	n.anew.Do(func() {
		n.log.Warn("the controller goes on without this node's copy of it: starting again with an empty one", "replica", as, "called_by", by)
		id := *n.id
		id.Renew, id.Heir = as.Incarnation, by
		if err := id.save(n.conf.Dir); err != nil {
			n.conf.Fatal(err)
			return
		}
		n.void() // nobody waits for what it will never have
		n.conf.Again()
	})
}
