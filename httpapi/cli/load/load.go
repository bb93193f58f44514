// Package load puts a load on a cluster and measures what becomes of it. The
// generator shares the machine with what it measures, so it is built to cost
// little: requests are laid out by hand on kept connections (conn.go), and answers
// are looked at, not parsed.
//
// Run does what a Plan says: phases, one after the other, of a mix of requests,
// for teams and hunts that are asked for evenly or by Zipf's law. Single and
// Batch are the plain measurements of submissions only.
//
// Every submission is a new wrong answer with a new key: the cluster must
// judge, commit and remember each. Latencies go to an HDR histogram. With a
// rate, a request's time starts when it was due, not when it was sent: a
// pause of the cluster counts for everybody who would have come meanwhile
// (without that, a slow answer hides those that had to wait behind it).
package load

import (
	"context"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"cairn/fsm"
	"cairn/httpapi/cli/play"
)

// Config of one measurement.
type Config struct {
	Addrs       []string // base URLs; connections are spread over them
	Hunt        fsm.HuntID
	Clue        fsm.ClueID
	Teams       []play.Team             // at least Concurrency; without Skew a team's submissions never overlap
	Hunts       []Hunt                  // instead of Hunt and Teams, if not for a batch: asked for evenly
	Token       string                  // an organizer's, for batches
	Leader      func(fsm.TeamID) string // base URL of the node that a team's submissions go to; nil: any
	Concurrency int                     // clients, or lines on the wire of a batch
	Streams     int                     // batches only: streams they are spread over
	Rate        float64                 // operations a second in all; 0: as fast as answers come
	Polite      bool                    // a client that was refused sends nothing until it may come back
	Skew        float64                 // above 1: teams by Zipf's law with this exponent; else evenly
	Warmup      time.Duration
	For         time.Duration // measured, after the warm-up
	PIDs        []int         // whose CPU is counted
	Run         string        // makes keys new: any text that no run before had
}

// Result of one measurement.
type Result struct {
	Ops     int64            // done
	Refused int64            // because there was too much to do; nothing was done
	Held    int64            // not sent, because their client had been told to wait
	Errors  map[string]int64 // by what was answered instead
	Elapsed time.Duration
	Latency *hdrhistogram.Histogram // microseconds
	// Lag is how late requests were sent whose client had nothing else to do, in
	// microseconds: the generator's own part of the latencies. Only with a Rate.
	Lag      *hdrhistogram.Histogram
	CPU      time.Duration // of PIDs, meanwhile
	Measured bool          // CPU is known
}

// PerSecond is the throughput.
func (r *Result) PerSecond() float64 { return float64(r.Ops) / r.Elapsed.Seconds() }

// CPUPerThousand is the CPU time of 1,000 operations.
func (r *Result) CPUPerThousand() time.Duration {
	if r.Ops == 0 {
		return 0
	}
	return time.Duration(float64(r.CPU) * 1000 / float64(r.Ops))
}

// Single sends one submission a request, Concurrency at a time.
func Single(ctx context.Context, cfg Config) (*Result, error) {
	if cfg.Hunts == nil {
		cfg.Hunts = []Hunt{{cfg.Hunt, cfg.Teams}}
	}
	p := Plan{
		Addrs: cfg.Addrs, Hunts: cfg.Hunts, Clue: cfg.Clue, Clients: cfg.Concurrency, Skew: cfg.Skew, Polite: cfg.Polite, Run: cfg.Run,
		Phases: []Phase{{"measured", cfg.For, cfg.Rate, cfg.Concurrency}},
	}
	if cfg.Warmup > 0 {
		p.Phases = append([]Phase{{"warm-up", cfg.Warmup, cfg.Rate, cfg.Concurrency}}, p.Phases...)
	}
	if cfg.Leader != nil {
		p.Leader = func(_ fsm.HuntID, team fsm.TeamID) string { return cfg.Leader(team) }
	}
	from := time.Now().Add(cfg.Warmup)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of the meter, if Run fails
	var r *Report
	var err error
	cpu, known := metered(ctx, cfg.PIDs, from, from.Add(cfg.For), func() {
		if r, err = Run(ctx, p); err != nil {
			cancel()
		}
	})
	if err != nil {
		return nil, err
	}
	all := r.Phases[len(r.Phases)-1].All()
	// With a rate that is not kept, what was due is done later than that.
	took := max(cfg.For, r.Elapsed-cfg.Warmup)
	return &Result{
		Ops: all.Accepted, Refused: all.Refused, Held: all.Held, Errors: all.Errors, Elapsed: took,
		Latency: all.Latency, Lag: r.Lag, CPU: cpu, Measured: known,
	}, nil
}

// metered runs f and meanwhile reads the processes' CPU time, at both ends of a
// span. It reports false if that is not known.
func metered(ctx context.Context, pids []int, from, until time.Time, f func()) (cpu time.Duration, known bool) {
	var wg sync.WaitGroup
	if len(pids) > 0 {
		wg.Go(func() {
			if !pause(ctx, time.Until(from)) {
				return
			}
			before, err := CPU(pids)
			if err != nil || !pause(ctx, time.Until(until)) {
				return
			}
			after, err := CPU(pids)
			cpu, known = after-before, err == nil
		})
	}
	f()
	wg.Wait()
	return cpu, known
}

// pause reports false if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
