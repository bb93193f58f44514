package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"cairn/httpapi/cli/load"
	"cairn/httpapi/cli/local"
)

// Defaults of "bench overload".
const (
	// overloadSpan of an offer is how many clients make it: more are not under way
	// as long as they are answered within that. overloadClients bound them.
	overloadSpan    = time.Second / 2
	overloadClients = 8192
	// capacityClients find out how much a cluster can do.
	capacityClients = 512
)

var overloadTimes = []string{"0.5", "0.8", "1", "1.5", "3"}

// overloadRow is what was made of one offer.
type overloadRow struct {
	Times    float64 `json:"times_capacity"`
	Offered  float64 `json:"offered_per_second"`
	Accepted float64 `json:"accepted_per_second"`
	Refused  float64 `json:"refused_per_second"`
	Held     float64 `json:"held_back_per_second"` // by clients that were told to wait
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	P999     float64 `json:"p999_ms"`
	Lag      float64 `json:"generator_p99_ms"` // how late the generator was
	CPU      float64 `json:"cpu_cores"`        // of all nodes
	RSS      float64 `json:"rss_mb_per_node"`
	Errors   int64   `json:"errors"`
}

func (a *app) benchOverload() *cobra.Command {
	var p overloadPlan
	var times []string
	cmd := &cobra.Command{
		Use:   "overload",
		Short: "Offer a new cluster more than it can do",
		Long: `Start a cluster of child processes on this machine, find out how many submissions
a second it can do, and then offer it parts and multiples of that, whatever it
answers (an open loop). Latencies are those of accepted submissions, from when
they were due. The nodes get half of the machine's cores and the load generator the
other, or what --cores says: on shared ones the offer itself takes away what the
nodes can do. A client that is refused sends nothing until it may come back, as its
answer tells; --impatient ones go on sending. --baseline measures the same with a
cluster that refuses nobody.`,
		Example: "  cairn bench overload\n  cairn bench overload --nodes 21 --times 1,3 --skew 1.1 -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.nodes < 1 || p.nodes > local.MaxNodes || p.lasts <= 0 || p.skew != 0 && p.skew <= 1 {
				return usagef("--nodes must be 1 to %d, --for positive, --skew 0 or above 1", local.MaxNodes)
			}
			for _, text := range times {
				x, err := strconv.ParseFloat(text, 64)
				if err != nil || x <= 0 {
					return usagef("--times: %q is no multiple of the capacity", text)
				}
				p.offers = append(p.offers, x)
			}
			rows, err := a.overload(cmd.Context(), p)
			if err != nil {
				return err
			}
			return a.emit(answer{map[string]any{"offers": rows}, func(p *page) { p.table(overloadTable(rows)) }})
		},
	}
	cmd.Flags().IntVar(&p.nodes, "nodes", 3, "`N` nodes")
	cmd.Flags().IntVar(&p.cores, "cores", halfOfThem, "`N` cores for the nodes, the others for the generator; 0: all for both (default: half)")
	cmd.Flags().StringSliceVar(&times, "times", overloadTimes, "offers, as multiples `X[,X...]` of what the cluster can do")
	cmd.Flags().DurationVar(&p.lasts, "for", 10*time.Second, "time of each measurement")
	cmd.Flags().BoolVar(&p.impatient, "impatient", false, "have clients that were refused go on sending")
	cmd.Flags().BoolVar(&p.baseline, "baseline", false, "have the cluster refuse nobody for want of room, to compare")
	cmd.Flags().Float64Var(&p.skew, "skew", 0, "choose teams by Zipf's law with exponent `S` (default: evenly)")
	return cmd
}

// overloadPlan is what is measured.
type overloadPlan struct {
	nodes    int
	cores    int // for the nodes; 0: all for everybody
	offers   []float64
	lasts    time.Duration
	skew     float64
	baseline bool
	// impatient clients do not wait when they were refused.
	impatient bool
}

// halfOfThem is the default of --cores.
const halfOfThem = -1

// divide keeps this process off the cores of the nodes, and returns theirs: nil for
// all.
func (p overloadPlan) divide() ([]int, error) {
	if p.cores == 0 {
		return nil, nil
	}
	all, err := local.CPUs()
	if err != nil && p.cores == halfOfThem {
		return nil, nil // a default refuses nothing
	}
	if err != nil {
		return nil, err
	}
	nodes, own, err := p.share(all)
	if nodes == nil {
		return nil, err
	}
	return nodes, local.Pin(own)
}

// share divides the CPUs between the nodes and the load generator: nil if both are
// to use all. Each gets one at least.
func (p overloadPlan) share(all []int) (nodes, own []int, err error) {
	n := p.cores
	if n == halfOfThem {
		n = len(all) / 2
	}
	if n < 0 || n >= max(len(all), 1) {
		return nil, nil, usagef("--cores must be 0 to %d on this machine, which has %d", max(len(all)-1, 0), len(all))
	}
	if n == 0 {
		return nil, nil, nil
	}
	return all[:n], all[n:], nil
}

// overload measures the capacity, and what becomes of each offer.
func (a *app) overload(ctx context.Context, p overloadPlan) ([]overloadRow, error) {
	cpus, err := p.divide()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(a.Stderr, "Starting %d nodes ...\n", p.nodes)
	if cpus != nil {
		fmt.Fprintf(a.Stderr, "They run on CPUs %v, the load generator on the others.\n", cpus)
	}
	var flags []string
	if p.baseline {
		flags = append(flags, admitAllFlag)
	}
	cl, c, remove, err := a.startBench(ctx, "cairn-overload-", p.nodes, cpus, flags...)
	if err != nil {
		return nil, err
	}
	defer remove()
	b := &bench{app: a, client: c, flags: benchFlags{teams: overloadClients}, pids: cl.PIDs()}
	if err := b.setUp(ctx); err != nil {
		return nil, err
	}
	fmt.Fprintln(a.Stderr, "Measuring what it can do ...")
	conf := load.Config{
		Addrs: cl.URLs(), Hunt: b.hunt, Clue: benchClue, Teams: b.teams, Concurrency: capacityClients, Skew: p.skew, Polite: !p.impatient,
		Warmup: warmup, For: p.lasts, PIDs: b.pids, Run: "capacity",
	}
	r, err := load.Single(ctx, conf)
	if err != nil {
		return nil, err
	}
	capacity := r.PerSecond()
	fmt.Fprintf(a.Stderr, "It can do %s a second.\n", thousands(int(capacity)))
	var rows []overloadRow
	for _, times := range p.offers {
		conf.Concurrency = min(max(int(times*capacity*overloadSpan.Seconds()), capacityClients), overloadClients)
		conf.Rate, conf.Run = times*capacity, fmt.Sprint("offer-", len(rows))
		fmt.Fprintf(a.Stderr, "Offering %s a second for %v ...\n", thousands(int(conf.Rate)), p.lasts)
		var r *load.Result
		did, err := span(ctx, cl.URLs(), b.pids, func() (err error) { r, err = load.Single(ctx, conf); return err })
		if err != nil {
			return nil, err
		}
		ms := func(q float64) float64 { return float64(r.Latency.ValueAtQuantile(q)) / 1e3 }
		rows = append(rows, overloadRow{
			Times: times, Offered: conf.Rate, Accepted: r.PerSecond(), Refused: float64(r.Refused) / r.Elapsed.Seconds(), Held: float64(r.Held) / r.Elapsed.Seconds(),
			P50: ms(50), P99: ms(99), P999: ms(99.9), Lag: float64(r.Lag.ValueAtQuantile(99)) / 1e3, CPU: did.cpu.Seconds() / did.took.Seconds(), RSS: did.rss / float64(p.nodes) / (1 << 20), Errors: sum(r.Errors),
		})
	}
	return rows, nil
}

func overloadTable(rows []overloadRow) *table {
	t := newTable(">TIMES CAPACITY", ">OFFERED/S", ">ACCEPTED/S", ">REFUSED/S", ">HELD BACK/S", ">P50", ">P99", ">P99.9", ">GEN P99", ">CORES", ">RSS MB", ">ERRORS")
	for _, r := range rows {
		t.add(strconv.FormatFloat(r.Times, 'g', 3, 64), thousands(int(r.Offered)), thousands(int(r.Accepted)), thousands(int(r.Refused)), thousands(int(r.Held)),
			millis(r.P50), millis(r.P99), millis(r.P999), millis(r.Lag), strconv.FormatFloat(r.CPU, 'f', 2, 64), strconv.FormatFloat(r.RSS, 'f', 0, 64), thousands(int(r.Errors)))
	}
	return t
}
