package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"cairn/fsm"
)

// Plan is a load: which requests, when, and by how many clients. Each request
// is one try. Unless it is Polite a client that is refused goes on with its next
// request and does not wait as Retry-After asks, for what is measured is what is
// offered.
type Plan struct {
	Addrs  []string                                // base URLs; clients are spread over them
	Leader func(fsm.HuntID, fsm.TeamID) string     // base URL of the node that a team's requests go to; nil: any
	Dial   func(hostPort string) (net.Conn, error) // nil: TCP
	Hunts  []Hunt
	Clue   fsm.ClueID // of each hunt, that is answered wrong
	// Clients is how many requests can be on the wire at once. In an open loop those
	// that are due while all clients wait are sent late, and their latency counts
	// from when they were due. A phase's Clients are at most as many.
	Clients int
	Phases  []Phase
	Mix     Mix
	// Skew and HuntSkew, above 1, choose teams within a hunt, and hunts, by Zipf's law
	// with this exponent: the k-th by 1/k^s. Else all come evenly, and without either
	// a team's requests never overlap.
	Skew, HuntSkew float64
	// Polite clients that were refused hold back what is due until they may come back.
	Polite bool
	Seed   uint64 // what is asked for follows from it
	// Patience is how long after the last phase what is due is still sent; what is
	// not sent by then is an error. 0: without end.
	Patience time.Duration
	Run      string // makes keys new: any text that no run before had
}

// Report is what became of a load.
type Report struct {
	Begin   time.Time
	Elapsed time.Duration // until the last answer
	Phases  []PhaseResult // in the order of their first appearance
	Step    time.Duration // of the series
	Series  []Point
	// Lag is how late requests were sent whose client had nothing else to do, in
	// microseconds: the generator's own part of the latencies in an open loop.
	Lag *hdrhistogram.Histogram
}

// maxErrors is how many errors in a row end a worker: then nothing is measured
// but the speed of failing.
const maxErrors = 100

var (
	// errFailing says that a worker met nothing but errors.
	errFailing = errors.New("nothing but errors")
	// errHeld is a request that a polite client did not send.
	errHeld = errors.New("held back")
	// errUnsent is a request that the clients did not come to.
	errUnsent = errors.New("never sent: all clients were waiting")
)

// Run puts the load on the cluster, and returns when every request that was due
// has been answered.
func Run(ctx context.Context, p Plan) (*Report, error) {
	if err := errors.Join(CheckPhases(p.Phases), checkTeams(p.Hunts, p.Clients)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rec, index := newRecorder(p.Phases)
	r := &run{plan: p, begin: time.Now(), rec: rec, index: index}
	all := places(&p)
	var wg sync.WaitGroup
	errs := make([]error, p.Clients)
	for w := range p.Clients {
		mine := all[w*len(all)/p.Clients : (w+1)*len(all)/p.Clients]
		wg.Go(func() {
			c := &worker{run: r, id: w, pick: newPicker(&r.plan, w, mine), conns: map[string]*conn{}}
			defer c.close()
			if errs[w] = c.work(ctx); errs[w] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Report{Begin: r.begin, Elapsed: time.Since(r.begin), Phases: rec.phases, Step: rec.step, Series: rec.series(), Lag: rec.lag}, ctx.Err()
}

// run is what the workers of a load share.
type run struct {
	plan  Plan
	begin time.Time
	rec   *recorder
	index []int // of each phase's result
}

// worker is one client: one request at a time.
type worker struct {
	run    *run
	id     int
	pick   *picker
	conns  map[string]*conn // by base URL
	timer  *time.Timer
	sent   int
	failed int           // in a row
	back   time.Duration // since the beginning, before which it may not come back
}

// work goes through the phases. Of the requests that are due in all open phases,
// worker w has each that is w modulo the number of workers.
func (w *worker) work(ctx context.Context) error {
	r := w.run
	from, number := time.Duration(0), int64(0)
	last := time.Duration(0)
	for _, p := range r.plan.Phases {
		last += p.For
	}
	clients := int64(r.plan.Clients)
	for i := range r.plan.Phases {
		p := &r.plan.Phases[i]
		until := from + p.For
		first := (int64(w.id) - number%clients + clients) % clients
		for j := first; j < p.due(); j += clients {
			due := from + p.at(j)
			idle := time.Since(r.begin) < due
			if !w.pause(ctx, due) {
				return nil
			}
			if r.plan.Polite && due < w.back {
				op, _ := w.pick.next()
				r.rec.note(r.index[i], op, due, due, errHeld)
				continue
			}
			if idle {
				r.rec.late(time.Since(r.begin) - due)
			}
			if r.plan.Patience > 0 && time.Since(r.begin) > last+r.plan.Patience {
				op, _ := w.pick.next()
				r.rec.note(r.index[i], op, due, time.Since(r.begin), errUnsent)
				continue
			}
			if err := w.one(i, due); err != nil {
				return err
			}
		}
		number += p.due()
		if p.Rate == 0 && w.id < p.Clients {
			if err := w.closed(ctx, i, from, until); err != nil {
				return err
			}
		}
		from = until
	}
	return nil
}

// closed sends the next request when the last is answered, until the phase ends.
func (w *worker) closed(ctx context.Context, phase int, from, until time.Duration) error {
	if !w.pause(ctx, from) {
		return nil
	}
	for ctx.Err() == nil {
		now := time.Since(w.run.begin)
		if now >= until {
			return nil
		}
		if err := w.one(phase, now); err != nil {
			return err
		}
	}
	return nil
}

// one makes the next request, which was due at a time since the beginning.
func (w *worker) one(phase int, due time.Duration) error {
	op, at := w.pick.next()
	err := w.send(op, at)
	w.sent++
	now := time.Since(w.run.begin)
	w.run.rec.note(w.run.index[phase], op, due, now, err)
	after, isRefusal := wasRefused(err)
	if isRefusal {
		w.back = now + after
	}
	if err == nil || isRefusal {
		w.failed = 0
		return nil
	}
	if w.failed++; w.failed == maxErrors {
		return fmt.Errorf("%w, last: %w", errFailing, err)
	}
	return nil
}

func (w *worker) send(op Op, at place) error {
	p := &w.run.plan
	hunt := &p.Hunts[at.hunt]
	team := &hunt.Teams[at.team]
	addr := p.Addrs[w.id%len(p.Addrs)]
	if p.Leader != nil {
		addr = p.Leader(hunt.ID, team.ID)
	}
	c := w.conns[addr]
	if c == nil {
		u, err := url.Parse(addr)
		if err != nil {
			return err
		}
		c = &conn{addr: u.Host, dial: p.Dial}
		w.conns[addr] = c
	}
	return c.ask(p, op, hunt.ID, team, key{p.Run, w.id, w.sent})
}

func (w *worker) close() {
	for _, c := range w.conns {
		c.close()
	}
	if w.timer != nil {
		w.timer.Stop()
	}
}

// pause waits until a time since the beginning. It reports false if ctx ends
// first.
func (w *worker) pause(ctx context.Context, until time.Duration) bool {
	d := until - time.Since(w.run.begin)
	if d <= 0 {
		return ctx.Err() == nil
	}
	if w.timer == nil {
		w.timer = time.NewTimer(d)
	} else {
		w.timer.Reset(d)
	}
	select {
	case <-w.timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
