package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/cli/load"
	"cairn/httpapi/cli/local"
	"cairn/httpapi/cli/play"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// Limits and defaults of a benchmark.
const (
	maxConcurrency = 10_000
	maxBenchTeams  = 100_000
	benchTeams     = 4096
	// batchWindow is how many lines of a batch are on the wire, and batchStreams
	// the streams per node that they are spread over.
	batchWindow  = 4096
	batchStreams = 2
	// warmup is left out of a measurement, and is a fifth of it at most.
	warmup = 2 * time.Second
)

// benchFlags of the bench commands.
type benchFlags struct {
	lasts       time.Duration
	concurrency []int
	rate        float64
	skew        float64
	batch       bool
	direct      bool
	teams       int
	pids        []int
	nodes       int
}

func (f *benchFlags) validate() error {
	for _, c := range f.concurrency {
		if c < 1 || c > min(maxConcurrency, f.teams) {
			return usagef("--concurrency must be 1 to %d, and at most --teams", maxConcurrency)
		}
	}
	switch {
	case len(f.concurrency) == 0:
		return usagef("--concurrency is empty")
	case f.lasts <= 0:
		return usagef("--for must be positive")
	case f.rate < 0:
		return usagef("--rate must not be negative")
	case f.skew != 0 && f.skew <= 1:
		return usagef("--skew must be above 1, or 0 for none")
	case f.teams > maxBenchTeams:
		return usagef("--teams must be at most %d", maxBenchTeams)
	}
	return nil
}

func (a *app) benchCommand() *cobra.Command {
	return group("bench", "Measure how fast a cluster is", groupTools, a.benchSubmit(), a.benchLoad(), a.benchCluster(), a.benchScale(), a.benchOverload(), a.benchMission(), a.benchNoop())
}

func benchCommon(cmd *cobra.Command, f *benchFlags, concurrency []int) {
	cmd.Flags().DurationVar(&f.lasts, "for", 10*time.Second, "time of each measurement")
	cmd.Flags().IntSliceVarP(&f.concurrency, "concurrency", "c", concurrency, "`N[,N...]` clients at once, one measurement each")
	cmd.Flags().IntVar(&f.teams, "teams", benchTeams, "`N` teams that submit")
}

func (a *app) benchSubmit() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "submit",
		Short: "Load a running cluster with submissions",
		Long: `Load a running cluster with submissions, each a new wrong answer with a new key,
in a hunt of its own that is deleted at the end. Requests are spread over all
--addr, or with --direct go to the node that leads a team's partition. Latencies
of a run with --rate count from when a request was due, so that a pause of the
cluster shows in full. What the cluster refused for want of room is counted apart.`,
		Example: `  cairn bench submit --addr http://10.0.0.1:8080,http://10.0.0.2:8080 -c 1,64,512
  cairn bench submit -c 64 --rate 5000 --for 1m
  cairn bench submit --batch --pids 4711,4712,4713`,
		Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			if err := f.validate(); err != nil {
				return err
			}
			b := &bench{app: a, client: c, flags: f, pids: f.pids}
			defer b.cleanUp(context.WithoutCancel(ctx))
			if err := b.setUp(ctx); err != nil {
				return err
			}
			if err := b.submissions(ctx, f.batch); err != nil {
				return err
			}
			return b.report()
		}),
	}
	benchCommon(cmd, &f, []int{64})
	cmd.Flags().Float64Var(&f.rate, "rate", 0, "open loop: `N` submissions a second in all (default: as fast as answers come)")
	cmd.Flags().Float64Var(&f.skew, "skew", 0, "choose teams by Zipf's law with exponent `S`, such as 1.1 (default: evenly)")
	cmd.Flags().BoolVar(&f.batch, "batch", false, "use the batch endpoint")
	cmd.Flags().BoolVar(&f.direct, "direct", false, "send each submission to the node that leads its team's partition")
	cmd.Flags().IntSliceVar(&f.pids, "pids", nil, "count the CPU time of these processes `PID[,PID...]`")
	return a.online(cmd)
}

func (a *app) benchCluster() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Measure a new cluster on this machine",
		Long: `Start a cluster of child processes on this machine, measure single submissions
at each --concurrency, spread over all nodes and once more each to the node that
leads its team's partition, then the batch endpoint, and, as the yardstick, a server
that decodes the same request, does nothing, and answers the same size. The load
generator is this process: it takes its share of the machine.`,
		Example: "  cairn bench cluster\n  cairn bench cluster --nodes 1 --for 5s -c 64 -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.nodes < 1 || f.nodes > local.MaxNodes {
				return usagef("--nodes must be 1 to %d", local.MaxNodes)
			}
			if err := f.validate(); err != nil {
				return err
			}
			return a.benchLocal(cmd.Context(), f)
		},
	}
	benchCommon(cmd, &f, []int{1, 64, 512})
	cmd.Flags().IntVar(&f.nodes, "nodes", 3, "`N` nodes")
	return cmd
}

// startBench starts a cluster to be measured and waits until it has settled; the
// app's token is then its admin's. One client may send any number of requests: a
// benchmark asks what the cluster can do. The nodes run on some CPUs; nil means all.
// remove ends everything.
func (a *app) startBench(ctx context.Context, prefix string, nodes int, cpus []int, flags ...string) (cl *local.Cluster, c *client.Client, remove func(), err error) {
	flags = append(flags, "--team-rate", "0", "--staff-rate", "0", "--address-rate", "0")
	cl, stop, err := startLocal(ctx, prefix, local.Config{Nodes: nodes, CPUs: cpus, Flags: flags})
	if err != nil {
		return nil, nil, nil, err
	}
	a.token = cl.AdminToken()
	if err = settle(ctx, cl); err == nil {
		c, err = client.New(cl.URLs(), a.token)
	}
	if err != nil {
		stop()
		return nil, nil, nil, err
	}
	return cl, c, func() { c.HTTP.CloseIdleConnections(); stop() }, nil
}

// benchLocal measures a cluster of child processes, and the yardstick.
func (a *app) benchLocal(ctx context.Context, f benchFlags) error {
	fmt.Fprintf(a.Stderr, "Starting %d nodes ...\n", f.nodes)
	cl, c, remove, err := a.startBench(ctx, "cairn-bench-", f.nodes, nil)
	if err != nil {
		return err
	}
	defer remove()
	noop, pid, err := cl.Helper(ctx, "noop", "bench", "noop")
	if err != nil {
		return err
	}
	b := &bench{app: a, client: c, flags: f, pids: cl.PIDs()}
	if err := b.setUp(ctx); err != nil {
		return err
	}
	if err := b.submissions(ctx, false); err != nil {
		return err
	}
	if err := b.singles(ctx, "to leaders", true); err != nil {
		return err
	}
	if err := b.submissions(ctx, true); err != nil {
		return err
	}
	b.client, b.pids = &client.Client{Addrs: []string{noop.HTTP}}, []int{pid}
	if err := b.singles(ctx, "no-op server", false); err != nil {
		return err
	}
	return b.report()
}

// bench is a benchmark under way.
type bench struct {
	app    *app
	client *client.Client
	flags  benchFlags
	pids   []int
	hunt   fsm.HuntID
	teams  []play.Team
	rows   []benchRow
}

// benchRow is one measurement, as -o json shows it.
type benchRow struct {
	What        string           `json:"what"`
	Concurrency int              `json:"concurrency"`
	PerSecond   float64          `json:"per_second"`
	P50         float64          `json:"p50_ms"`
	P99         float64          `json:"p99_ms"`
	P999        float64          `json:"p999_ms"`
	CPU         *float64         `json:"cpu_ms_per_1000,omitempty"`
	Refused     int64            `json:"refused"` // because there was too much to do
	Errors      map[string]int64 `json:"errors"`
}

// setUp makes a hunt of its own with its teams.
func (b *bench) setUp(ctx context.Context) (err error) {
	b.hunt = fsm.HuntID("bench-" + strconv.FormatUint(rand.Uint64(), 36))
	fmt.Fprintf(b.app.Stderr, "Registering %d teams ...\n", b.flags.teams)
	b.teams, err = benchHunt(ctx, b.client, b.hunt, b.flags.teams)
	return err
}

// cleanUp deletes the benchmark's hunt from a cluster that lives on.
func (b *bench) cleanUp(ctx context.Context) {
	if b.hunt == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	if err := b.client.DeleteHunt(ctx, b.hunt); err != nil {
		fmt.Fprintf(b.app.Stderr, "cairn: delete hunt %s: %v\n", b.hunt, err)
	}
}

func (b *bench) submissions(ctx context.Context, batch bool) error {
	if !batch {
		return b.singles(ctx, "submission", b.flags.direct)
	}
	streams := batchStreams * len(b.client.Addrs)
	return b.measure(ctx, "batch line", min(batchWindow, len(b.teams)), nil, func(ctx context.Context, cfg load.Config) (*load.Result, error) {
		cfg.Streams = streams
		return load.Batch(ctx, cfg)
	})
}

func (b *bench) singles(ctx context.Context, what string, direct bool) error {
	var leader func(fsm.TeamID) string
	if direct {
		var err error
		if leader, err = b.leaders(ctx); err != nil {
			return err
		}
	}
	for _, c := range b.flags.concurrency {
		if err := b.measure(ctx, what, c, leader, load.Single); err != nil {
			return err
		}
	}
	return nil
}

// leaders returns where a team's submissions go to find its leader, as of now.
func (b *bench) leaders(ctx context.Context) (func(fsm.TeamID) string, error) {
	leader, err := leadersOf(ctx, b.client)
	if err != nil {
		return nil, err
	}
	return func(team fsm.TeamID) string { return leader(b.hunt, team) }, nil
}

func (b *bench) measure(ctx context.Context, what string, concurrency int, leader func(fsm.TeamID) string,
	run func(context.Context, load.Config) (*load.Result, error),
) error {
	fmt.Fprintf(b.app.Stderr, "Measuring: %s, %d at once, %v ...\n", what, concurrency, b.flags.lasts)
	r, err := run(ctx, load.Config{
		Addrs: b.client.Addrs, Leader: leader, Hunt: b.hunt, Clue: benchClue, Teams: b.teams, Token: b.app.token,
		Concurrency: concurrency, Rate: b.flags.rate, Skew: b.flags.skew, PIDs: b.pids,
		Warmup: min(warmup, b.flags.lasts/5), For: b.flags.lasts,
		Run: strconv.Itoa(len(b.rows)),
	})
	if ctx.Err() != nil {
		return errors.New("stopped before it was measured")
	}
	if err != nil {
		return fmt.Errorf("%s, %d at once: %w", what, concurrency, err)
	}
	ms := func(q float64) float64 { return float64(r.Latency.ValueAtQuantile(q)) / 1e3 }
	row := benchRow{
		What: what, Concurrency: concurrency, PerSecond: r.PerSecond(),
		P50: ms(50), P99: ms(99), P999: ms(99.9), Refused: r.Refused, Errors: r.Errors,
	}
	if r.Measured {
		cpu := float64(r.CPUPerThousand().Microseconds()) / 1e3
		row.CPU = &cpu
	}
	b.rows = append(b.rows, row)
	return nil
}

// report prints the table. Errors fail the benchmark: its figures are then not
// what they seem.
func (b *bench) report() error {
	failed := int64(0)
	body := map[string]any{"measurements": b.rows}
	err := b.app.emit(answer{body, func(p *page) {
		t := newTable("WHAT", ">AT ONCE", ">PER SECOND", ">P50", ">P99", ">P99.9", ">CPU/1,000", ">REFUSED", ">ERRORS")
		for _, r := range b.rows {
			cpu := "-"
			if r.CPU != nil {
				cpu = fmt.Sprintf("%.1f ms", *r.CPU)
			}
			t.add(r.What, thousands(r.Concurrency), thousands(int(r.PerSecond)), millis(r.P50), millis(r.P99), millis(r.P999), cpu, thousands(int(r.Refused)), thousands(int(sum(r.Errors))))
		}
		p.table(t)
	}})
	for _, r := range b.rows {
		for _, text := range slices.Sorted(maps.Keys(r.Errors)) {
			fmt.Fprintf(b.app.Stderr, "%s, %d at once: %d times: %s\n", r.What, r.Concurrency, r.Errors[text], printable(text))
		}
		failed += sum(r.Errors)
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d requests failed", failed)
	}
	return err
}

func sum(m map[string]int64) int64 {
	n := int64(0)
	for _, v := range m {
		n += v
	}
	return n
}

func millis(ms float64) string { return micros(int64(ms * 1e3)) }

// benchNoop is the yardstick: a server that does what any JSON API must, and
// nothing else.
func (a *app) benchNoop() *cobra.Command {
	var ready string
	cmd := &cobra.Command{
		Use:    "noop",
		Short:  "Serve the yardstick of \"bench cluster\"",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			srv := &http.Server{Handler: http.HandlerFunc(noop), ReadHeaderTimeout: 5 * time.Second}
			context.AfterFunc(cmd.Context(), func() { srv.Close() })
			if err := local.WriteReady(ready, local.Ready{HTTP: "http://" + ln.Addr().String()}); err != nil {
				return err
			}
			if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&ready, "ready-file", "", "write the bound address to this `FILE`")
	cmd.MarkFlagRequired("ready-file") // cannot fail: the flag was just declared
	return cmd
}

func noop(w http.ResponseWriter, r *http.Request) {
	var in rest.NewSubmission
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(rest.Submission{ // a client that has gone is not our concern
		Submission: "1", Key: strings.Trim(r.Header.Get("Idempotency-Key"), `"`), Verdict: "incorrect", Clue: in.Clue, Unlocked: []fsm.ClueID{},
	})
}
