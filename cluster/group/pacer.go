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
// A slot comes back when its entry is done, or after hold: a group that has lost
// its quorum keeps its one late entry outside the pool and stalls nobody.
type Pacer struct {
	mu     sync.Mutex
	free   int
	queue  []chan struct{} // first come, first served
	closed bool
}

// hold is the longest that an entry keeps its slot.
const hold = 20 * time.Millisecond

// NewPacer returns a pacer with limit slots.
func NewPacer(limit int) *Pacer { return &Pacer{free: limit} }

// Acquire waits for a slot and returns the function that gives it back; calling
// it again does nothing.
func (p *Pacer) Acquire() (release func()) {
	p.mu.Lock()
	if p.free > 0 {
		p.free--
		p.mu.Unlock()
	} else {
		turn := make(chan struct{})
		p.queue = append(p.queue, turn)
		p.mu.Unlock()
		<-turn // every slot comes back after hold, so this ends
	}
	var once sync.Once
	give := func() { once.Do(p.release) }
	late := time.AfterFunc(hold, give)
	return func() {
		late.Stop()
		give()
	}
}

func (p *Pacer) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) > 0 {
		close(p.queue[0])
		p.queue = p.queue[1:]
		return
	}
	p.free++
}
