package group

import (
	"context"
	"sync"
	"time"

	"cairn/fsm"
	"cairn/fsm/partition"
)

// Limits of one partition's queue. Beyond them a request is refused with
// Overloaded, which means that nothing was done.
const (
	MaxQueued      = 16384   // requests waiting
	MaxQueuedBytes = 8 << 20 // of commands waiting
)

// Queue feeds a partition's group. It is where commands become batches: the
// next entry is everything that queued while the last one was being committed,
// so batches grow with load and a lone request never waits.
//
// Reads ride along. A read that joins the queue is answered once an entry
// proposed after its arrival has been applied here: only then is it certain that
// this replica led after the read began and has everything acknowledged before.
// (An entry that was already under way proves nothing: its acknowledgements may
// be older than the read, and a successor may lead by now.) With nothing else to
// propose the entry is empty, and all reads that wait share it.
type Queue struct {
	group  *Group
	pacer  *Pacer
	now    func() time.Time
	events QueueEvents
	most   int // commands in an entry; 0: what fits

	mu     sync.Mutex
	items  []*item
	bytes  int
	closed bool
	wake   chan struct{}
	done   chan struct{}
}

// QueueEvents are told what a queue does; a nil func is not called.
type QueueEvents struct {
	// Committed: an entry of n commands was committed; waited is how long its
	// oldest one queued.
	Committed func(n int, waited time.Duration)
	// Refused: a request was not admitted, or its deadline passed while it
	// queued; reason is queue_full or deadline.
	Refused func(reason string)
}

// item is one request in the queue. A nil command is a read.
type item struct {
	command partition.Command
	size    int
	at      time.Time // when it was admitted
	clock   fsm.Time  // what the wall clock said then
	ctx     context.Context
	answer  chan answer
}

type answer struct {
	index  uint64 // of the entry that held the request
	result partition.Result
	err    error
}

// NewQueue starts the queue of a group. An entry holds so many commands at most; 0
// means what fits, and is for everything but comparisons. Close it before the group.
func NewQueue(g *Group, p *Pacer, most int, events QueueEvents) *Queue {
	q := &Queue{
		group: g, pacer: p, now: time.Now, events: events, most: most,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go q.run()
	return q
}

// Close ends the queue once what waits in it has been proposed or refused. New
// requests are refused from now on.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.poke()
	<-q.done
}

// Depth is the number of requests waiting.
func (q *Queue) Depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

// Do proposes one command and returns its result as applied here. Errors:
//
//   - NotLeader: nothing was done; the message names the leader, if known;
//   - Overloaded: nothing was done;
//   - OutcomeUnknown: it may have been, or may yet be.
//
// A refusal by the rules of the game is in the result.
func (q *Queue) Do(ctx context.Context, c partition.Command) (partition.Result, error) {
	return q.ride(ctx, c, weight(c))
}

// Read returns when this replica's state includes everything acknowledged
// before the call. Errors are those of Do; none of them needs the read's outcome.
func (q *Queue) Read(ctx context.Context) error {
	_, err := q.ride(ctx, nil, 0)
	return err
}

func (q *Queue) ride(ctx context.Context, c partition.Command, size int) (partition.Result, error) {
	r, err := q.start(ctx, c, size)
	if err != nil {
		return partition.Result{}, err
	}
	return r.Wait()
}

// DoAt is Do that also returns the index of the entry that held the command.
func (q *Queue) DoAt(ctx context.Context, c partition.Command) (index uint64, res partition.Result, err error) {
	r, err := q.Start(ctx, c)
	if err != nil {
		return 0, partition.Result{}, err
	}
	a := r.wait()
	return a.index, a.result, a.err
}

// Ride is a command in the queue.
type Ride struct{ it *item }

// Start is the first half of Do: it queues a command. Who has several queues
// them all before waiting for the first.
func (q *Queue) Start(ctx context.Context, c partition.Command) (Ride, error) {
	return q.start(ctx, c, weight(c))
}

func (q *Queue) start(ctx context.Context, c partition.Command, size int) (Ride, error) {
	if !q.group.Leads() {
		return Ride{}, q.group.notLeader()
	}
	it := &item{command: c, size: size, at: q.now(), clock: fsm.TimeOf(q.group.conf.Now()), ctx: ctx, answer: make(chan answer, 1)}
	return Ride{it}, q.admit(it)
}

// Wait is the second half of Do.
func (r Ride) Wait() (partition.Result, error) {
	a := r.wait()
	return a.result, a.err
}

func (r Ride) wait() answer {
	select {
	case a := <-r.it.answer:
		return a
	case <-r.it.ctx.Done():
		return answer{err: fsm.Errorf(fsm.OutcomeUnknown, "no answer before the deadline; retry with the same key")}
	}
}

func (q *Queue) admit(it *item) error {
	q.mu.Lock()
	full := len(q.items) >= MaxQueued || q.bytes+it.size > MaxQueuedBytes
	closed := q.closed
	if !full && !closed {
		q.items = append(q.items, it)
		q.bytes += it.size
	}
	first := len(q.items) == 1
	q.mu.Unlock()
	switch {
	case closed:
		return q.group.notLeader()
	case full:
		q.refuse("queue_full")
		return &fsm.Error{Kind: fsm.Overloaded, Msg: "this partition's queue is full; try again", After: time.Second}
	}
	if first {
		q.poke()
	}
	return nil
}

func (q *Queue) refuse(reason string) {
	if q.events.Refused != nil {
		q.events.Refused(reason)
	}
}

func (q *Queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run proposes batches one after another.
func (q *Queue) run() {
	defer close(q.done)
	var batch partition.Batch
	for range q.wake {
		for q.Depth() > 0 {
			release := q.pacer.Acquire()
			done := false
			if items := q.take(&batch); len(items) > 0 {
				done = q.commit(&batch, items)
			}
			release(done)
		}
		if q.isClosed() {
			return
		}
	}
}

func (q *Queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// take moves what fits into one entry from the queue into the batch. The time
// of a command is when it was admitted: waiting for a slow disk costs no team
// its place. Requests whose deadline passed are dropped: nothing was done.
func (q *Queue) take(b *partition.Batch) (items []*item) {
	b.Reset()
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, it := range q.items {
		if q.most > 0 && len(items) == q.most {
			break
		}
		if it.ctx.Err() != nil {
			q.refuse("deadline")
			it.answer <- answer{err: fsm.Errorf(fsm.Unavailable, "the deadline passed before this was proposed; nothing was done")}
		} else if it.command != nil && !b.Add(it.clock, it.command) {
			if len(items) > 0 {
				break
			}
			it.answer <- answer{err: fsm.Errorf(fsm.TooLarge, "the command does not fit into one log entry of %d bytes", partition.MaxEntry)}
		} else {
			items = append(items, it)
		}
		q.bytes -= it.size
		n++
	}
	q.items = append(q.items[:0:0], q.items[n:]...)
	return items
}

// weight is what a command counts against MaxQueuedBytes: its variable part,
// and a constant for the rest.
func weight(c partition.Command) int {
	const rest = 256
	switch c := c.(type) {
	case *partition.Submit:
		return rest + len(c.Answer) + len(c.Reply)
	case *partition.InstallHunt:
		return rest + len(c.Rules)
	}
	return 4 * rest
}

// commit proposes the batch and hands every rider its result. It reports whether
// the entry was committed.
func (q *Queue) commit(b *partition.Batch, items []*item) bool {
	var entry []byte // empty: only reads ride, a barrier is enough
	if b.Len() > 0 {
		entry = b.Bytes()
	}
	index, out, err := q.group.Propose(entry)
	if err == nil && q.events.Committed != nil {
		q.events.Committed(b.Len(), q.now().Sub(items[0].at))
	}
	var results []partition.Result
	if err == nil && entry != nil {
		results = out.([]partition.Result)
	}
	next := 0
	for _, it := range items {
		a := answer{index: index, err: err}
		if err == nil && it.command != nil {
			a.result = results[next]
			next++
		}
		it.answer <- a
	}
	return err == nil
}
