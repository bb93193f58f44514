package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/cli/load"
	"cairn/httpapi/client"
)

// Defaults of "bench scale".
const (
	scalePartitions = 64
	// scaleRate is what two cores carry at about half their time with three nodes.
	scaleRate = 800
	// scaleClients are enough for the rate at a latency of 150 ms.
	scaleClients = 128
	scaleTeams   = 2048
	// scaleIdle is how long a cluster at rest is watched.
	scaleIdle = 10 * time.Second
	// scaleWarm is for how long the load lasts before it is measured: nodes make
	// the connections between them when they first need them.
	scaleWarm = 5 * time.Second
)

var scaleNodes = []int{3, 9, 15, 21, 31}

// scaleRow is what one size of cluster showed.
type scaleRow struct {
	Nodes       int     `json:"nodes"`
	Naive       bool    `json:"naive,omitempty"` // one group of which every node is a voter
	PerSecond   float64 `json:"per_second"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	Errors      int64   `json:"errors"`
	Batch       float64 `json:"batch"`                     // submissions in an entry, on average
	Messages    float64 `json:"messages_per_submission"`   // between nodes, net of idle
	Bytes       float64 `json:"bytes_per_submission"`      // likewise
	Syncs       float64 `json:"syncs_per_submission"`      // of all nodes' logs
	SyncMS      float64 `json:"sync_ms"`                   // how long one took
	Wait        float64 `json:"wait_ms_per_submission"`    // of all nodes' threads, for a core
	CPU         float64 `json:"cpu_ms_per_1000"`           // of all nodes
	NetCPU      float64 `json:"net_cpu_ms_per_1000"`       // net of idle
	IdleCPU     float64 `json:"idle_cpu_percent_per_node"` // of a core
	IdleMessage float64 `json:"idle_messages_per_second_per_node"`
	RSS         float64 `json:"rss_mb_per_node"`
	Leaders     float64 `json:"leader_changes"` // meanwhile
}

func (a *app) benchScale() *cobra.Command {
	var nodes []int
	var rate float64
	var lasts time.Duration
	var partitions int
	var plot string
	var baseline, direct bool
	cmd := &cobra.Command{
		Use:   "scale",
		Short: "Measure clusters of growing size under the same load",
		Long: `Start clusters of growing size on this machine, one after the other, put the same
fixed load on each, and show what a submission costs: what does not grow with the
number of nodes is the point. Costs are net of what the cluster does at rest,
which is shown beside them; the first seconds of the load, when nodes make their
connections to each other, are left out. All nodes share this machine's cores and
disk, so latencies grow with the number of processes that want them: SYNC TIME is
how long one write to a log took, CORE WAIT how long the nodes' threads together
waited for a core, a submission.

With --baseline each size is measured once more the naive way: one group of which
every node is a voter, so that every event goes to every node. With --direct
clients know the leaders, and no submission takes a hop between nodes first.`,
		Example: "  cairn bench scale\n  cairn bench scale --nodes 3,9 --rate 400 --for 5s --plot scale.svg",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rate <= 0 || lasts <= 0 || len(nodes) == 0 {
				return usagef("--rate and --for must be positive, and --nodes must name a size")
			}
			var rows []scaleRow
			for _, naive := range shapes(baseline) {
				for _, n := range nodes {
					row, err := a.scaleOne(cmd.Context(), shape{n, partitions, naive, direct}, rate, lasts)
					if err != nil {
						return fmt.Errorf("%d nodes: %w", n, err)
					}
					rows = append(rows, row)
				}
			}
			if plot != "" {
				if err := os.WriteFile(plot, []byte(scalePlot(rows)), 0o644); err != nil {
					return err
				}
			}
			return a.emit(answer{map[string]any{"sizes": rows}, func(p *page) { p.table(scaleTable(rows)) }})
		},
	}
	cmd.Flags().IntSliceVar(&nodes, "nodes", scaleNodes, "sizes: `N[,N...]` nodes")
	cmd.Flags().Float64Var(&rate, "rate", scaleRate, "`N` submissions a second in all")
	cmd.Flags().DurationVar(&lasts, "for", 15*time.Second, "time of each measurement")
	cmd.Flags().IntVar(&partitions, "partitions", scalePartitions, "`N` partitions")
	cmd.Flags().BoolVar(&baseline, "baseline", false, "measure one group of all nodes too")
	cmd.Flags().BoolVar(&direct, "direct", false, "send each submission to the node that leads its team's partition, not to any")
	cmd.Flags().StringVar(&plot, "plot", "", "also draw the table into this SVG `FILE`")
	return cmd
}

// shape is what is measured.
type shape struct {
	nodes, partitions int
	naive             bool
	direct            bool // submissions go to the leaders' nodes
}

func (s shape) String() string {
	if s.naive {
		return fmt.Sprintf("%d nodes, one group of them all", s.nodes)
	}
	return fmt.Sprintf("%d nodes", s.nodes)
}

func (s shape) flags() []string {
	if !s.naive {
		return []string{"--partitions", strconv.Itoa(s.partitions)}
	}
	return []string{"--partitions", "1", replicasFlag, strconv.Itoa(s.nodes)}
}

// scaleOne measures one size.
func (a *app) scaleOne(ctx context.Context, s shape, rate float64, lasts time.Duration) (scaleRow, error) {
	fmt.Fprintf(a.Stderr, "Starting %v ...\n", s)
	cl, c, remove, err := a.startBench(ctx, "cairn-scale-", s.nodes, nil, s.flags()...)
	if err != nil {
		return scaleRow{}, err
	}
	defer remove()
	b := &bench{app: a, client: c, flags: benchFlags{teams: scaleTeams}, pids: cl.PIDs()}
	if err := b.setUp(ctx); err != nil {
		return scaleRow{}, err
	}
	if err := a.calm(ctx, c); err != nil {
		return scaleRow{}, err
	}
	fmt.Fprintf(a.Stderr, "Measuring %v: at rest, and %v submissions a second ...\n", s, rate)
	rest, err := span(ctx, cl.URLs(), b.pids, func() error { return sleep(ctx, scaleIdle) })
	if err != nil {
		return scaleRow{}, err
	}
	var leader func(fsm.TeamID) string
	if s.direct {
		if leader, err = b.leaders(ctx); err != nil {
			return scaleRow{}, err
		}
	}
	conf := load.Config{
		Addrs: cl.URLs(), Leader: leader, Hunt: b.hunt, Clue: benchClue, Teams: b.teams, Concurrency: scaleClients, Rate: rate,
		For: scaleWarm, PIDs: b.pids, Run: "warm",
	}
	if _, err := load.Single(ctx, conf); err != nil {
		return scaleRow{}, err
	}
	conf.For, conf.Run = lasts, "scale"
	var r *load.Result
	busy, err := span(ctx, cl.URLs(), b.pids, func() (err error) { r, err = load.Single(ctx, conf); return err })
	if err != nil {
		return scaleRow{}, err
	}
	return scaleOf(s, r, rest, busy), nil
}

// calm waits until leaderships have stopped moving.
func (a *app) calm(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for same, last := 0, ""; same < 10; {
		parts, err := c.Partitions(ctx)
		if err != nil {
			return err
		}
		now := ""
		for _, p := range parts.Partitions {
			if p.Leader != p.Preferred {
				now = "moving"
			}
			now += string(p.Leader) + p.State
		}
		if same++; now != last || strings.HasPrefix(now, "moving") {
			same, last = 0, now
		}
		if err := sleep(ctx, memberEvery); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// spent is what all nodes together did in a span of time.
type spent struct {
	took                     time.Duration
	cpu, waited              time.Duration
	rss                      float64 // bytes at its end, of all
	messages, bytes          float64
	syncs, syncing           float64
	entries, commands, moves float64
	unresponsive             float64 // calls to nodes that did not answer
}

// families are the metrics that spent is made of.
var families = []string{
	"cairn_peer_messages_total", "cairn_peer_sent_bytes_total", "cairn_log_fsync_duration_seconds_count",
	"cairn_log_fsync_duration_seconds_sum", "cairn_batch_size_count", "cairn_batch_size_sum",
	"cairn_raft_leader_changes_total", "process_resident_memory_bytes", "cairn_node_unresponsive_total",
}

// span measures what the nodes do while f runs.
func span(ctx context.Context, urls []string, pids []int, f func() error) (spent, error) {
	before, err := scrape(ctx, urls)
	cpu, err2 := load.CPU(pids)
	waited, err3 := load.Waited(pids)
	start := time.Now()
	if err := errors.Join(err, err2, err3); err != nil {
		return spent{}, err
	}
	if err := f(); err != nil {
		return spent{}, err
	}
	took := time.Since(start)
	after, err := load.CPU(pids)
	delayed, err3 := load.Waited(pids)
	now, err2 := scrape(ctx, urls)
	if err := errors.Join(err, err2, err3); err != nil {
		return spent{}, err
	}
	d := func(name string) float64 { return now[name] - before[name] }
	return spent{
		took: took, cpu: after - cpu, waited: delayed - waited, rss: now["process_resident_memory_bytes"],
		messages: d(families[0]), bytes: d(families[1]), syncs: d(families[2]), syncing: d(families[3]),
		entries: d(families[4]), commands: d(families[5]), moves: d(families[6]), unresponsive: d(families[8]),
	}, nil
}

// scrape sums families over all nodes.
func scrape(ctx context.Context, urls []string) (map[string]float64, error) {
	sums := map[string]float64{}
	for _, url := range urls {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), " ")
			name, _, _ = strings.Cut(name, "{")
			for _, f := range families {
				if name == f {
					v, err := strconv.ParseFloat(value, 64)
					if err != nil {
						return nil, errors.Join(err, resp.Body.Close())
					}
					sums[f] += v
				}
			}
		}
		if err := errors.Join(lines.Err(), resp.Body.Close()); err != nil {
			return nil, err
		}
	}
	return sums, nil
}

func scaleOf(s shape, r *load.Result, rest, busy spent) scaleRow {
	ops := float64(max(r.Ops, 1))
	idle := busy.took.Seconds() / rest.took.Seconds() // how much of the span at rest the busy one holds
	errs := sum(r.Errors) + r.Refused
	nodes := s.nodes
	return scaleRow{
		Nodes: nodes, Naive: s.naive, PerSecond: r.PerSecond(), Errors: errs,
		P50: float64(r.Latency.ValueAtQuantile(50)) / 1e3, P99: float64(r.Latency.ValueAtQuantile(99)) / 1e3,
		Batch:    busy.commands / max(busy.entries, 1),
		Messages: (busy.messages - idle*rest.messages) / ops, Bytes: (busy.bytes - idle*rest.bytes) / ops,
		Syncs: busy.syncs / ops, SyncMS: 1e3 * busy.syncing / max(busy.syncs, 1),
		Wait: 1e3 * (busy.waited.Seconds() - idle*rest.waited.Seconds()) / ops,
		CPU:  1e6 * busy.cpu.Seconds() / ops, NetCPU: 1e6 * (busy.cpu.Seconds() - idle*rest.cpu.Seconds()) / ops,
		IdleCPU: 100 * rest.cpu.Seconds() / rest.took.Seconds() / float64(nodes), IdleMessage: rest.messages / rest.took.Seconds() / float64(nodes),
		RSS: busy.rss / float64(nodes) / (1 << 20), Leaders: busy.moves,
	}
}

func scaleTable(rows []scaleRow) *table {
	t := newTable(">NODES", "GROUPS", ">PER SECOND", ">P50", ">P99", ">ERRORS", ">BATCH", ">MESSAGES", ">BYTES", ">SYNCS", ">SYNC TIME",
		">CORE WAIT", ">CPU/1,000", ">NET CPU", ">IDLE CPU", ">IDLE MSG/S", ">RSS MB", ">LEADER CHANGES")
	f := func(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }
	for _, r := range rows {
		groups := "partitions"
		if r.Naive {
			groups = "one of all"
		}
		t.add(strconv.Itoa(r.Nodes), groups, thousands(int(r.PerSecond)), millis(r.P50), millis(r.P99), thousands(int(r.Errors)), f(r.Batch, 2),
			f(r.Messages, 2), thousands(int(r.Bytes)), f(r.Syncs, 2), millis(r.SyncMS), millis(r.Wait), f(r.CPU, 0)+" ms", f(r.NetCPU, 0)+" ms",
			f(r.IdleCPU, 1)+" %", f(r.IdleMessage, 1), f(r.RSS, 0), f(r.Leaders, 0))
	}
	return t
}

// shapes are the ways to measure: with partitions, and the naive one if asked for.
func shapes(baseline bool) []bool {
	if baseline {
		return []bool{false, true}
	}
	return []bool{false}
}
