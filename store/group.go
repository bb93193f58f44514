package store

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// deleteStep is how many entries one transaction deletes at most: a long
// truncation must not hold up the appends of the other groups.
const deleteStep = 512

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

	state        atomic.Pointer[state] // nil: dropped, or damaged
	recent       recent
	stagedCommit atomic.Uint64
}

var (
	_ raft.LogStore               = (*GroupLog)(nil)
	_ raft.StableStore            = (*GroupLog)(nil)
	_ raft.CommitTrackingLogStore = (*GroupLog)(nil)
)

// Replica returns the name that the log was created for.
func (g *GroupLog) Replica() string {
	if s := g.state.Load(); s != nil {
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
	if s := g.state.Load(); s != nil {
		return s, nil
	}
	return nil, errDropped
}

// GetLog reads an entry: raft.ErrLogNotFound if it is not in the log. One that
// is there and is not what was written ends the process.
func (g *GroupLog) GetLog(index uint64, l *raft.Log) error {
	for {
		s, err := g.current()
		if err != nil {
			return err
		}
		if index == 0 || index < s.first || index > s.last {
			return raft.ErrLogNotFound
		}
		v := g.recent.get(index)
		if v == nil {
			if v, err = g.read(index); err != nil {
				return err
			}
			if v == nil && g.state.Load() != s {
				continue // it may have been deleted meanwhile
			}
			if _, _, err := checkEntry(v, g.group, index); err != nil {
				g.logs.dir.fail(fmt.Errorf("read the log of group %d: %w", g.group, damagedf(logsFile, "%v", err)))
			}
		}
		openEntry(v, index, l)
		return nil
	}
}

// read copies an entry from the file; nil if there is none.
func (g *GroupLog) read(index uint64) (v []byte, err error) {
	defer g.logs.dir.watch.end(g.logs.dir.watch.begin(opLogRead))
	err = guard(func() error {
		return g.logs.db.View(func(tx *bbolt.Tx) error {
			if b := tx.Bucket(bucketName(g.group)); b != nil {
				v = slices.Clone(b.Get(indexKey(index)))
			}
			return nil
		})
	})
	if err != nil && err != errClosed {
		g.logs.dir.fail(fmt.Errorf("read the log of group %d: %w", g.group, err))
	}
	return v, err
}

// StoreLog appends one entry.
func (g *GroupLog) StoreLog(l *raft.Log) error { return g.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends entries with consecutive indexes. When it returns nil they
// last. It fails, and changes nothing, if an entry has more than MaxEntry bytes
// or the indexes are not consecutive.
func (g *GroupLog) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	first := logs[0].Index
	values := make([][]byte, len(logs))
	size := 0
	for i, l := range logs {
		if l.Index == 0 || l.Index != first+uint64(i) {
			return fmt.Errorf("store: entry %d stands where %d should", l.Index, first+uint64(i))
		}
		v, err := newEntry(l)
		if err != nil {
			return err
		}
		values[i] = v
		size += len(v)
	}
	if err := g.makeWay(first); err != nil {
		return err
	}
	return g.logs.commit(&request{
		apply:   func(t *txn) error { return t.append(g, first, values) },
		publish: func() { g.recent.append(first, values) },
		entries: len(values),
		bytes:   size,
	})
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
	s, err := t.edit(g)
	if err != nil {
		return err
	}
	if s.last != 0 && first != s.last+1 {
		return fmt.Errorf("store: entry %d appended behind entry %d by two callers at once", first, s.last)
	}
	bucket := t.tx.Bucket(bucketName(g.group))
	bucket.FillPercent = 1 // keys only ever grow
	for i, v := range values {
		index := first + uint64(i)
		s.tail = sealEntry(v, g.group, index, s.tail)
		t.check(bucket.Put(indexKey(index), v))
	}
	if s.first == 0 {
		s.first = first
	}
	s.last = first + uint64(len(values)) - 1
	s.commit = max(s.commit, min(g.stagedCommit.Load(), s.last))
	return nil
}

// DeleteRange deletes the entries from lo to hi, both included, as far as there
// are any. They must reach the log's beginning or its end. A crash within it
// leaves a log that is shorter at that side, and whole.
func (g *GroupLog) DeleteRange(lo, hi uint64) error {
	for {
		s, err := g.current()
		if err != nil {
			return err
		}
		lo, hi := max(lo, s.first), min(hi, s.last)
		if s.last == 0 || lo > hi {
			return nil
		}
		r := &request{publish: func() {
			if s := g.state.Load(); s != nil {
				g.recent.keep(s.first, s.last)
			}
		}}
		switch {
		case lo == s.first:
			r.apply = func(t *txn) error { return t.cutFront(g, min(hi, lo+deleteStep-1)) }
		case hi == s.last:
			r.apply = func(t *txn) error { return t.cutBack(g, max(lo, hi-min(hi, deleteStep)+1)) }
		default:
			return fmt.Errorf("store: deleting %d..%d out of %d..%d would leave a gap", lo, hi, s.first, s.last)
		}
		if err := g.logs.commit(r); err != nil {
			return err
		}
	}
}

// cutFront deletes the entries up to and including upTo.
func (t *txn) cutFront(g *GroupLog, upTo uint64) error {
	s, err := t.edit(g)
	if err != nil || s.last == 0 {
		return err
	}
	bucket := t.tx.Bucket(bucketName(g.group))
	upTo = min(upTo, s.last)
	for ; s.first <= upTo; s.first++ {
		t.check(bucket.Delete(indexKey(s.first)))
	}
	if s.first > s.last {
		s.first, s.last, s.tail, s.commit = 0, 0, 0, 0
	}
	return nil
}

// cutBack deletes the entries from from on.
func (t *txn) cutBack(g *GroupLog, from uint64) error {
	s, err := t.edit(g)
	if err != nil || s.last == 0 {
		return err
	}
	if from <= s.first {
		return t.cutFront(g, s.last)
	}
	bucket := t.tx.Bucket(bucketName(g.group))
	for ; s.last >= from; s.last-- {
		t.check(bucket.Delete(indexKey(s.last)))
	}
	sum, _, err := checkEntry(bucket.Get(indexKey(s.last)), g.group, s.last)
	t.check(err)
	s.tail, s.commit = sum, min(s.commit, s.last)
	return nil
}

// StageCommitIndex remembers a commit index, which the next StoreLogs writes. It
// costs nothing, but raft's RestoreCommittedLogs must stay off: NewRaft (1.8.0)
// then applies before its FSM goroutine runs, and blocks for ever beyond 128
// batches.
func (g *GroupLog) StageCommitIndex(index uint64) error {
	g.stagedCommit.Store(index)
	return nil
}

// GetCommitIndex returns the commit index that was written with the entries, at
// most LastIndex; 0 if none was.
func (g *GroupLog) GetCommitIndex() (uint64, error) {
	s, err := g.current()
	if err != nil {
		return 0, err
	}
	return s.commit, nil
}

// Set stores a value under a key; when it returns nil, the value lasts. At most
// 16 keys of 64 bytes, with values of 1,024 bytes.
func (g *GroupLog) Set(key, value []byte) error {
	return g.logs.commit(&request{apply: func(t *txn) error {
		s, err := t.edit(g)
		if err != nil {
			return err
		}
		return s.set(string(key), value)
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
