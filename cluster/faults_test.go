package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cairn/cluster/faulttest"
)

// The fault suite in virtual time: the workload and the checkers of package faulttest
// over whole nodes in a bubble. Safety first; then everything is healed, and liveness is
// demanded. The seed decides what is done when; what the cluster makes of it is up to
// the scheduler, so a seed that failed may need several runs to fail again.
//
//	go test ./cluster -run TestFaultSeeds                     25 s of seeds
//	TIME=1h go test ./cluster -run TestFaultSeeds -timeout 2h  more of them, with a table
//	NEMESIS=power,partition ...                                these kinds only
//	QUIET=1 ...                                                hours with few faults
//	CAIRN_SEED=7 ... -v                                        one seed, with the nodes' logs

// faultSize is what a seed makes of a run.
type faultSize struct {
	seed                    uint64
	nodes, most, partitions int
	kinds                   []string
	play                    faulttest.Workload
	calm                    time.Duration // between two harms of a kind, at most
	look                    time.Duration // between two looks at the nodes
	reassign                time.Duration // a node that is down is replaced after that
	quiet                   bool
}

// sizeOf draws the size of a run. only are the kinds of harm to draw from.
func sizeOf(seed uint64, only []string, quiet bool) faultSize {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := faultSize{seed: seed, nodes: 3 + 2*rng.IntN(2), partitions: 2 + rng.IntN(3), calm: 10 * time.Second, look: 200 * time.Millisecond, quiet: quiet}
	s.reassign = []time.Duration{5 * time.Second, DefaultReassignAfter}[rng.IntN(2)]
	s.play = faulttest.Workload{
		Seed: seed, Clients: 6, PerTeam: 2, Rounds: 2, Round: 20 * time.Second,
		Pause: 500 * time.Millisecond, Timeout: 8 * time.Second, Editors: 1,
	}
	if quiet {
		s.nodes, s.partitions, s.calm, s.look = 3, 2, 10*time.Minute, 10*time.Second
		s.play.Rounds, s.play.Round, s.play.Pause, s.play.Editors = 3, 20*time.Minute, 30*time.Second, 0
		s.play.First, s.play.Clients = 1, 7 // without client 0 nobody looks at tables twice a second
	}
	s.most = s.nodes
	kinds := slices.Clone(only)
	rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	switch n := rng.IntN(4); {
	case n < 2:
		s.kinds = kinds[:1]
	case n == 2:
		s.kinds = kinds[:min(2, len(kinds))]
	default:
		s.kinds = kinds
		s.calm *= time.Duration(len(kinds)) / 2 // all at once, and a majority lives now and then
	}
	slices.Sort(s.kinds)
	if slices.Contains(s.kinds, "members") {
		s.most += 2
	}
	return s
}

// label names the kinds of harm of a run, for the table.
func (s faultSize) label() string {
	if len(s.kinds) > 2 {
		return "several at once"
	}
	return strings.Join(s.kinds, " + ")
}

// faultResult is what came of a run.
type faultResult struct {
	faulttest.Summary
	virtual   time.Duration
	elections int64
	findings  []string
}

// runFaults plays one seed in a bubble.
func runFaults(t *testing.T, s faultSize) (res faultResult) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(s.seed, 2))
		w := newFaultWorld(t, s.nodes, s.partitions, s.play.Teams(), s.reassign, rng)
		defer w.close()
		w.look = s.look
		w.reserve(s.most)
		if s.quiet {
			w.stretch = 20
		}
		res = w.play(s)
	})
	return res
}

// play is a run: the workload and the harm at once, then healing, then the audit.
func (w *faultWorld) play(s faultSize) (res faultResult) {
	begin := time.Now()
	w.elect.Store(0)
	w.log = faulttest.NewLog(begin, nil)
	ctx, stop := context.WithCancel(w.t.Context())
	defer stop()
	var observers, playing, harm sync.WaitGroup
	observers.Go(func() { w.observe(ctx) })
	playing.Go(func() { s.play.Run(ctx, w, w.log, s.play.Clients) })
	harmed, calm := context.WithTimeout(ctx, s.play.For()*9/10)
	defer calm()
	for i, kind := range s.kinds {
		rng := rand.New(rand.NewPCG(s.seed, uint64(10+i)))
		harm.Go(func() { w.harm(harmed, rng, nemeses[kind], s.calm) })
	}
	harm.Wait()
	w.heal()
	playing.Wait()
	audit, end := context.WithTimeout(ctx, 2*time.Minute)
	defer end()
	s.play.Audit(audit, w, w.log, w.running())
	stop()
	observers.Wait()
	ops, _ := w.log.Ops()
	res = faultResult{Summary: faulttest.Summarize(ops), virtual: time.Since(begin), elections: w.elect.Load()}
	res.findings = faulttest.Findings(faulttest.Check(ops, ""))
	for _, f := range res.findings {
		w.t.Error(f)
	}
	if missing := s.floors().Missing(res.Summary); len(missing) > 0 && !w.t.Failed() {
		w.t.Errorf("this run proves too little: %v", missing)
	}
	if w.t.Failed() {
		w.t.Logf("the history is in %s", keepHistory(w.t, s.seed, ops))
	}
	return res
}

// floors are what a run must have had to prove anything: little, because a majority may
// have been dead most of the time.
func (s faultSize) floors() faulttest.Floors {
	return faulttest.Floors{Acked: 5 * s.play.Rounds}
}

// keepHistory writes a history where it stays.
func keepHistory(t *testing.T, seed uint64, ops []faulttest.Op) string {
	f, err := os.CreateTemp("", fmt.Sprintf("cairn-fault-%d-*.ndjson", seed))
	if err != nil {
		t.Error(err)
		return ""
	}
	defer f.Close()
	enc := json.NewEncoder(f)
	for _, op := range ops {
		if err := enc.Encode(op); err != nil {
			t.Error(err)
		}
	}
	return f.Name()
}

// harm does one thing after another until ctx ends.
func (w *faultWorld) harm(ctx context.Context, rng *rand.Rand, from []nemesis, calm time.Duration) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(span(rng, calm/20, calm)):
		}
		if ctx.Err() != nil || w.t.Failed() {
			return
		}
		n := from[rng.IntN(len(from))]
		since := w.log.Now()
		if did := n.do(w, rng); did != "" {
			w.log.Add(faulttest.Op{Kind: faulttest.Fault, Text: n.name + ": " + did, Call: since, Return: w.log.Now()})
		}
		w.farewells()
	}
}

// healTime bounds how long a cluster may take to be whole after the last fault.
const healTime = 3 * time.Minute

// heal ends all harm and waits until everything is whole.
func (w *faultWorld) heal() {
	w.net.repair()
	for i, sn := range w.nodes {
		sn.disk.Slow(0)
		sn.skew.Store(0)
		w.revive(i)
	}
	for begin := time.Now(); time.Since(begin) < healTime; time.Sleep(500 * time.Millisecond) {
		w.farewells()
		for i := range w.nodes {
			w.revive(i)
		}
		if len(w.running()) > 0 && w.isWhole() {
			return
		}
	}
	if len(w.running()) > 0 {
		if v := w.view(); v != nil {
			w.t.Logf("at the end: %+v", *v)
		}
	}
	w.t.Errorf("liveness: %v after the last fault the cluster is not whole", healTime)
}

// faultRow is a row of the table of a long run.
type faultRow struct {
	runs, failed int
	faultResult
}

func (r *faultRow) add(res faultResult, failed bool) {
	r.runs++
	if failed {
		r.failed++
	}
	r.virtual += res.virtual
	r.elections += res.elections
	r.Ops += res.Ops
	r.Acked += res.Acked
	r.Unknown += res.Unknown
	r.None += res.None
	r.Faults += res.Faults
	r.Under += res.Under
	r.Replayed += res.Replayed
}

// TestFaultSeeds plays seeds for as long as there is time.
func TestFaultSeeds(t *testing.T) {
	limit, seed, single := 25*time.Second, rand.Uint64()>>32, false
	if os.Getenv("CAIRN_LONG") == "1" {
		limit = 10 * time.Minute
	}
	if s := os.Getenv("TIME"); s != "" {
		limit = duration(t, s)
	}
	if s := os.Getenv("CAIRN_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed, single = n, true
	}
	kinds := sortedKeys(nemeses)
	if s := os.Getenv("NEMESIS"); s != "" {
		kinds = strings.Split(s, ",")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // a run is short and leaves little
	rows := map[string]*faultRow{}
	for begin := time.Now(); time.Since(begin) < limit && !t.Failed(); seed++ {
		size := sizeOf(seed, kinds, os.Getenv("QUIET") == "1")
		fmt.Printf("CAIRN_SEED=%d %d nodes, %d partitions, %v\n", seed, size.nodes, size.partitions, size.kinds)
		var res faultResult
		ok := t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { res = runFaults(t, size) })
		for _, name := range []string{size.label(), "all"} {
			if rows[name] == nil {
				rows[name] = &faultRow{}
			}
			rows[name].add(res, !ok)
		}
		if single {
			break
		}
	}
	fmt.Print(faultTable(rows))
}

func duration(t *testing.T, s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func sortedKeys[V any](m map[string]V) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// faultTable is what a long run shows.
func faultTable(rows map[string]*faultRow) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-24s %6s %9s %8s %9s %8s %8s %9s %10s %8s %6s\n", "nemesis", "seeds", "virtual h", "ops",
		"acked", "under", "unknown", "none", "elections", "faults", "failed")
	for _, name := range sortedKeys(rows) {
		r := rows[name]
		fmt.Fprintf(&b, "%-24s %6d %9.2f %8d %9d %8d %8d %9d %10d %8d %6d\n", name, r.runs, r.virtual.Hours(), r.Ops,
			r.Acked, r.Under, r.Unknown, r.None, r.elections, r.Faults, r.failed)
	}
	return b.String()
}
