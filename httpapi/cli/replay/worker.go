package replay

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

// worker replays its share of the teams. One goroutine runs it; the stream has
// another and speaks to it through events.
//
// Invariants, between two events:
//
//  1. A team with lines is in exactly one of ready, resting and flight: so at
//     most one line of a team is on the wire, and it is the team's first.
//  2. flight holds the teams in the order in which their lines were sent, which
//     is the order in which their results come.
//  3. queued is the number of lines of all teams; there is no team without one.
type worker struct {
	run *run
	in  chan Line

	teams   map[fsm.TeamID]*team
	ready   []*team // the first line may be sent now
	resting []*team // the first line must be sent again, later
	flight  []*team
	queued  int

	stream  *stream   // nil: none is open
	address int       // of the next stream
	breaks  int       // streams that broke since the last result
	heard   time.Time // of the stream, or of its first line
	openAt  time.Time
}

// team is a team with lines that have no result yet, in the file's order.
type team struct {
	lines []Line
	tries int // of the first line, after the first try
	until time.Time
}

// stream is an open Stream. Its channels hold a whole window, so neither the
// worker nor the stream ever waits for the other to read.
type stream struct {
	lines  chan rest.BatchLine
	events chan event
	cancel context.CancelFunc
}

// event is a result, or the end of the stream.
type event struct {
	result rest.BatchResult
	ended  bool
	err    error
}

const (
	// tick is how often resting lines are looked at.
	tick = 10 * time.Millisecond
	// maxQuiet is how long a stream with lines on the wire may be silent: twice
	// what a node takes for a line at most. Then its node hangs, or is gone
	// without a word.
	maxQuiet = 20 * time.Second
	// goodbye is how long the end of a stream without open lines may take.
	goodbye = time.Second
)

func newWorker(r *run, id int) *worker {
	return &worker{run: r, in: make(chan Line, window), teams: map[fsm.TeamID]*team{}, address: id}
}

// loop returns nil when every line of the worker has a definite result, or why
// that cannot come.
func (w *worker) loop(ctx context.Context) error {
	defer w.hangUp()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	in := w.in
	for {
		if in == nil && w.queued == 0 {
			return nil
		}
		w.send(ctx, time.Now())
		accept := in
		if w.queued >= maxQueued {
			accept = nil
		}
		var events chan event
		if w.stream != nil {
			events = w.stream.events
		}
		var wake <-chan time.Time
		if len(w.resting) > 0 || len(w.flight) > 0 || len(w.ready) > 0 {
			wake = ticker.C
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case line, ok := <-accept:
			if !ok {
				in = nil
				continue
			}
			w.enqueue(line)
		case ev := <-events:
			if err := w.handle(ev, time.Now()); err != nil {
				return err
			}
		case now := <-wake:
			w.wakeUp(now)
		}
	}
}

func (w *worker) enqueue(line Line) {
	w.queued++
	t := w.teams[line.Team]
	if t == nil {
		t = &team{}
		w.teams[line.Team] = t
		w.ready = append(w.ready, t)
	}
	t.lines = append(t.lines, line)
}

// send puts lines of ready teams on the wire, and opens a stream for them if
// none is open and the last one's pause is over.
func (w *worker) send(ctx context.Context, now time.Time) {
	if len(w.ready) == 0 || w.stream == nil && now.Before(w.openAt) {
		return
	}
	if w.stream == nil {
		w.stream = w.open(ctx)
	}
	for len(w.ready) > 0 && len(w.flight) < window {
		t := w.ready[0]
		w.ready = w.ready[1:]
		if len(w.flight) == 0 {
			w.heard = now
		}
		w.flight = append(w.flight, t)
		w.stream.lines <- t.lines[0].BatchLine
	}
}

func (w *worker) open(ctx context.Context) *stream {
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{
		lines:  make(chan rest.BatchLine, window),
		events: make(chan event, window+1),
		cancel: cancel,
	}
	address := w.address
	go func() {
		err := w.run.cfg.Stream(ctx, address, s.lines, func(r rest.BatchResult) {
			select {
			case s.events <- event{result: r}:
			case <-ctx.Done(): // more results than lines: the worker has hung up
			}
		})
		s.events <- event{ended: true, err: err}
	}()
	return s
}

// handle takes one event of the stream in. Its error ends the run.
func (w *worker) handle(ev event, now time.Time) error {
	if ev.ended {
		w.stream.cancel()
		w.stream = nil
		if fatal(ev.err) {
			return ev.err
		}
		w.broken(now)
		return nil
	}
	if len(w.flight) == 0 || ev.result.LineKey != w.flight[0].lines[0].Key {
		return errors.New("the node answered lines that were not sent, or out of order: it speaks another protocol")
	}
	t := w.flight[0]
	w.flight = w.flight[1:]
	w.breaks, w.heard = 0, now
	if p := ev.result.Error; p != nil && again(fsm.KindByCode(p.Code)) {
		w.rest(t, now, time.Duration(p.RetryAfterMS)*time.Millisecond)
		return nil
	}
	w.settle(t, ev.result)
	return nil
}

// settle ends a team's first line; the next one may go.
func (w *worker) settle(t *team, res rest.BatchResult) {
	line := t.lines[0]
	t.lines, t.tries = t.lines[1:], 0
	w.queued--
	if len(t.lines) > 0 {
		w.ready = append(w.ready, t)
	} else {
		delete(w.teams, line.Team)
	}
	w.run.settle(line, res)
}

// broken puts all that was on the wire aside, to be sent again through the next
// address. A stream that ends although nothing is on the wire was idle.
func (w *worker) broken(now time.Time) {
	w.address++
	w.breaks++
	w.openAt = now.Add(pause(w.breaks))
	for _, t := range w.flight {
		w.rest(t, now, 0)
	}
	w.flight = nil
}

// rest keeps a team back until its first line may be sent again.
func (w *worker) rest(t *team, now time.Time, atLeast time.Duration) {
	t.tries++
	t.until = now.Add(max(pause(t.tries), min(atLeast, maxPause)))
	w.resting = append(w.resting, t)
	w.run.resent()
}

// wakeUp ends the rest of teams whose time has come, and a stream that has
// been silent for too long.
func (w *worker) wakeUp(now time.Time) {
	if len(w.flight) > 0 && now.Sub(w.heard) > maxQuiet {
		w.stream.cancel()
	}
	still := w.resting[:0]
	for _, t := range w.resting {
		if t.until.After(now) {
			still = append(still, t)
		} else {
			w.ready = append(w.ready, t)
		}
	}
	clear(w.resting[len(still):])
	w.resting = still
}

// hangUp ends the stream and waits until nothing of it runs any more.
func (w *worker) hangUp() {
	if w.stream == nil {
		return
	}
	close(w.stream.lines)
	if w.queued > 0 {
		w.stream.cancel()
	} else {
		defer time.AfterFunc(goodbye, w.stream.cancel).Stop()
	}
	for ev := range w.stream.events {
		if ev.ended {
			break
		}
	}
	w.stream.cancel()
}

// again reports whether a line that failed so has no definite result yet.
func again(k fsm.Kind) bool {
	switch k {
	case fsm.Unavailable, fsm.Overloaded, fsm.OutcomeUnknown, fsm.RateLimited:
		return true
	}
	return false
}

// fatal reports whether a stream ended in a way that another one would, too.
func fatal(err error) bool {
	if err == nil || again(fsm.KindOf(err)) {
		return false
	}
	_, told := errors.AsType[*fsm.Error](err)
	return told && fsm.KindOf(err) != fsm.Internal
}

// pause grows with every try and is jittered, so that what failed together does
// not come back together.
func pause(tries int) time.Duration {
	d := min(minPause<<min(tries-1, 16), maxPause)
	return d/2 + rand.N(d/2)
}
