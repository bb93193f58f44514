package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"cairn/store/journal"
)

// GroupLog is one group's Raft log and stable store.
//
// StoreLogs returns when its entries are synced. It takes ownership of nothing:
// entries are copied. What GetLog returns shares memory with nothing that
// changes, and must not be changed.
//
// The log has no gaps. Entries that do not follow the last one replace what
// stands at and after their first index, and if they lie beyond the end,
// everything: raft leaves a gap only behind a snapshot that covers all before
// it. GroupLog does not claim to be a raft.MonotonicLogStore: raft would then
// delete the whole log after installing a snapshot, entries behind the
// snapshot that were acknowledged included.
type GroupLog struct {
	logs   *Logs
	group  uint32
	damage error // found when the file was opened; then the rest is unusable

	staged *change // in the commit under way; whoever writes owns it

	mu    sync.RWMutex
	state *state // nil: dropped, or damaged; what it points to never changes
	index index
}

var (
	_ raft.LogStore    = (*GroupLog)(nil)
	_ raft.StableStore = (*GroupLog)(nil)
)

// snapshot returns the state as it was committed last, nil if there is none.
func (g *GroupLog) snapshot() *state {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.state
}

// publish makes a change visible that lasts: its batch begins at addr.
func (g *GroupLog) publish(c *change, segment, addr uint32, used usage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state = c.state
	if c.state == nil {
		g.index.keep(1, 0, used)
		return
	}
	g.index.keep(c.state.first, c.keep, used)
	for _, e := range c.entries {
		value := e.value
		if e.moved {
			value = nil
		}
		at := place{segment: segment, addr: addr + uint32(e.at), size: uint32(len(e.value)), sum: e.sum}
		g.index.put(e.index, at, value, used)
	}
}

// Replica returns the name that the log was created for.
func (g *GroupLog) Replica() string {
	if s := g.snapshot(); s != nil {
		return s.replica
	}
	return ""
}

// FirstIndex returns the index of the first entry, 0 if there is none.
func (g *GroupLog) FirstIndex() (uint64, error) {
	s, err := g.current()
	if err != nil {
		return 0, err
	}
	return s.first, nil
}

// LastIndex returns the index of the last entry, 0 if there is none.
func (g *GroupLog) LastIndex() (uint64, error) {
	s, err := g.current()
	if err != nil {
		return 0, err
	}
	return s.last, nil
}

func (g *GroupLog) current() (*state, error) {
	if s := g.snapshot(); s != nil {
		return s, nil
	}
	return nil, errDropped
}

// GetLog reads an entry: raft.ErrLogNotFound if it is not in the log. One that
// is there and is not what was written ends the process.
func (g *GroupLog) GetLog(index uint64, l *raft.Log) error {
	v, at, err := g.find(index)
	for v == nil && err == nil {
		var damage error
		if v, damage = g.read(index, at); damage == nil {
			break
		}
		was := at
		if v, at, err = g.find(index); v == nil && err == nil && at == was { // neither moved nor deleted meanwhile
			if g.logs.isClosed() {
				return errClosed
			}
			g.logs.dir.fail(fmt.Errorf("read the log of group %d: %w", g.group, damage))
		}
	}
	if err == nil {
		openEntry(v, index, l)
	}
	return err
}

// find returns an entry that is in memory, or the place of one that is not.
func (g *GroupLog) find(index uint64) ([]byte, place, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.state == nil {
		return nil, place{}, errDropped
	}
	if v := g.index.recent.get(index); v != nil {
		return v, place{}, nil
	}
	if at, ok := g.index.place(index); ok {
		return nil, at, nil
	}
	return nil, place{}, raft.ErrLogNotFound
}

// read reads an entry from the journal.
func (g *GroupLog) read(index uint64, at place) ([]byte, error) {
	defer g.logs.dir.watch.end(g.logs.dir.watch.begin(opLogRead))
	v, err := g.logs.journal.Read(at.segment, at.addr, int(at.size))
	if errors.Is(err, journal.ErrDamaged) {
		err = damagedf(logsDir, "%v", err)
	}
	if err != nil {
		return nil, err
	}
	if sum, _, err := checkEntry(v, g.group, index); err != nil || sum != at.sum {
		return nil, damagedf(logsDir, "entry %d is not what was written: %v", index, err)
	}
	return v, nil
}

// StoreLog appends one entry.
func (g *GroupLog) StoreLog(l *raft.Log) error { return g.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends entries with consecutive indexes. When it returns nil they
// last. It fails, and changes nothing, if an entry has more than MaxEntry bytes
// or the indexes are not consecutive. A crash within it leaves some of the first.
func (g *GroupLog) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	first := logs[0].Index
	values := make([][]byte, len(logs))
	for i, l := range logs {
		if l.Index == 0 || l.Index != first+uint64(i) {
			return fmt.Errorf("store: entry %d stands where %d should", l.Index, first+uint64(i))
		}
		v, err := newEntry(l)
		if err != nil {
			return err
		}
		values[i] = v
	}
	if err := g.makeWay(first); err != nil {
		return err
	}
	for len(values) > 0 {
		n, bytes := 0, 0
		for n < len(values) && (n == 0 || bytes+len(values[n]) <= maxCommitBytes) {
			bytes += len(values[n])
			n++
		}
		some, at := values[:n], first
		err := g.logs.commit(&request{
			apply:   func(t *txn) error { return t.append(g, at, some) },
			entries: n,
			bytes:   bytes,
		})
		if err != nil {
			return err
		}
		first, values = first+uint64(n), values[n:]
	}
	return nil
}

// makeWay removes what cannot stay beside an entry of index first.
func (g *GroupLog) makeWay(first uint64) error {
	s, err := g.current()
	switch {
	case err != nil:
		return err
	case s.last == 0 || first == s.last+1:
		return nil
	case first > s.last:
		return g.DeleteRange(s.first, s.last)
	default:
		return g.DeleteRange(first, s.last)
	}
}

func (t *txn) append(g *GroupLog, first uint64, values [][]byte) error {
	c, err := t.edit(g)
	if err != nil {
		return err
	}
	s := c.state
	if s.last != 0 && first != s.last+1 {
		return fmt.Errorf("store: entry %d appended behind entry %d by two callers at once", first, s.last)
	}
	if s.first == 0 {
		s.first = first
	}
	for i, v := range values {
		s.last = first + uint64(i)
		s.tail = sealEntry(v, g.group, s.last, s.tail)
		c.entries = append(c.entries, stored{index: s.last, sum: s.tail, value: v})
	}
	return nil
}

// DeleteRange deletes the entries from lo to hi, both included, as far as there
// are any. They must reach the log's beginning or its end.
func (g *GroupLog) DeleteRange(lo, hi uint64) error {
	s, err := g.current()
	if err != nil {
		return err
	}
	lo, hi = max(lo, s.first), min(hi, s.last)
	r := &request{}
	switch {
	case s.last == 0 || lo > hi:
		return nil
	case lo == s.first:
		r.apply = func(t *txn) error { return t.cutFront(g, hi) }
	case hi == s.last:
		r.apply = func(t *txn) error { return t.cutBack(g, lo) }
	default:
		return fmt.Errorf("store: deleting %d..%d out of %d..%d would leave a gap", lo, hi, s.first, s.last)
	}
	return g.logs.commit(r)
}

// cutFront deletes the entries up to and including upTo.
func (t *txn) cutFront(g *GroupLog, upTo uint64) error {
	c, err := t.edit(g)
	if err != nil || c.state.last == 0 {
		return err
	}
	c.entries = slices.DeleteFunc(c.entries, func(e stored) bool { return e.index <= upTo })
	c.state.first = max(c.state.first, upTo+1)
	if c.state.first > c.state.last {
		c.state.first, c.state.last, c.state.tail, c.keep = 0, 0, 0, 0
	}
	return nil
}

// cutBack deletes the entries from from on.
func (t *txn) cutBack(g *GroupLog, from uint64) error {
	c, err := t.edit(g)
	switch {
	case err != nil || c.state.last == 0 || from > c.state.last:
		return err
	case from <= c.state.first:
		return t.cutFront(g, c.state.last)
	}
	c.entries = slices.DeleteFunc(c.entries, func(e stored) bool { return e.index >= from })
	c.state.last, c.keep = from-1, min(c.keep, from-1)
	c.state.tail = g.sumOf(c, from-1)
	return nil
}

// sumOf returns the sum of an entry as it is within a commit.
func (g *GroupLog) sumOf(c *change, index uint64) uint32 {
	for _, e := range c.entries {
		if e.index == index {
			return e.sum
		}
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	p, _ := g.index.place(index)
	return p.sum
}

// Set stores a value under a key; when it returns nil, the value lasts. At most
// 16 keys of 64 bytes, with values of 1,024 bytes.
func (g *GroupLog) Set(key, value []byte) error {
	return g.logs.commit(&request{apply: func(t *txn) error {
		c, err := t.edit(g)
		if err != nil {
			return err
		}
		return c.state.set(string(key), value)
	}})
}

// Get returns the value of a key. The error of a missing one reads "not found".
func (g *GroupLog) Get(key []byte) ([]byte, error) {
	s, err := g.current()
	if err != nil {
		return nil, err
	}
	return s.get(key)
}

// SetUint64 stores a number under a key.
func (g *GroupLog) SetUint64(key []byte, value uint64) error {
	return g.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 returns the number of a key. The error of a missing one reads "not
// found".
func (g *GroupLog) GetUint64(key []byte) (uint64, error) {
	s, err := g.current()
	if err != nil {
		return 0, err
	}
	return s.getUint64(key)
}
