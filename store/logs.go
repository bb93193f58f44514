package store

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"cairn/store/journal"
)

// Logs are the Raft logs of all partition groups of a node, in one journal with
// one sync for everything that waits. Its methods may be called from any
// goroutine.
//
// Invariants:
//
//  1. A group has a record if the register has it as live; the reverse holds
//     but for what a crash within Create, Drop or Quarantine left, which the
//     next opening leaves behind.
//  2. The newest segment has the last record of every group.
//  3. For each of a group's entries first..last its index has the place of the
//     newest copy, each is linked to the one before, the last one with the
//     record's tail.
//  4. A segment with an entry of an index is kept.
type Logs struct {
	dir     *Dir
	journal *journal.Journal

	admin    sync.Mutex // Create, Drop and Quarantine, one at a time
	register register   // guarded by admin

	// Of whoever writes:
	live    map[uint32]*GroupLog // the groups with a record
	used    usage
	payload []byte // of the batch

	tidying sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	writing bool       // somebody is writing, or about to
	tidy    bool       // a goroutine is tidying up
	queue   []*request // what waits for the writer
	groups  map[uint32]*GroupLog
}

var errDropped = fmt.Errorf("store: the group's log was dropped: %w", fs.ErrClosed)

// Logs opens the partitions' log, or returns it if it is open. Everything in it
// is verified first. ErrDamaged means that no group's log can be used (see
// QuarantineLogs); damage that concerns one group only is told by Groups and by
// that group's Open.
func (d *Dir) Logs() (*Logs, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	if d.logs != nil {
		return d.logs, nil
	}
	l, err := d.openLogs()
	if err != nil {
		return nil, fmt.Errorf("open the partitions' log: %w", err)
	}
	d.logs = l
	return l, nil
}

func (d *Dir) openLogs() (*Logs, error) {
	path := filepath.Join(d.path, logsDir)
	register, err := d.readyLogs(path)
	if err != nil {
		return nil, err
	}
	l := &Logs{dir: d, register: register, live: map[uint32]*GroupLog{}, used: usage{}, groups: map[uint32]*GroupLog{}}
	if err := l.load(path); err != nil {
		return nil, err
	}
	return l, l.finishRenames()
}

// readyLogs returns the register and makes sure that there is a journal to it.
// The first opening writes an empty register and then an empty journal, so a live
// replica without one, and one without a register, mean that one was lost.
func (d *Dir) readyLogs(path string) (register, error) {
	_, statErr := os.Stat(path)
	missing := errors.Is(statErr, fs.ErrNotExist)
	if statErr != nil && !missing {
		return nil, statErr
	}
	r, err := d.readRegister()
	switch {
	case errors.Is(err, fs.ErrNotExist) && missing:
		if err := d.writeRegister(register{}); err != nil {
			return nil, err
		}
		r = register{}
	case errors.Is(err, fs.ErrNotExist):
		return nil, damagedf("file "+registerFile, "it is missing, and %s is there", logsDir)
	case err != nil:
		return nil, err
	case missing && r.live() > 0:
		return nil, damagedf("directory "+logsDir, "it is missing, and %s names %d replicas", registerFile, r.live())
	}
	if missing {
		return r, d.createJournal(path)
	}
	return r, nil
}

// createJournal makes a journal without groups under another name and renames
// it: a directory of that name is always a complete one.
func (d *Dir) createJournal(path string) error {
	temp := path + tempSuffix
	if err := d.disk.RemoveAll(temp); err != nil {
		return err
	}
	if err := d.disk.Mkdir(temp, 0o700); err != nil {
		return err
	}
	j, err := d.openJournal(temp, nil, func(*journal.Batch) {})
	if err != nil {
		return err
	}
	if err := errors.Join(j.Roll(appendBatch(nil, nil), 0, nil), j.Close()); err != nil {
		return err
	}
	return d.disk.renameSynced(temp, path)
}

// Groups returns the register, by group, with what is known of damage.
func (l *Logs) Groups() []GroupInfo {
	l.admin.Lock()
	defer l.admin.Unlock()
	infos := l.register.sorted()
	for i := range infos {
		if g := l.group(infos[i].Group); g != nil {
			infos[i].Err = g.damage
		}
	}
	return infos
}

// Create makes an empty log for a replica that has never run. It fails if the
// node already has a replica of the group, or has had one of this name whose
// data was quarantined.
func (l *Logs) Create(group uint32, replica string) (*GroupLog, error) {
	if err := checkReplica(replica); err != nil {
		return nil, err
	}
	l.admin.Lock()
	defer l.admin.Unlock()
	if old, ok := l.register[group]; ok {
		switch {
		case !old.Quarantined:
			return nil, fmt.Errorf("store: group %d has replica %s here; drop it before making %s", group, old.Replica, replica)
		case old.Replica == replica:
			return nil, fmt.Errorf("store: replica %s of group %d was quarantined; its name must not be used again", replica, group)
		}
	}
	if len(l.register) >= maxReplicas {
		return nil, fmt.Errorf("store: this node has %d replicas, which is the limit", maxReplicas)
	}
	g := &GroupLog{logs: l, group: group}
	err := l.commit(&request{apply: func(t *txn) error {
		t.change(g).state = &state{replica: replica}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	if err := l.setRegister(l.register.with(GroupInfo{Group: group, Replica: replica})); err != nil {
		return nil, err
	}
	l.setGroup(group, g)
	return g, nil
}

// Open returns the log of a replica that was created before, the same each time:
// fs.ErrNotExist if the node has none of that group and name, ErrDamaged if it
// was found damaged, or lies in quarantine.
func (l *Logs) Open(group uint32, replica string) (*GroupLog, error) {
	l.admin.Lock()
	defer l.admin.Unlock()
	info, ok := l.register[group]
	switch {
	case !ok:
		return nil, fmt.Errorf("store: no log of group %d here: %w", group, fs.ErrNotExist)
	case info.Replica != replica:
		return nil, fmt.Errorf("store: group %d has replica %s here, not %s: %w", group, info.Replica, replica, fs.ErrNotExist)
	case info.Quarantined:
		return nil, damagedf(fmt.Sprintf("replica %s", replica), "it was quarantined; ask for a replica of a new name")
	}
	g := l.group(group)
	if g.damage != nil {
		return nil, g.damage
	}
	return g, nil
}

// Drop forgets a group and deletes its log. Its Raft must have stopped. A group
// that is not here is no error. Its snapshots are DropSnapshots' business.
func (l *Logs) Drop(group uint32) error {
	l.admin.Lock()
	defer l.admin.Unlock()
	return l.remove(group, l.register.without(group))
}

// Quarantine deletes a group's log, because it or a snapshot is damaged, and
// remembers the replica's name, so that nobody uses it again. Its Raft must have
// stopped.
func (l *Logs) Quarantine(group uint32) error {
	l.admin.Lock()
	defer l.admin.Unlock()
	info, ok := l.register[group]
	if !ok {
		return fmt.Errorf("store: no log of group %d here: %w", group, fs.ErrNotExist)
	}
	info.Quarantined = true
	l.dir.opts.Logger.Warn("replica quarantined", "group", group, "replica", info.Replica)
	return l.remove(group, l.register.with(info))
}

// Rename gives a group's log, with all that is in it, to a replica of another
// name. The old one must have stopped, and is not to be used again. It lasts from
// the register on, whatever the log says yet.
func (l *Logs) Rename(group uint32, from, to string) error {
	if err := checkReplica(to); err != nil {
		return err
	}
	l.admin.Lock()
	defer l.admin.Unlock()
	g := l.group(group)
	if info, ok := l.register[group]; !ok || info.Replica != from || info.Quarantined || g == nil || g.damage != nil {
		return fmt.Errorf("store: no sound log of group %d and replica %s here: %w", group, from, fs.ErrNotExist)
	}
	if err := l.setRegister(l.register.with(GroupInfo{Group: group, Replica: to, was: from})); err != nil {
		return err
	}
	err := l.commit(&request{apply: func(t *txn) error {
		c, err := t.edit(g)
		if err != nil {
			return err
		}
		c.state.replica = to
		return nil
	}})
	if err != nil {
		return err
	}
	return l.setRegister(l.register.with(GroupInfo{Group: group, Replica: to}))
}

// finishRenames forgets the old names: the checkpoint that load wrote has the
// new ones.
func (l *Logs) finishRenames() error {
	l.admin.Lock()
	defer l.admin.Unlock()
	done := l.register
	for _, info := range l.register {
		if info.was != "" {
			done = done.with(GroupInfo{Group: info.Group, Replica: info.Replica})
		}
	}
	if len(done) == 0 || maps.Equal(done, l.register) {
		return nil
	}
	return l.setRegister(done)
}

// remove writes the register first: a crash then leaves data that nobody claims,
// not a claim without data.
func (l *Logs) remove(group uint32, r register) error {
	if err := l.setRegister(r); err != nil {
		return err
	}
	g := l.group(group)
	if g == nil {
		return nil
	}
	l.setGroup(group, nil)
	return l.commit(&request{apply: func(t *txn) error {
		t.drop(g)
		return nil
	}})
}

// setRegister makes r last. The caller holds admin.
func (l *Logs) setRegister(r register) error {
	if err := l.dir.writeRegister(r); err != nil {
		l.dir.fail(fmt.Errorf("write the register: %w", err))
	}
	l.register = r
	return nil
}

func (l *Logs) group(group uint32) *GroupLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.groups[group]
}

func (l *Logs) setGroup(group uint32, g *GroupLog) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g == nil {
		delete(l.groups, group)
	} else {
		l.groups[group] = g
	}
}

func (l *Logs) close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.tidying.Wait()
	return l.journal.Close()
}
