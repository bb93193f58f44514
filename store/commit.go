package store

import (
	"fmt"
	"time"
)

// Group commit. Everything that waits for the disk goes into one batch of the
// journal, whichever group it is of: a sync costs the same for one entry and for
// a hundred. There is no writer goroutine. The first caller writes for itself and
// returns; those who come meanwhile queue, and the first of them writes for all.
// So a lone caller pays one write and no switch of goroutines.

// maxCommitBytes ends a commit's share of the queue: whoever waits behind
// megabytes of others' entries gets a commit of its own next.
const maxCommitBytes = 4 << 20

// request is one caller's share of a commit.
type request struct {
	// apply makes the changes. An error refuses the request and must come before
	// the first change.
	apply   func(*txn) error
	entries int
	bytes   int

	err  error
	wake chan bool // true: write the queue; false: done
}

// txn is a commit under way.
type txn struct{ changes []*change }

// commit carries r out with whatever else waits, and returns r's own refusal.
func (l *Logs) commit(r *request) error {
	l.mu.Lock()
	if closed := l.closed; closed || l.dir.dead.Load() {
		l.mu.Unlock()
		if !closed {
			l.dir.awaitEnd()
		}
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

// take removes the next commit's share from the queue.
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

// write carries a batch of requests out in one commit. An error of the disk is
// fatal.
func (l *Logs) write(batch []*request) {
	if l.dir.dead.Load() {
		l.dir.awaitEnd()
		refuse(batch)
		return
	}
	defer l.dir.watch.end(l.dir.watch.begin(opLogWrite))
	took, err := l.transact(batch)
	if err != nil {
		l.dir.fail(fmt.Errorf("write the partitions' log: %w", err))
	}
	l.dir.commits.Add(1)
	l.dir.committing.Add(int64(took))
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

// transact applies requests, writes, and publishes. It returns the errors of the
// disk only, and the time that writing and syncing took.
func (l *Logs) transact(batch []*request) (time.Duration, error) {
	t := &txn{}
	defer t.forget()
	for _, r := range batch {
		r.err = r.apply(t)
	}
	if len(t.changes) == 0 {
		return 0, nil
	}
	l.payload = appendBatch(l.payload[:0], t.changes)
	start := time.Now()
	if !l.journal.Fits(len(l.payload)) {
		if err := l.roll(len(l.payload)); err != nil {
			return 0, err
		}
	}
	addr, err := l.journal.Append(l.payload)
	if err != nil {
		return 0, err
	}
	took := time.Since(start)
	segment := l.journal.Newest().Number
	for _, c := range t.changes {
		if c.group.publish(c, segment, addr, l.used); c.state == nil {
			delete(l.live, c.group.group)
		} else {
			l.live[c.group.group] = c.group
		}
	}
	if cap(l.payload) > maxCommitBytes {
		l.payload = nil // a rare large one must not stay in memory
	}
	return took, nil
}

// edit returns the change of a group within the commit, or errDropped.
func (t *txn) edit(g *GroupLog) (*change, error) {
	if g.staged == nil && g.snapshot() == nil {
		return nil, errDropped // and no change: another log may have the group's number now
	}
	if c := t.change(g); c.state != nil {
		return c, nil
	}
	return nil, errDropped
}

// change returns the change of a group within the commit. A group that has no
// state yet gets one from the caller.
func (t *txn) change(g *GroupLog) *change {
	if g.staged == nil {
		g.staged = &change{group: g}
		if s := g.snapshot(); s != nil {
			g.staged.state, g.staged.keep = s.clone(), s.last
		}
		t.changes = append(t.changes, g.staged)
	}
	return g.staged
}

// drop ends a group.
func (t *txn) drop(g *GroupLog) {
	c := t.change(g)
	c.state, c.keep, c.entries = nil, 0, nil
}

// forget ends the commit for its groups.
func (t *txn) forget() {
	for _, c := range t.changes {
		c.group.staged = nil
	}
}
