package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"cairn/cluster/group"
	"cairn/cluster/link"
	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/fsm/partition"
	"cairn/store"
)

// partitionMachine adapts a partition's machine to a group: Apply excludes
// readers, readers exclude only Apply.
type partitionMachine struct {
	mu     sync.RWMutex
	m      *partition.Machine
	rate   rateMeter
	hashes *hasher // nil: nobody will ask for any
}

func (p *partitionMachine) Apply(index uint64, entry []byte) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	results, err := p.m.Apply(entry)
	p.rate.events.Add(int64(len(results)))
	if err == nil && p.hashes != nil && slices.ContainsFunc(results, func(r partition.Result) bool { return r.Checkpoint }) {
		p.hashes.take(index, p.m.Freeze())
	}
	return results, err
}

func (p *partitionMachine) Freeze() io.WriterTo {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.m.Freeze()
}

func (p *partitionMachine) Restore(r io.Reader) error {
	m, err := partition.Restore(r)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.m = m
	return nil
}

// read runs f while the state stands still. f must not keep what it is given.
func (p *partitionMachine) read(f func(m *partition.Machine)) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	f(p.m)
}

// replica is this node's replica of one partition.
type replica struct {
	node    *Node
	id      fsm.PartitionID
	group   *group.Group
	queue   *group.Queue
	machine *partitionMachine

	installing chan struct{} // cap 1: one install of a hunt at a time, see install
}

func (r *replica) close() {
	r.queue.Close()
	r.group.Close()
	r.machine.hashes.close()
}

// replicas are the partitions of which this node has a replica.
//
// Invariant: what runs here is in the store's registry, under the same name; a
// name is never opened again once its data was dropped.
type replicas struct {
	node  *Node
	pacer *group.Pacer
	sends chan struct{} // see group.Config
	hash  chan struct{} // see hasher
	used  *used

	mu      sync.RWMutex
	open    map[fsm.PartitionID]*replica
	closed  bool
	damaged map[fsm.PartitionID]fsm.Replica // refused at start, waiting for a new incarnation
}

// maxSends is how many snapshots a node sends at once: repair must leave the disk
// and the network to the players.
const maxSends = 2

func newReplicas(n *Node) (*replicas, error) {
	u, err := openUsed(n.conf.Dir)
	if err != nil {
		return nil, err
	}
	return &replicas{
		node: n, pacer: group.NewPacer(), sends: make(chan struct{}, maxSends), hash: make(chan struct{}, maxHashing), used: u,
		open: map[fsm.PartitionID]*replica{}, damaged: map[fsm.PartitionID]fsm.Replica{},
	}, nil
}

func (rs *replicas) get(p fsm.PartitionID) *replica {
	rs.mu.RLock()
	defer rs.mu.RUnlock()
	return rs.open[p]
}

// all returns the open replicas in order of partition.
func (rs *replicas) all() []*replica {
	rs.mu.RLock()
	defer rs.mu.RUnlock()
	return sortedValues(rs.open)
}

// damage returns the replicas that were refused because their data is damaged.
func (rs *replicas) damage() map[fsm.PartitionID]fsm.Replica {
	rs.mu.RLock()
	defer rs.mu.RUnlock()
	out := make(map[fsm.PartitionID]fsm.Replica, len(rs.damaged))
	for p, r := range rs.damaged {
		out[p] = r
	}
	return out
}

// openLocal opens every replica that the store's registry names. A damaged one
// is refused, and reported until the controller gives it a new incarnation.
func (rs *replicas) openLocal() error {
	logs, err := rs.node.conf.Dir.Logs()
	if errors.Is(err, store.ErrDamaged) {
		return rs.quarantineAll(err)
	}
	if err != nil {
		return fmt.Errorf("open the partitions' log: %w", err)
	}
	for _, info := range logs.Groups() {
		p := fsm.PartitionID(info.Group - 1)
		name, err := fsm.ParseReplica(info.Replica)
		if err != nil {
			return err
		}
		if info.Quarantined { // by an earlier start
			rs.refuse(p, name, info.Err)
			continue
		}
		err = rs.openOne(p, name, false)
		if errors.Is(err, store.ErrDamaged) {
			rs.refuse(p, name, err)
			err = rs.quarantine(logs, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// quarantine makes a damaged replica's data unusable for good.
func (rs *replicas) quarantine(logs *store.Logs, p fsm.PartitionID) error {
	if err := logs.Quarantine(groupOf(p)); err != nil {
		return err
	}
	return rs.node.conf.Dir.DropSnapshots(snapshotName(p))
}

// quarantineAll moves the partitions' log aside as a whole: its structure is
// damaged, so nothing in it can be trusted.
func (rs *replicas) quarantineAll(damage error) error {
	groups, err := rs.node.conf.Dir.QuarantineLogs()
	if err != nil {
		return errors.Join(damage, err)
	}
	for _, info := range groups {
		name, err := fsm.ParseReplica(info.Replica)
		if err != nil {
			return err
		}
		p := fsm.PartitionID(info.Group - 1)
		rs.refuse(p, name, damage)
		if err := rs.node.conf.Dir.DropSnapshots(snapshotName(p)); err != nil {
			return err
		}
	}
	return nil
}

func (rs *replicas) refuse(p fsm.PartitionID, name fsm.Replica, damage error) {
	rs.node.log.Error("this replica's data is damaged; it is refused here and will be filled again from the others",
		"partition", p, "replica", name, "err", damage)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.damaged[p] = name
}

// create starts a new, empty replica; if it runs under this name already, it is
// that one. A name whose data is gone is refused, see used.
func (rs *replicas) create(p fsm.PartitionID, name fsm.Replica) (*replica, error) {
	if r := rs.get(p); r != nil {
		if r.group.Replica() == name {
			return r, nil
		}
		return nil, fmt.Errorf("partition %d runs here as %s, not %s", p, r.group.Replica(), name)
	}
	if err := rs.used.claim(p, name); errors.Is(err, errUsed) && !rs.node.id.Founding {
		rs.refuse(p, name, err)
		return nil, err
	} else if err != nil && !errors.Is(err, errUsed) {
		return nil, err
	}
	if err := rs.openOne(p, name, true); err != nil {
		return nil, err
	}
	return rs.get(p), nil
}

func snapshotName(p fsm.PartitionID) string { return fmt.Sprintf("p%04d", p) }

// openStorage opens a replica's log and snapshots. What is there already is
// verified as a whole: a damaged snapshot behind a log that was cut at it would
// be a gap.
func (rs *replicas) openStorage(p fsm.PartitionID, name fsm.Replica, create bool) (*store.GroupLog, *store.Snapshots, error) {
	dir := rs.node.conf.Dir
	logs, err := dir.Logs()
	if err != nil {
		return nil, nil, err
	}
	open := logs.Open
	if create {
		if err := dir.DropSnapshots(snapshotName(p)); err != nil { // of an earlier replica here
			return nil, nil, err
		}
		open = logs.Create
	}
	log, err := open(groupOf(p), name.String())
	if err != nil {
		return nil, nil, fmt.Errorf("open the log of partition %d: %w", p, err)
	}
	snaps, err := dir.Snapshots(snapshotName(p))
	if err != nil {
		return nil, nil, fmt.Errorf("open the snapshots of partition %d: %w", p, err)
	}
	if err := verifyStorage(log, snaps); err != nil {
		return nil, nil, fmt.Errorf("verify partition %d: %w", p, err)
	}
	return log, snaps, nil
}

// verifyStorage checks a log's snapshots, and that no entry is missing between
// the newest of them and the log.
func verifyStorage(log raft.LogStore, snaps *store.Snapshots) error {
	first, err := log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := log.LastIndex()
	if err != nil {
		return err
	}
	return snaps.Verify(first, last)
}

func (rs *replicas) openOne(p fsm.PartitionID, name fsm.Replica, create bool) error {
	n := rs.node
	log, snaps, err := rs.openStorage(p, name, create)
	if err != nil {
		return err
	}
	r := &replica{
		node: n, id: p, machine: &partitionMachine{m: partition.New(), hashes: newHasher(rs.hash)}, installing: make(chan struct{}, 1),
	}
	gname := snapshotName(p)
	r.group, err = group.Open(group.Config{
		ID: groupOf(p), Name: gname, Replica: name, Machine: r.machine,
		Logs: log, Stable: log, Snapshots: snaps, Link: n.link, Unsent: link.ErrUnsent,
		Sends: rs.sends, Timing: n.conf.Timing, Now: n.conf.Now, Logger: n.log, Fatal: n.conf.Fatal,
		OnLeader:     func(leads bool) { n.leaderChanged(gname, leads) },
		SnapshotTook: func(d time.Duration) { n.conf.Events.SnapshotTook(gname, d) },
	})
	if err != nil {
		r.machine.hashes.close()
		return err
	}
	r.queue = group.NewQueue(r.group, rs.pacer, rs.node.conf.EntryCommands, group.QueueEvents{
		Committed: n.conf.Events.Committed, Refused: n.conf.Events.Refused,
	})
	rs.mu.Lock()
	closed := rs.closed
	if !closed {
		rs.open[p] = r
	}
	rs.mu.Unlock()
	if closed { // the node stops meanwhile: nobody else would
		r.close()
		return n.ctx.Err()
	}
	return nil
}

// drop stops a replica and deletes its data for ever.
func (rs *replicas) drop(p fsm.PartitionID) error {
	rs.mu.Lock()
	r := rs.open[p]
	delete(rs.open, p)
	delete(rs.damaged, p)
	rs.mu.Unlock()
	if r != nil {
		r.close()
	}
	logs, err := rs.node.conf.Dir.Logs()
	if err != nil {
		return err
	}
	if err := logs.Drop(groupOf(p)); err != nil {
		return err
	}
	return rs.node.conf.Dir.DropSnapshots(snapshotName(p))
}

// restart closes a replica and opens it again: the cure for a group that a
// leadership transfer has wedged.
func (rs *replicas) restart(r *replica) error {
	rs.mu.Lock()
	delete(rs.open, r.id)
	rs.mu.Unlock()
	r.close()
	return rs.openOne(r.id, r.group.Replica(), false)
}

// adopt closes a replica and lets the partition begin anew, under another name,
// with what it has, see controller.Recover. It goes on where a crash left it.
func (rs *replicas) adopt(p fsm.PartitionID, old, as fsm.Replica) error {
	rs.mu.Lock()
	r := rs.open[p]
	delete(rs.open, p)
	rs.mu.Unlock()
	if r != nil {
		r.close()
	}
	logs, err := rs.node.conf.Dir.Logs()
	if err != nil {
		return err
	}
	switch _, err := logs.Open(groupOf(p), as.String()); {
	case err == nil:
		return rs.openOne(p, as, false)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	log, snaps, err := rs.openStorage(p, old, false)
	if errors.Is(err, fs.ErrNotExist) {
		rs.refuse(p, as, err) // the data that was to be adopted is gone
		return err
	}
	if err != nil {
		return err
	}
	if err := rs.used.note(p, as); err != nil {
		return err
	}
	err = group.Adopt(group.Config{
		Name: snapshotName(p), Replica: old, Machine: &partitionMachine{m: partition.New()},
		Logs: log, Snapshots: snaps, Fatal: rs.node.conf.Fatal,
	}, as)
	if err != nil {
		return err
	}
	if err := logs.Rename(groupOf(p), old.String(), as.String()); err != nil {
		return err
	}
	return rs.openOne(p, as, false)
}

func (rs *replicas) close() {
	rs.mu.Lock()
	open := rs.open
	rs.closed = true
	rs.open = map[fsm.PartitionID]*replica{}
	rs.mu.Unlock()
	var stopped sync.WaitGroup
	for _, r := range open {
		stopped.Go(r.close)
	}
	stopped.Wait()
}

// initialise gives a founded partition its range. Another Init is a Conflict,
// which is what a repeated one is to see.
func (r *replica) initialise(ctx context.Context, row controller.Partition) error {
	cmd := &partition.Init{Partition: row.ID, Range: row.Range, Epoch: row.Epoch}
	for attempt := 0; ; attempt++ {
		res, err := r.queue.Do(ctx, cmd)
		if err == nil && (res.Err == nil || res.Err.Kind == fsm.Conflict) {
			return nil
		}
		if err == nil {
			return res.Err
		}
		if !pause(ctx, attempt) {
			return err
		}
	}
}
