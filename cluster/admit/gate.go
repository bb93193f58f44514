// Package admit decides which requests a node takes on, and in which order, when
// there are more than it can carry. A request that was refused had nothing done
// for it, which keeps those that were taken quick.
//
// How many a node works on at once follows how long they take (limiter). Beyond
// that they wait, for a short time, in an order that is fair between hunts and
// between the teams of a hunt (fair): who asks for little waits little, whatever
// the others ask for. Who waited too long, or cannot be done before its deadline,
// is refused at once. The patient, whose sender sends no more meanwhile, wait in a
// queue of their own, which gets every patientShare-th place while both wait.
//
// The requests to a partition of which nothing is answered for a while, because it
// has no leader, give their places back: they are carried beside the others, so
// that one partition's trouble is nobody else's.
package admit

import (
	"context"
	"sync"
	"time"

	"cairn/fsm"
)

// Limits of a gate. Beyond them a request is refused with Overloaded.
const (
	// MaxWaiting is how many requests wait for a place, those apart that are
	// patient.
	MaxWaiting = 4096
	// MaxWait is how long one waits.
	MaxWait = 50 * time.Millisecond
	// MaxPerTeam is how many of a team wait.
	MaxPerTeam = 32
	// MaxLate is how many of a partition that gave their place back are carried.
	MaxLate = 1024
	// minAhead of a hunt may always wait: the pace of places that come free is not
	// known so well.
	minAhead = 4
	// patientShare: see the package comment.
	patientShare = 4
	// A partition has answered nothing for a while if the places that others hold
	// have changed hands turnovers times since, and holdRatio times what requests
	// took lately have passed, holdMin at least; or if holdMax has. Time alone says
	// little: on a node with too much to do everybody waits. It is looked for each
	// sweepEvery.
	turnovers  = 4
	holdRatio  = 4
	holdMin    = 20 * time.Millisecond
	holdMax    = time.Second
	sweepEvery = 5 * time.Millisecond
	// sweepPatient is how often one that is patient looks.
	sweepPatient = 250 * time.Millisecond
)

// Gate is a node's admission. Its zero value is not usable.
type Gate struct {
	now     func() time.Time
	refused func(reason string)

	mu      sync.Mutex
	limiter limiter
	queue   fair
	patient fair
	turns   int  // places given from a queue
	busy    int  // hold a place
	done    int  // requests that were answered so far
	pace    pace // of places that come free while somebody waits
	lanes   map[fsm.PartitionID]*lane
	swept   time.Time
	retry   retry
}

// lane is what is under way to one partition.
type lane struct {
	held     int       // places
	late     int       // gave their place back and are not done
	answered time.Time // when one was done last, or when the first of these began
	done     int       // the gate's, then
	first    *Pass     // a list of those that hold a place, in any order
}

// Pass is a request that was taken on. Leave must be called once.
type Pass struct {
	gate       *Gate
	lane       *lane
	began      time.Time
	prev, next *Pass
	late       bool
}

// waiter is a request that waits for a place.
type waiter struct {
	flow    Flow
	patient bool
	pass    *Pass         // set before turn is closed, or
	err     error         // why it was refused
	turn    chan struct{} // closed when it is its turn, or it was refused
}

// New returns an open gate. refused, which may be nil, is told of every refusal:
// queue_full or deadline.
func New(refused func(reason string)) *Gate {
	if refused == nil {
		refused = func(string) {}
	}
	return &Gate{now: time.Now, refused: refused, limiter: newLimiter(), lanes: map[fsm.PartitionID]*lane{}}
}

// Stats is what a gate does at a moment.
type Stats struct {
	Limit, Busy, Waiting, Late int
}

// Stats returns what the gate does now.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := Stats{Limit: g.limiter.max(), Busy: g.busy, Waiting: g.queue.size + g.patient.size}
	for _, l := range g.lanes {
		s.Late += l.late
	}
	return s
}

// patience marks a context.
type patience struct{}

// Patient returns a context whose requests wait for their turn until it ends,
// instead of being refused: their sender sends no more meanwhile.
func Patient(ctx context.Context) context.Context { return context.WithValue(ctx, patience{}, true) }

// IsPatient reports whether ctx is one of Patient.
func IsPatient(ctx context.Context) bool { return ctx.Value(patience{}) != nil }

// Enter waits for a place. The error is Overloaded, and nothing was done.
func (g *Gate) Enter(ctx context.Context, f Flow) (*Pass, error) {
	now := g.now()
	g.mu.Lock()
	p, w, err := g.enter(ctx, f, now)
	g.mu.Unlock()
	if w == nil {
		return p, err
	}
	return g.await(ctx, w)
}

// enter gives a place, or a waiter in a queue, or an error. The caller holds mu.
func (g *Gate) enter(ctx context.Context, f Flow, now time.Time) (*Pass, *waiter, error) {
	g.expire(now)
	if l := g.lanes[f.Partition]; l != nil && l.late >= MaxLate {
		return nil, nil, g.refuse("queue_full", "too many requests wait for this partition, which does not answer at the moment; try again")
	}
	if g.busy < g.limiter.max() {
		return g.grant(f, now), nil, nil // nobody waits: see call
	}
	// Only now: as long as there are places nothing says that this will take as long
	// as the last ones did.
	if end, ok := ctx.Deadline(); ok && end.Sub(now) < g.limiter.typical {
		return nil, nil, g.refuse("deadline", "this cannot be done before its deadline; allow more time, or try again later")
	}
	w, err := g.join(f, IsPatient(ctx))
	return nil, w, err
}

// join puts a request into its queue, or somebody else out of it. The caller
// holds mu.
func (g *Gate) join(f Flow, patient bool) (*waiter, error) {
	w := &waiter{flow: f, patient: patient, turn: make(chan struct{})}
	if patient {
		g.patient.push(w)
		return w, nil
	}
	if g.queue.waits(f) >= MaxPerTeam {
		return nil, g.refuse("queue_full", "this team has too many requests waiting; try again")
	}
	if g.hopeless(f.Hunt) {
		return nil, g.refuse("queue_full", full)
	}
	g.queue.push(w)
	if g.queue.size > MaxWaiting {
		last := g.queue.longest()
		g.queue.remove(last)
		last.err = g.refuse("queue_full", full)
		close(last.turn)
	}
	return w, nil
}

// hopeless reports whether a request of a hunt would not have its turn within
// MaxWait, going by how fast places have come free and how many hunts share them.
// The caller holds mu.
func (g *Gate) hopeless(hunt fsm.HuntID) bool {
	ahead, hunts := g.queue.ahead(hunt)
	return ahead >= minAhead && g.pace.per(ahead*hunts) > MaxWait
}

// Hopeless returns the error that Enter would return now for a request of this
// hunt for want of room, nil for none. It is for refusing early, before anything is
// spent on the request.
func (g *Gate) Hopeless(hunt fsm.HuntID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.hopeless(hunt) {
		return nil
	}
	return g.refuse("queue_full", full)
}

// refuse counts a refusal and says when to come back. The caller holds mu.
func (g *Gate) refuse(reason, text string) error {
	g.refused(reason)
	g.retry.note(g.now(), true)
	return &fsm.Error{Kind: fsm.Overloaded, Msg: text, After: g.retry.tell()}
}

// await waits until it is w's turn.
func (g *Gate) await(ctx context.Context, w *waiter) (*Pass, error) {
	wait := MaxWait
	if w.patient {
		wait = sweepPatient
	}
	t := time.NewTicker(wait)
	defer t.Stop()
	for {
		select {
		case <-w.turn:
		case <-ctx.Done():
			if err := g.giveUp(w, "deadline"); err != nil {
				return nil, err
			}
		case <-t.C:
			if w.patient {
				g.sweep()
				continue
			}
			if err := g.giveUp(w, "queue_full"); err != nil {
				return nil, err
			}
		}
		<-w.turn // it was its turn just now
		return w.pass, w.err
	}
}

// sweep looks for places that were held too long, when nobody else comes by.
func (g *Gate) sweep() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expire(g.now())
}

// giveUp ends the wait of w, unless it is its turn at this moment: then the error
// is nil.
func (g *Gate) giveUp(w *waiter, reason string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expire(g.now()) // perhaps there is a place now
	select {
	case <-w.turn:
		return nil
	default:
	}
	if w.patient {
		g.patient.remove(w)
	} else {
		g.queue.remove(w)
	}
	return g.refuse(reason, full)
}

// grant gives a place. The caller holds mu.
func (g *Gate) grant(f Flow, now time.Time) *Pass {
	l := g.lanes[f.Partition]
	if l == nil {
		l = &lane{}
		g.lanes[f.Partition] = l
	}
	if l.first == nil && l.late == 0 {
		l.answered, l.done = now, g.done
	}
	p := &Pass{gate: g, lane: l, began: now, next: l.first}
	if l.first != nil {
		l.first.prev = p
	}
	l.first = p
	l.held++
	g.busy++
	g.retry.note(now, false)
	return p
}

// release takes p's place from it. The caller holds mu.
func (g *Gate) release(p *Pass) {
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		p.lane.first = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	}
	p.prev, p.next = nil, nil
	p.lane.held--
	g.busy--
}

// expire takes their places from requests to partitions that have not answered
// for a while, and gives free ones to those whose turn it is. The caller holds mu.
func (g *Gate) expire(now time.Time) {
	if g.busy < g.limiter.max() || now.Sub(g.swept) < sweepEvery {
		return
	}
	g.swept = now
	hold := max(holdRatio*g.limiter.typical, holdMin)
	for _, l := range g.lanes {
		silent := now.Sub(l.answered)
		if silent <= holdMax && (silent <= hold || g.done-l.done < turnovers*(g.busy-l.held)) {
			continue
		}
		for l.first != nil {
			p := l.first
			g.release(p)
			p.late = true
			l.late++
		}
	}
	g.call(now)
}

// call gives free places to those whose turn it is, until there are none or nobody
// waits. The caller holds mu.
func (g *Gate) call(now time.Time) {
	for g.busy < g.limiter.max() {
		first, then := &g.queue, &g.patient
		if g.turns++; g.turns%patientShare == 0 {
			first, then = then, first
		}
		w := first.pop()
		if w == nil {
			w = then.pop()
		}
		if w == nil {
			return
		}
		w.pass = g.grant(w.flow, now)
		close(w.turn)
	}
}

// Leave says that the request is done. Answered says that its partition did
// something about it: that it was not given up for want of a leader.
func (p *Pass) Leave(answered bool) {
	g := p.gate
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	waited := g.queue.size+g.patient.size > 0
	g.pace.note(now, waited)
	if answered {
		g.done++
		p.lane.answered, p.lane.done = now, g.done
		if !p.late { // what waited for an election tells nothing about how long work takes
			g.limiter.note(p.began, now, g.busy, waited)
		}
	}
	if p.late {
		p.lane.late--
	} else {
		g.release(p)
	}
	g.call(now)
}

const full = "this node has more to do than it can; nothing was done, try again"
