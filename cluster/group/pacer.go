package group

import (
	"sync"
	"time"
)

// Pacer limits how many entries of this node's groups are on their way at once.
// An entry costs about 100 us of CPU on every replica whatever is in it, a
// submission in it a few: so under load fewer, larger entries win, while a lone
// request finds a free slot and never waits.
//
// The limit adapts. While entries take hardly longer than the fastest of late,
// what they wait for is distance, and one more on its way is free: the limit
// rises. When they take much longer they wait for each other, for the disk or
// the CPU: the limit falls, to LeastInFlight. (Measured on two cores with
// everything on loopback 3 beats 2 by a tenth at 64 clients, and 1 by a third; 4 is no better.)
//
// A slot comes back when its entry is done, or after hold: a group that has lost
// its quorum keeps its one late entry outside the pool and stalls nobody.
type Pacer struct {
	now func() time.Time

	mu    sync.Mutex
	least int
	limit int
	busy  int
	queue []chan struct{} // first come, first served

	fastest, before time.Duration // fastest entry of this window and of the last one
	window          time.Time     // when this window began
	quick, slow     int           // entries judged since the limit was last set
}

const (
	// LeastInFlight is the lowest limit of a node's pacer: while two entries wait
	// for disks, another uses the CPU.
	LeastInFlight = 3
	// hold is the longest that an entry keeps its slot.
	hold = 20 * time.Millisecond
	// maxInFlight bounds the limit.
	maxInFlight = 8
	// fastestFor is how long the fastest entry is remembered, at least.
	fastestFor = 10 * time.Second
	// judgeAfter is the number of entries after which the limit may move.
	judgeAfter = 64
)

// NewPacer returns a pacer that begins with its lowest limit.
func NewPacer(least int) *Pacer { return &Pacer{now: time.Now, least: least, limit: least} }

// Acquire waits for a slot and returns the function that gives it back; calling
// it again does nothing. done says whether the entry was committed: only then
// its time tells anything.
func (p *Pacer) Acquire() (release func(done bool)) {
	p.mu.Lock()
	if p.busy < p.limit {
		p.busy++
		p.mu.Unlock()
	} else {
		turn := make(chan struct{})
		p.queue = append(p.queue, turn)
		p.mu.Unlock()
		<-turn // every slot comes back after hold, so this ends
	}
	start := p.now()
	var once sync.Once
	give := func(done bool) { once.Do(func() { p.release(done, p.now().Sub(start)) }) }
	late := time.AfterFunc(hold, func() { give(false) })
	return func(done bool) {
		late.Stop()
		give(done)
	}
}

func (p *Pacer) release(done bool, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	if done {
		p.judge(took)
	}
	for p.busy < p.limit && len(p.queue) > 0 {
		close(p.queue[0])
		p.queue = p.queue[1:]
		p.busy++
	}
}

// judge takes an entry's time into account: "much longer" is half as long again as the fastest.
func (p *Pacer) judge(took time.Duration) {
	if now := p.now(); now.Sub(p.window) > fastestFor {
		p.before, p.fastest, p.window = p.fastest, took, now
	}
	p.fastest = min(p.fastest, took)
	best := p.fastest
	if p.before > 0 {
		best = min(best, p.before)
	}
	if took <= best+best/2 {
		p.quick++
	} else {
		p.slow++
	}
	if p.quick+p.slow < judgeAfter {
		return
	}
	switch {
	case p.quick > 3*p.slow:
		p.limit = min(p.limit+1, maxInFlight)
	case p.slow > p.quick:
		p.limit = max(p.limit-1, p.least)
	}
	p.quick, p.slow = 0, 0
}

// Limit is the present number of slots.
func (p *Pacer) Limit() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit
}
