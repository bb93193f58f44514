package group

import (
	"sync"
	"time"
)

// Pacer makes the entries of this node's groups leave in waves. An entry alone
// costs every replica a write to its disk and a packet each way; entries that
// leave together share them, because the journal syncs and the links send once
// for all that waits. And while a wave is away the queues grow, so the next
// one's entries are larger. A lone request finds no wave before it and never
// waits.
//
// How many waves may be on their way at once adapts. While entries take hardly
// longer than the fastest of late, what they wait for is distance, and one more
// wave is free: the limit rises. When they take much longer they wait for each
// other, for the disk or the CPU: the limit falls, to one. (Measured on two
// cores with everything on loopback, against a limit of three single entries: a
// third more submissions a second at 64 clients, a seventh more at 512.)
//
// An entry belongs to its wave until it is done, or has taken several times what
// entries take: a group that has lost its quorum leaves its one late entry behind
// and stalls nobody for long.
type Pacer struct {
	now func() time.Time

	mu    sync.Mutex
	limit int          // waves
	waves int          // on their way
	queue []chan *wave // who waits for the next one

	mean            time.Duration // of entries of late; 0: unknown
	fastest, before time.Duration // fastest entry of this window and of the last one
	window          time.Time     // when this window began
	quick, slow     int           // entries judged since the limit was last set
	probing, resume int           // entries left of a probe, and the limit after it
}

// wave is a set of entries that left together.
type wave struct{ left int } // of them still on their way

const (
	// An entry keeps its wave from being over for at most holdTimes the mean of
	// late, within minHold and maxHold.
	holdTimes = 4
	minHold   = 2 * time.Millisecond
	maxHold   = 20 * time.Millisecond
	// meanOver is how many entries the mean looks back, about.
	meanOver = 16
	// maxWaves bounds the limit.
	maxWaves = 8
	// fastestFor is how long the fastest entry is remembered, at least.
	fastestFor = 10 * time.Second
	// judgeAfter is the number of entries after which the limit may move.
	judgeAfter = 64
	// probeFor is the number of entries of a probe: once in fastestFor the limit is
	// one for so long. Where several waves are always away no entry is ever as fast
	// as it could be, and what it could be would be forgotten.
	probeFor = 32
)

// NewPacer returns a pacer that begins with one wave at a time.
func NewPacer() *Pacer { return &Pacer{now: time.Now, limit: 1} }

// Acquire waits for the next wave and returns the function that ends this
// entry's part in it; calling it again does nothing. done says whether the entry
// was committed: only then its time tells anything.
func (p *Pacer) Acquire() (release func(done bool)) {
	w, hold := p.join()
	start := p.now()
	var once sync.Once
	give := func(done bool) { once.Do(func() { p.release(w, done, p.now().Sub(start)) }) }
	late := time.AfterFunc(hold, func() { give(false) })
	return func(done bool) {
		late.Stop()
		give(done)
	}
}

func (p *Pacer) join() (*wave, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waves < p.limit {
		p.waves++
		return &wave{left: 1}, p.hold()
	}
	turn := make(chan *wave, 1)
	p.queue = append(p.queue, turn)
	p.mu.Unlock()
	w := <-turn // every wave is over after maxHold, so this ends
	p.mu.Lock()
	return w, p.hold()
}

// hold is how long an entry may keep its wave. The caller has mu.
func (p *Pacer) hold() time.Duration {
	if p.mean == 0 {
		return maxHold
	}
	return min(max(holdTimes*p.mean, minHold), maxHold)
}

func (p *Pacer) release(w *wave, done bool, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if done {
		if p.mean == 0 {
			p.mean = took
		}
		p.mean += (took - p.mean) / meanOver
		p.judge(took)
	}
	if w.left--; w.left == 0 {
		p.waves--
	}
	if p.waves >= p.limit || len(p.queue) == 0 {
		return
	}
	next := &wave{left: len(p.queue)}
	p.waves++
	for _, turn := range p.queue {
		turn <- next
	}
	p.queue = p.queue[:0]
}

// judge takes an entry's time into account: "much longer" is half as long again as the fastest.
func (p *Pacer) judge(took time.Duration) {
	if now := p.now(); now.Sub(p.window) > fastestFor {
		p.before, p.fastest, p.window = p.fastest, took, now
		if p.limit > 1 {
			p.probing, p.resume, p.limit = probeFor, p.limit, 1
		}
	}
	p.fastest = min(p.fastest, took)
	if p.probing > 0 {
		if p.probing--; p.probing == 0 {
			p.limit = p.resume
		}
		return
	}
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
		p.limit = min(p.limit+1, maxWaves)
	case p.slow > p.quick:
		p.limit = max(p.limit-1, 1)
	}
	p.quick, p.slow = 0, 0
}

// Limit is how many waves may be on their way at present.
func (p *Pacer) Limit() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit
}
