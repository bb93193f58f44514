package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Group commit. Everything that waits for the disk goes into one transaction,
// whichever group it is of: a sync costs the same for one entry and for a
// hundred. There is no writer goroutine. The first caller writes for itself and
// returns; those who come meanwhile queue, and the first of them writes for all.
// So a lone caller pays one transaction and no switch of goroutines.

// maxCommitBytes ends a transaction's share of the queue: whoever waits behind
// megabytes of others' entries gets a transaction of its own next.
const maxCommitBytes = 4 << 20

// request is one caller's share of a transaction.
type request struct {
	// apply makes the changes. An error refuses the request and must come before
	// the first change.
	apply func(*txn) error
	// publish, if set, runs once the transaction lasts, in the order of requests.
	publish func()
	entries int
	bytes   int

	err  error
	wake chan bool // true: write the queue; false: done
}

// txn is a transaction under way.
type txn struct {
	tx     *bbolt.Tx
	state  *bbolt.Bucket
	staged map[*GroupLog]*state // what becomes of the groups it touches; nil: dropped
	err    error                // of bbolt; the first one
}

// check keeps the first error of bbolt, which is the end of the process.
func (t *txn) check(err error) {
	if t.err == nil {
		t.err = err
	}
}

// commit carries r out with whatever else waits, and returns r's own refusal.
func (l *Logs) commit(r *request) error {
	l.mu.Lock()
	if l.closed || l.dir.dead.Load() {
		l.mu.Unlock()
		return errClosed
	}
	batch := []*request{r}
	if l.writing {
		r.wake = make(chan bool, 1)
		l.queue = append(l.queue, r)
		l.mu.Unlock()
		if write := <-r.wake; !write {
			return r.err
		}
		l.mu.Lock()
		batch = l.take() // begins with r
	}
	l.writing = true
	l.mu.Unlock()

	defer l.release(batch, r)
	l.write(batch)
	return r.err
}

// take removes the next transaction's share from the queue.
func (l *Logs) take() []*request {
	n, bytes := 0, 0
	for n < len(l.queue) && (n == 0 || bytes+l.queue[n].bytes <= maxCommitBytes) {
		bytes += l.queue[n].bytes
		n++
	}
	batch := l.queue[:n:n]
	l.queue = l.queue[n:]
	return batch
}

// release wakes those whom the writer wrote for, and the next writer. Deferred,
// so that in a test, where a fatal error ends only the writer's goroutine,
// nobody waits for ever.
func (l *Logs) release(batch []*request, writer *request) {
	if l.dir.dead.Load() {
		refuse(batch)
	}
	for _, r := range batch {
		if r != writer {
			r.wake <- false
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 {
		l.queue[0].wake <- true // writing stays set
		return
	}
	l.writing = false
}

func refuse(batch []*request) {
	for _, r := range batch {
		r.err = errClosed
	}
}

// write carries a batch out in one transaction. An error of the disk is fatal.
func (l *Logs) write(batch []*request) {
	if l.dir.dead.Load() {
		refuse(batch)
		return
	}
	defer l.dir.watch.end(l.dir.watch.begin(opLogWrite))
	var took time.Duration
	err := guard(func() (err error) {
		took, err = l.transact(batch)
		return err
	})
	switch {
	case errors.Is(err, errClosed):
		refuse(batch)
	case err != nil:
		l.dir.fail(fmt.Errorf("write the partitions' log: %w", err))
	}
	callers, entries, bytes := 0, 0, 0
	for _, r := range batch {
		if r.err == nil {
			callers, entries, bytes = callers+1, entries+r.entries, bytes+r.bytes
		}
	}
	if callers > 0 {
		l.dir.opts.Metrics.Commit(took, callers, entries, bytes)
	}
}

// transact applies a batch, commits, and publishes. It returns the errors of
// bbolt only, and the time that writing and syncing took.
func (l *Logs) transact(batch []*request) (time.Duration, error) {
	tx, err := l.db.Begin(true)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() // after Commit, nothing
	t := &txn{tx: tx, state: tx.Bucket(stateBucket), staged: map[*GroupLog]*state{}}
	changed := false
	for _, r := range batch {
		r.err = r.apply(t)
		changed = changed || r.err == nil
	}
	if !changed {
		return 0, t.err
	}
	lines := t.finish(l.lines)
	if t.err != nil {
		return 0, t.err
	}
	if err := tx.Commit(); err != nil {
		return 0, err
	}
	stats := tx.Stats()
	l.lines = lines
	for g, s := range t.staged {
		g.state.Store(s)
	}
	for _, r := range batch {
		if r.err == nil && r.publish != nil {
			r.publish()
		}
	}
	return stats.GetWriteTime(), nil
}

// finish writes the records of the touched groups and the head that names them.
func (t *txn) finish(lines []line) []line {
	for g, s := range t.staged {
		if s == nil {
			t.check(t.state.Delete(recordKey(g.group)))
			lines = withLine(lines, g.group, nil)
			continue
		}
		record := encodeRecord(g.group, s)
		sum := crc32.Checksum(record, castagnoli)
		t.check(t.state.Put(recordKey(g.group), record))
		lines = withLine(lines, g.group, &sum)
	}
	t.check(t.state.Put(headKey, encodeHead(uint64(t.tx.ID()), lines)))
	return lines
}

// edit returns the state of a group for changes within the transaction.
func (t *txn) edit(g *GroupLog) (*state, error) {
	s, ok := t.staged[g]
	if !ok {
		if s = g.state.Load(); s != nil {
			s = s.clone()
			t.staged[g] = s
		}
	}
	if s == nil {
		return nil, errDropped
	}
	return s, nil
}

// encodeRecord puts the group in front of its state: a record under the wrong
// key is not the record of that group.
func encodeRecord(group uint32, s *state) []byte {
	return appendState(binary.BigEndian.AppendUint32(nil, group), s)
}

// guard runs fn and turns a panic of bbolt, or a fault of the memory that bbolt
// maps its file to, into an error.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("bbolt panicked: %v", p)
		}
	}()
	err = fn()
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return errClosed
	}
	return err
}
