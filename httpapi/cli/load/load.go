// Package load drives a cluster with submissions as fast as it answers, or at a
// fixed rate, and measures it. The generator shares the machine with what it
// measures, so it is built to cost little: requests are laid out by hand on
// kept connections (conn.go), and answers are looked at, not parsed.
//
// Every submission is a new wrong answer with a new key: the cluster must
// judge, commit and remember each. Latencies go to an HDR histogram. With a
// rate, an operation's time starts when it was due, not when it was sent: a
// pause of the cluster counts for everybody who would have come meanwhile
// (without that, a slow answer hides those that had to wait behind it).
package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
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

// maxErrors is how many errors in a row end a worker: then nothing is measured
// but the speed of failing.
const maxErrors = 100

// errFailing says that a worker met nothing but errors.
var errFailing = errors.New("nothing but errors")

// refused is the cluster's answer when there is too much to do: when to come back.
type refused time.Duration

func (refused) Error() string { return "refused" }

// refusal reads when to come back from an answer's retry_after_ms.
func refusal(answer []byte) error {
	_, rest, _ := bytes.Cut(answer, []byte(`"retry_after_ms":`))
	end := bytes.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	ms, _ := strconv.Atoi(string(rest[:max(end, 0)])) // zero if there is none
	return refused(time.Duration(ms) * time.Millisecond)
}

// overloaded is what such an answer contains.
var overloaded = []byte(`"code":"overloaded"`)

// wanted is what the answer to a good submission contains.
var wanted = []byte(`"verdict":"incorrect"`)

// Single sends one submission a request, Concurrency at a time.
func Single(ctx context.Context, cfg Config) (*Result, error) {
	if len(cfg.Teams) < cfg.Concurrency {
		return nil, fmt.Errorf("%d teams cannot keep %d connections busy", len(cfg.Teams), cfg.Concurrency)
	}
	cfg.Teams = slices.Clone(cfg.Teams)
	if cfg.Leader != nil {
		// Neighbours go to the same node, so a worker needs few connections.
		slices.SortStableFunc(cfg.Teams, func(a, b play.Team) int { return strings.Compare(cfg.Leader(a.ID), cfg.Leader(b.ID)) })
	}
	return measure(ctx, cfg, cfg.Concurrency, func(ctx context.Context, s *stage, w int) error {
		// Worker w has a block of teams for itself.
		n, c := len(cfg.Teams), cfg.Concurrency
		mine := cfg.Teams[w*n/c : (w+1)*n/c]
		var zipf *rand.Zipf
		if cfg.Skew > 1 {
			zipf = rand.NewZipf(rand.New(rand.NewPCG(uint64(w), 0)), cfg.Skew, 1, uint64(n-1))
		}
		conns := map[string]*conn{}
		defer func() {
			for _, c := range conns {
				c.close()
			}
		}()
		return s.loop(ctx, w, func(k int) error {
			team := mine[k%len(mine)]
			if zipf != nil {
				team = cfg.Teams[zipf.Uint64()]
			}
			addr := cfg.Addrs[w%len(cfg.Addrs)]
			if cfg.Leader != nil {
				addr = cfg.Leader(team.ID)
			}
			c := conns[addr]
			if c == nil {
				u, err := url.Parse(addr)
				if err != nil {
					return err
				}
				c = &conn{addr: u.Host}
				conns[addr] = c
			}
			return submit(c, &cfg, team, w, k)
		})
	})
}

// submit makes one request and checks its answer.
func submit(c *conn, cfg *Config, team play.Team, w, k int) error {
	body := appendAnswer(append(c.body[:0], `{"clue":"`...), cfg, w, k)
	body = append(body, '}')
	c.body = body
	req := c.req[:0]
	req = append(req, "POST /v1/hunts/"...)
	req = append(req, cfg.Hunt...)
	req = append(req, "/teams/"...)
	req = append(req, team.ID...)
	req = append(req, "/submissions HTTP/1.1\r\nHost: "...)
	req = append(req, c.addr...)
	req = append(req, "\r\nAuthorization: Bearer "...)
	req = append(req, team.Token...)
	req = append(req, "\r\nIdempotency-Key: "...)
	req = appendKey(req, cfg, w, k)
	req = append(req, "\r\nContent-Length: "...)
	req = strconv.AppendInt(req, int64(len(body)), 10)
	req = append(req, "\r\n\r\n"...)
	req = append(req, body...)
	c.req = req
	status, answer, err := c.do(req)
	switch {
	case err != nil:
		return err
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable && bytes.Contains(answer, overloaded):
		return refusal(answer)
	case status != 200:
		return fmt.Errorf("status %d", status)
	case !bytes.Contains(answer, wanted):
		return errors.New("another verdict")
	}
	return nil
}

// appendAnswer appends what follows `{"clue":"`, up to the closing brace.
func appendAnswer(b []byte, cfg *Config, w, k int) []byte {
	b = append(b, cfg.Clue...)
	b = append(b, `","answer":"guess `...)
	b = appendKey(b, cfg, w, k)
	return append(b, '"')
}

func appendKey(b []byte, cfg *Config, w, k int) []byte {
	b = append(b, cfg.Run...)
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(w), 10)
	b = append(b, '-')
	return strconv.AppendInt(b, int64(k), 10)
}

// stage is what the workers of a measurement share.
type stage struct {
	cfg   Config
	start time.Time
	from  time.Time // measured from here
	until time.Time

	mu     sync.Mutex
	result Result
}

// measure runs workers until the time is up and sums up what they saw.
func measure(ctx context.Context, cfg Config, workers int, work func(ctx context.Context, s *stage, w int) error) (*Result, error) {
	now := time.Now()
	s := &stage{cfg: cfg, start: now, from: now.Add(cfg.Warmup), until: now.Add(cfg.Warmup + cfg.For)}
	s.result = Result{Errors: map[string]int64{}, Elapsed: cfg.For, Latency: newHistogram(), Lag: newHistogram()}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			if errs[w] = work(ctx, s, w); errs[w] != nil {
				cancel()
			}
		})
	}
	wg.Go(func() { s.meterCPU(ctx) })
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	// With a rate that is not kept, what was due is done later than that.
	s.result.Elapsed = max(cfg.For, time.Since(s.from))
	return &s.result, ctx.Err()
}

// meterCPU reads the processes' CPU time at both ends of the measurement.
func (s *stage) meterCPU(ctx context.Context) {
	if len(s.cfg.PIDs) == 0 || !pause(ctx, time.Until(s.from)) {
		return
	}
	before, err := CPU(s.cfg.PIDs)
	if err != nil || !pause(ctx, time.Until(s.until)) {
		return
	}
	after, err := CPU(s.cfg.PIDs)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.CPU, s.result.Measured = after-before, true
}

// loop calls op one after the other until the time is up: at once, or when it
// is due.
func (s *stage) loop(ctx context.Context, w int, op func(k int) error) error {
	t := newTally()
	defer s.add(t)
	failed := 0
	var until time.Time // it may not come back
	for k := 0; ; k++ {
		begin := time.Now()
		if s.cfg.Rate > 0 {
			due := s.start.Add(time.Duration(float64(k*s.cfg.Concurrency+w) / s.cfg.Rate * float64(time.Second)))
			idle := due.After(begin)
			if !due.Before(s.until) || !pause(ctx, time.Until(due)) {
				return nil
			}
			begin = due
			if idle && !begin.Before(s.from) {
				t.lag.RecordValue(max(time.Since(due).Microseconds(), 1))
			}
		}
		if !begin.Before(s.until) || ctx.Err() != nil {
			return nil
		}
		if s.cfg.Polite && begin.Before(until) {
			if !begin.Before(s.from) {
				t.held++
			}
			continue
		}
		err := op(k)
		after, isRefusal := err.(refused) //nolint:errorlint // op wraps nothing
		if isRefusal {
			until = time.Now().Add(time.Duration(after))
		}
		if err != nil && !isRefusal {
			if failed++; failed == maxErrors {
				return fmt.Errorf("%w, last: %w", errFailing, err)
			}
		} else {
			failed = 0
		}
		if !begin.Before(s.from) {
			t.note(time.Since(begin), err)
		}
	}
}

// tally is one worker's share of the result.
type tally struct {
	ops     int64
	refused int64
	held    int64
	latency *hdrhistogram.Histogram
	lag     *hdrhistogram.Histogram
	errors  map[string]int64
}

func newTally() *tally {
	return &tally{latency: newHistogram(), lag: newHistogram(), errors: map[string]int64{}}
}

func (t *tally) note(took time.Duration, err error) {
	if _, ok := err.(refused); ok { //nolint:errorlint // nobody wraps it
		t.refused++
		return
	}
	if err != nil {
		t.errors[err.Error()]++
		return
	}
	t.ops++
	t.latency.RecordValue(min(max(took.Microseconds(), 1), maxLatency)) // in range, so it cannot fail
}

func (s *stage) add(t *tally) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Ops += t.ops
	s.result.Refused += t.refused
	s.result.Held += t.held
	s.result.Latency.Merge(t.latency)
	s.result.Lag.Merge(t.lag)
	for text, n := range t.errors {
		s.result.Errors[text] += n
	}
}

// maxLatency is the longest latency that is told apart, in microseconds.
const maxLatency = int64(2 * time.Minute / time.Microsecond)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatency, 3) }

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
