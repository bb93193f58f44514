// Package replay sends a file of submissions to a cluster so that every line
// is counted exactly once and every team's lines are judged in the file's
// order, however often connections break and nodes fail on the way.
//
// How. Lines are dealt to workers by a hash of their team. A worker keeps one
// stream to submissions:batch open, with at most one line of a team on the
// wire: only when a line has its result is the team's next one sent. So a line
// that must be sent again, with the same key, never finds a later one of its
// team judged before it. What has no definite result (the connection broke, or
// the answer was unavailable, overloaded or outcome_unknown) is sent again after
// a growing pause; a broken stream is opened again at the next address.
//
//	Reader --> Pace --> worker 0: teams {a: 3 lines, d: 1} --> stream --> node
//	               \--> worker 1: teams {b: 7 lines}       --> stream --> node
//
// A run that was cut short is resumed by running it again: the keys make the
// lines that are already counted come back as replayed.
package replay

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

// Limits of a run.
const (
	// MaxWorkers bounds Config.Workers.
	MaxWorkers = 256
	// window is how many lines a worker has on the wire at most.
	window = 512
	// maxQueued is how many lines a worker holds at most; the file is read no
	// further until one has its result. It is larger than window so that a
	// busy team at the file's head does not keep the others waiting.
	maxQueued = 16 * window
	// minPause and maxPause bound the growing pause before a line is sent
	// again, and before a broken stream is opened again.
	minPause = 25 * time.Millisecond
	maxPause = 2 * time.Second
)

// Stream sends lines as they come to one node's submissions:batch and calls
// result for each, in the same order, until lines is closed and every result
// is in: nil. An error whose kind is definite (see fatal) says that the node
// refuses all of it; any other says that the connection broke, and that lines
// without a result may or may not have counted. address counts up from the
// worker's number: a caller with n addresses takes it modulo n. It returns soon
// after ctx ends, and result is not called after it has returned.
type Stream func(ctx context.Context, address int, lines <-chan rest.BatchLine, result func(rest.BatchResult)) error

// Config of a run.
type Config struct {
	Stream  Stream
	Workers int // 1 to MaxWorkers
	Pace    Pace
	// GiveUp ends the run when no line has had a result for so long although
	// some are waiting for one.
	GiveUp time.Duration
	// Result is told every line's definite result; Bad every line that could
	// not be sent as it stands. Never called concurrently.
	Result func(Line, rest.BatchResult)
	Bad    func(*LineError)
}

// Summary is what became of the lines.
type Summary struct {
	Lines    int            `json:"lines"`
	Verdicts map[string]int `json:"verdicts"` // recorded, now or earlier
	Replayed int            `json:"replayed"` // of those, the ones recorded earlier
	Errors   int            `json:"errors"`   // lines that were refused
	// Unanswered lines have no definite result: the run was cut short.
	Unanswered int           `json:"unanswered"`
	Resent     int           `json:"resent"` // times that a line was sent again
	Elapsed    time.Duration `json:"-"`
}

// Complete reports whether every line has a recorded result.
func (s *Summary) Complete() bool { return s.Errors == 0 && s.Unanswered == 0 }

// ErrStalled ends a run in which nothing has had a result for Config.GiveUp.
var ErrStalled = errors.New("no line had a result for too long")

// Run sends all lines of in. The Summary is right whatever the error; a nil
// error says that no line is unanswered. Errors: what in.Next returns, the
// node's refusal of the whole stream, ErrStalled, or ctx's.
func Run(ctx context.Context, in *Reader, cfg Config) (Summary, error) {
	r := &run{cfg: cfg, start: time.Now(), sum: Summary{Verdicts: map[string]int{}}}
	g, ctx := errgroup.WithContext(ctx)
	workers := make([]*worker, cfg.Workers)
	for i := range workers {
		workers[i] = newWorker(r, i)
	}

	done := make(chan struct{})
	g.Go(func() error { return r.watch(ctx, done) })
	g.Go(func() error {
		defer close(done)
		work, workCtx := errgroup.WithContext(ctx)
		work.Go(func() error { return r.deal(workCtx, in, workers) })
		for _, w := range workers {
			work.Go(func() error { return w.loop(workCtx) })
		}
		return work.Wait()
	})
	err := g.Wait()

	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum.Elapsed = time.Since(r.start)
	r.sum.Unanswered = int(r.waiting.Load())
	return r.sum, err
}

// run is what the workers share.
type run struct {
	cfg      Config
	start    time.Time
	waiting  atomic.Int64 // lines that were due and have no result
	progress atomic.Int64 // results so far

	mu  sync.Mutex // guards sum and the calls of cfg.Result and cfg.Bad
	sum Summary
}

// deal reads the file and hands every line, when it is due, to the worker of
// its team.
func (r *run) deal(ctx context.Context, in *Reader, workers []*worker) error {
	defer func() {
		for _, w := range workers {
			close(w.in)
		}
	}()
	pace := clock{Pace: r.cfg.Pace}
	for n := 0; ; n++ {
		line, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if bad, ok := errors.AsType[*LineError](err); ok {
			r.bad(bad)
			continue
		}
		if err != nil {
			return err
		}
		if err := wait(ctx, time.Until(r.start.Add(pace.due(n, line.At)))); err != nil {
			return err
		}
		r.due()
		select {
		case workers[workerOf(line.Team, len(workers))].in <- line:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// workerOf deals teams to workers: all lines of a team to the same one.
func workerOf(team fsm.TeamID, workers int) int {
	h := fnv.New32a()
	io.WriteString(h, string(team))
	return int(h.Sum32() % uint32(workers))
}

// watch ends the run when it stalls: with lines waiting and no result for
// GiveUp. A line that is not due yet does not wait.
func (r *run) watch(ctx context.Context, done <-chan struct{}) error {
	ticker := time.NewTicker(max(r.cfg.GiveUp/20, time.Millisecond))
	defer ticker.Stop()
	seen, since := int64(-1), time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-done:
			return nil
		case now := <-ticker.C:
			if p := r.progress.Load(); p != seen || r.waiting.Load() == 0 {
				seen, since = p, now
			}
			if now.Sub(since) > r.cfg.GiveUp {
				return fmt.Errorf("%w (%v)", ErrStalled, r.cfg.GiveUp)
			}
		}
	}
}

// due counts a line that is handed out now.
func (r *run) due() {
	r.waiting.Add(1)
	r.mu.Lock()
	r.sum.Lines++
	r.mu.Unlock()
}

// settle records a line's definite result.
func (r *run) settle(line Line, res rest.BatchResult) {
	r.waiting.Add(-1)
	r.progress.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if res.Error != nil {
		r.sum.Errors++
	} else {
		r.sum.Verdicts[res.Verdict]++
		if res.Replayed {
			r.sum.Replayed++
		}
	}
	r.cfg.Result(line, res)
}

func (r *run) bad(err *LineError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum.Lines++
	r.sum.Errors++
	r.cfg.Bad(err)
}

func (r *run) resent() {
	r.mu.Lock()
	r.sum.Resent++
	r.mu.Unlock()
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
