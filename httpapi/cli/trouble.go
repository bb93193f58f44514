package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"cairn/httpapi/cli/load"
)

const (
	// quietShare is what part of their capacity a cluster's players ask for when
	// they are disturbed.
	quietShare = 0.2
	// hammers is how many connections a hot team uses at once, and hammerAll how many
	// submissions it makes in all: a team may not make 10,000.
	hammers   = 64
	hammerAll = 6000
	// crowdTimes is what another hunt asks for, as a multiple of theirs.
	crowdTimes = 9
	// A slow node is stopped for slowStop of each slowCycle.
	slowStop  = 60 * time.Millisecond
	slowCycle = 100 * time.Millisecond
	// soakEvery is how often memory is looked at.
	soakEvery = 5 * time.Second
)

// troubleRow is what the others notice of a trouble.
type troubleRow struct {
	Trouble string  `json:"trouble"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Before  float64 `json:"p99_before_ms"` // in the same time without it, just before
	Refused int64   `json:"refused"`
	Errors  int64   `json:"errors"`
	Done    int64   `json:"done"`
	Theirs  float64 `json:"trouble_per_second"` // what who makes it gets
}

// trouble disturbs quiet players in one way after the other.
func (m *deployment) trouble(ctx context.Context, r *missionReport) error {
	rate := quietShare * r.Capacity[m.strategy.Name]
	victim := m.cluster.Nodes() - 1
	quiet, err := m.config(ctx, rate, missionMany)
	if err != nil {
		return err
	}
	quiet.Skew = 0
	quiet.Addrs = quiet.Addrs[:victim] // the clients of a node that is gone go elsewhere
	hammer := quiet
	hammer.Rate, hammer.Concurrency, hammer.Run = hammerAll/m.plan.lasts.Seconds(), hammers, "hammer"
	hammer.Hunts = []load.Hunt{{ID: quiet.Hunts[0].ID, Teams: slices.Repeat(quiet.Hunts[0].Teams[:1], hammers)}}
	crowd, err := m.config(ctx, crowdTimes*rate, missionMany)
	if err != nil {
		return err
	}
	for _, t := range []struct {
		name string
		make func(during context.Context) (float64, error) // for as long as quiet's load, or until during ends
	}{
		{"a team that hammers", func(context.Context) (float64, error) { return perSecond(load.Single(ctx, hammer)) }},
		{"a hunt with 9 times their traffic", func(context.Context) (float64, error) { return perSecond(load.Single(ctx, crowd)) }},
		{"a slow node", func(ctx context.Context) (float64, error) { return 0, m.slowNode(ctx, victim) }},
		{"a dead node", func(context.Context) (float64, error) { m.cluster.Kill(victim); return 0, nil }},
	} {
		fmt.Fprintf(m.app.Stderr, "%s submissions a second beside %s ...\n", thousands(int(rate)), t.name)
		row, err := m.disturb(ctx, quiet, t.make)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		row.Trouble = t.name
		r.Troubles = append(r.Troubles, row)
	}
	return m.cluster.Restart(ctx, victim)
}

// disturb measures quiet players first alone, then beside a trouble.
func (m *deployment) disturb(ctx context.Context, quiet load.Config, trouble func(context.Context) (float64, error)) (troubleRow, error) {
	m.runs++
	quiet.Run = fmt.Sprint("before-", m.runs)
	before, err := load.Single(ctx, quiet)
	if err != nil {
		return troubleRow{}, err
	}
	quiet.Run = fmt.Sprint("beside-", m.runs)
	during, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	var theirs float64
	var failed error
	all.Go(func() { theirs, failed = trouble(during) })
	r, err := load.Single(ctx, quiet)
	stop()
	all.Wait()
	if err := errors.Join(err, failed); err != nil {
		return troubleRow{}, err
	}
	p99 := func(r *load.Result) float64 { return float64(r.Latency.ValueAtQuantile(99)) / 1e3 }
	return troubleRow{
		P50: float64(r.Latency.ValueAtQuantile(50)) / 1e3, P99: p99(r), Before: p99(before),
		Refused: r.Refused, Errors: sum(r.Errors), Done: r.Ops, Theirs: theirs,
	}, nil
}

func perSecond(r *load.Result, err error) (float64, error) {
	if err != nil {
		return 0, err
	}
	return r.PerSecond(), nil
}

// slowNode stops a node's process for most of the time until ctx ends.
func (m *deployment) slowNode(ctx context.Context, i int) error {
	pid := m.pids[i]
	for ctx.Err() == nil {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return err
		}
		time.Sleep(slowStop) // not sleep: it must go on, whatever ends
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			return err
		}
		_ = sleep(ctx, slowCycle-slowStop) // its end is the loop's
	}
	return nil
}

func troubleTable(rows []troubleRow) *table {
	t := newTable("TROUBLE", ">ITS RATE/S", ">OTHERS' P50", ">P99", ">P99 BEFORE", ">TIMES", ">DONE", ">REFUSED", ">ERRORS")
	for _, r := range rows {
		t.add(r.Trouble, thousands(int(r.Theirs)), millis(r.P50), millis(r.P99), millis(r.Before), strconv.FormatFloat(r.P99/max(r.Before, 1e-3), 'f', 2, 64),
			thousands(int(r.Done)), thousands(int(r.Refused)), thousands(int(r.Errors)))
	}
	return t
}

// soakRow is what became of memory under a steady load.
type soakRow struct {
	Minutes  float64   `json:"minutes"`
	Rate     float64   `json:"offered_per_second"`
	Done     int64     `json:"done"`
	Refused  int64     `json:"refused"`
	Errors   int64     `json:"errors"`
	P99      float64   `json:"p99_ms"`
	RSS      []float64 `json:"rss_mb_per_node"` // every soakEvery
	Slope    float64   `json:"rss_slope_mb_per_node_and_minute"`
	SlopeErr float64   `json:"rss_slope_standard_error"`
}

// soak gives the cluster part of what it can do for a long time, and watches its
// memory. The slope is of the second half: the first fills caches and logs.
func (m *deployment) soak(ctx context.Context, r *missionReport) error {
	rate := missionShare * r.Capacity[m.strategy.Name]
	fmt.Fprintf(m.app.Stderr, "Soaking with %s a second for %v ...\n", thousands(int(rate)), m.plan.soak)
	conf, err := m.config(ctx, rate, missionMany)
	if err != nil {
		return err
	}
	conf.For, conf.Skew = m.plan.soak, 0
	during, stop := context.WithCancel(ctx)
	defer stop()
	row := &soakRow{Minutes: m.plan.soak.Minutes(), Rate: rate}
	var all sync.WaitGroup
	all.Go(func() {
		for sleep(during, soakEvery) == nil {
			if now, err := scrape(during, m.cluster.URLs()); err == nil {
				row.RSS = append(row.RSS, now["process_resident_memory_bytes"]/float64(m.plan.nodes)/(1<<20))
			}
		}
	})
	res, err := load.Single(ctx, conf)
	stop()
	all.Wait()
	if err != nil {
		return err
	}
	row.Done, row.Refused, row.Errors, row.P99 = res.Ops, res.Refused, sum(res.Errors), float64(res.Latency.ValueAtQuantile(99))/1e3
	row.Slope, row.SlopeErr = slope(row.RSS[len(row.RSS)/2:], soakEvery.Minutes())
	r.Soak = row
	return nil
}

// slope is the least-squares slope of values at a distance, and its standard error.
func slope(values []float64, distance float64) (slope, stderr float64) {
	n := float64(len(values))
	if n < 3 {
		return 0, 0
	}
	var sx, sy, sxx, sxy float64
	for i, y := range values {
		x := float64(i) * distance
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	d := n*sxx - sx*sx
	slope = (n*sxy - sx*sy) / d
	rest := 0.0
	for i, y := range values {
		e := y - sy/n - slope*(float64(i)*distance-sx/n)
		rest += e * e
	}
	return slope, math.Sqrt(rest / (n - 2) * n / d)
}

func soakTable(r *soakRow) *table {
	t := newTable(">SOAK MIN", ">OFFERED/S", ">DONE", ">P99", ">REFUSED", ">ERRORS", ">RSS MB FIRST", ">MIDDLE", ">LAST", ">SLOPE MB/MIN", ">ERROR OF SLOPE")
	at := func(i int) string {
		if len(r.RSS) == 0 {
			return "-"
		}
		return strconv.FormatFloat(r.RSS[i], 'f', 1, 64)
	}
	t.add(strconv.FormatFloat(r.Minutes, 'f', 1, 64), thousands(int(r.Rate)), thousands(int(r.Done)), millis(r.P99), thousands(int(r.Refused)), thousands(int(r.Errors)),
		at(0), at(len(r.RSS)/2), at(max(len(r.RSS)-1, 0)), strconv.FormatFloat(r.Slope, 'f', 3, 64), strconv.FormatFloat(r.SlopeErr, 'f', 3, 64))
	return t
}
