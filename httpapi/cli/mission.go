package cli

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/cli/load"
	"cairn/httpapi/cli/local"
	"cairn/httpapi/client"
)

// Defaults of "bench mission".
const (
	missionNodes   = 21
	missionSkew    = 1.1 // of teams, by Zipf's law
	missionTeams   = 4096
	missionHunts   = 4    // that have them, evenly
	missionClients = 64   // find out what a strategy can do, and are few enough not to be what limits it
	limitClients   = 512  // find out what this machine can do
	missionMany    = 2048 // clients of an open loop: more are not under way
	missionSoak    = 10 * time.Minute
	// missionTarget is how many times the baseline's traffic is to be carried.
	missionTarget = 20
	// missionFull is the part of what Cairn can do with missionMany clients that it is
	// asked for when that is less than missionTarget times the baseline, and
	// missionShare the part that it is soaked with of what it can do with few.
	missionFull  = 0.8
	missionShare = 0.5
)

// strategy is a way to run a hunt on all nodes.
type strategy struct {
	Name  string
	ours  bool
	flags func(nodes int) []string
}

// strategies are what the mission compares; the first one is the measure.
var strategies = []strategy{
	{"every event to every node", false, func(n int) []string {
		return []string{"--partitions", "1", replicasFlag, strconv.Itoa(n), admitAllFlag, entryFlag, "1"}
	}},
	{"the same, in batches", false, func(n int) []string {
		return []string{"--partitions", "1", replicasFlag, strconv.Itoa(n), admitAllFlag}
	}},
	{"Cairn", true, func(n int) []string { return []string{"--partitions", strconv.Itoa(2 * n)} }},
}

// missionRow is what became of one load.
type missionRow struct {
	Strategy     string  `json:"strategy"`
	Load         string  `json:"load"`
	Offered      float64 `json:"offered_per_second"`
	Accepted     float64 `json:"accepted_per_second"`
	Mean         float64 `json:"mean_ms"`
	P50          float64 `json:"p50_ms"`
	P99          float64 `json:"p99_ms"`
	Refused      int64   `json:"refused"`      // the queue is full
	Unresponsive int64   `json:"unresponsive"` // no answer, from a node to a client or to a node
	CPU          float64 `json:"cpu_cores"`    // of all nodes
	RSS          float64 `json:"rss_mb_per_node"`
}

// missionReport is all that the mission shows.
type missionReport struct {
	Nodes    int                `json:"nodes"`
	Capacity map[string]float64 `json:"capacity_per_second"` // of each strategy, in a closed loop
	Limit    float64            `json:"limit_per_second"`    // of Cairn, with many clients
	Rows     []missionRow       `json:"before_after"`
	Troubles []troubleRow       `json:"troubles"`
	Soak     *soakRow           `json:"soak,omitempty"`
}

// missionPlan is what is measured.
type missionPlan struct {
	nodes int
	lasts time.Duration
	soak  time.Duration
	plot  string
}

func (a *app) benchMission() *cobra.Command {
	var p missionPlan
	cmd := &cobra.Command{
		Use:   "mission",
		Short: "Compare Cairn with an engine that sends every event to every node",
		Long: `On this machine, one after the other, with the same teams and the same skew:

  every event to every node   one group of which every node is a voter, an entry
                              an event, queues without a bound
  the same, in batches        as many events in an entry as wait
  Cairn                       three replicas of each partition, admission

The first one's capacity is the measure: all three get half of it, and one and a
half times it; Cairn also gets 20 times it, or most of what it can do on this machine if
that is less. Then Cairn's players are disturbed: by a team that hammers, by a hunt with
nine times their traffic, by a slow node and a dead one. At last it is soaked.`,
		Example: "  cairn bench mission --plot mission.svg\n  cairn bench mission --nodes 5 --for 5s --soak 0",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.nodes < 3 || p.nodes > local.MaxNodes || p.lasts <= 0 || p.soak < 0 {
				return usagef("--nodes must be 3 to %d, --for positive, --soak not negative", local.MaxNodes)
			}
			r, err := a.mission(cmd.Context(), p)
			if err != nil {
				return err
			}
			if p.plot != "" {
				if err := os.WriteFile(p.plot, []byte(missionPlot(r)), 0o644); err != nil {
					return err
				}
			}
			return a.emit(answer{r, func(pg *page) {
				pg.table(missionTable(r.Rows))
				pg.table(troubleTable(r.Troubles))
				if r.Soak != nil {
					pg.table(soakTable(r.Soak))
				}
			}})
		},
	}
	cmd.Flags().IntVar(&p.nodes, "nodes", missionNodes, "`N` nodes")
	cmd.Flags().DurationVar(&p.lasts, "for", 15*time.Second, "time of each measurement")
	cmd.Flags().DurationVar(&p.soak, "soak", missionSoak, "time of the soak; 0: none")
	cmd.Flags().StringVar(&p.plot, "plot", "", "also draw it into this SVG `FILE`")
	return cmd
}

// mission measures the strategies one after the other.
func (a *app) mission(ctx context.Context, p missionPlan) (*missionReport, error) {
	r := &missionReport{Nodes: p.nodes, Capacity: map[string]float64{}}
	for _, s := range strategies {
		m, remove, err := a.deploy(ctx, p, s)
		if err != nil {
			return nil, err
		}
		err = m.compare(ctx, r)
		if err == nil && s.ours {
			err = m.trouble(ctx, r)
		}
		if err == nil && s.ours && p.soak > 0 {
			err = m.soak(ctx, r)
		}
		remove()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return r, nil
}

// deployment is a strategy that runs.
type deployment struct {
	app      *app
	client   *client.Client
	plan     missionPlan
	strategy strategy
	cluster  *local.Cluster
	pids     []int
	runs     int
}

func (a *app) deploy(ctx context.Context, p missionPlan, s strategy) (*deployment, func(), error) {
	fmt.Fprintf(a.Stderr, "Starting %d nodes: %s ...\n", p.nodes, s.Name)
	cl, c, remove, err := a.startBench(ctx, "cairn-mission-", p.nodes, nil, s.flags(p.nodes)...)
	if err != nil {
		return nil, nil, err
	}
	if err := a.calm(ctx, c); err != nil {
		remove()
		return nil, nil, err
	}
	return &deployment{app: a, client: c, plan: p, strategy: s, cluster: cl, pids: cl.PIDs()}, remove, nil
}

// config is a load of new hunts at a rate, in an open loop; zero is a closed one.
// With skew the first team of a single hunt, or of the same ones again and again,
// would soon have made all the submissions that a team may.
func (m *deployment) config(ctx context.Context, rate float64, clients int) (load.Config, error) {
	m.runs++
	conf := load.Config{
		Addrs: m.cluster.URLs(), Clue: benchClue, Concurrency: clients, Rate: rate, Skew: missionSkew,
		Polite: true, Warmup: min(warmup, m.plan.lasts/5), For: m.plan.lasts, Run: "mission-" + strconv.Itoa(m.runs),
	}
	for i := range missionHunts {
		id := fsm.HuntID(fmt.Sprintf("mission-%d-%d", m.runs, i))
		teams, err := benchHunt(ctx, m.client, id, missionTeams/missionHunts)
		if err != nil {
			return load.Config{}, err
		}
		conf.Hunts = append(conf.Hunts, load.Hunt{ID: id, Teams: teams})
	}
	return conf, nil
}

// compare finds out what the strategy can do, and gives it the loads.
func (m *deployment) compare(ctx context.Context, r *missionReport) error {
	fmt.Fprintln(m.app.Stderr, "Measuring what it can do ...")
	conf, err := m.config(ctx, 0, missionClients)
	if err != nil {
		return err
	}
	can, err := load.Single(ctx, conf)
	if err != nil {
		return err
	}
	name := m.strategy.Name
	r.Capacity[name] = can.PerSecond()
	base := r.Capacity[strategies[0].Name]
	loads := []struct {
		name string
		rate float64
	}{{"0.5 x baseline", base / 2}, {"1.5 x baseline", 1.5 * base}}
	if m.strategy.ours {
		if conf, err = m.config(ctx, 0, limitClients); err != nil {
			return err
		}
		limit, err := load.Single(ctx, conf)
		if err != nil {
			return err
		}
		r.Limit = limit.PerSecond()
		most := min(missionTarget*base, missionFull*r.Limit)
		loads = append(loads, struct {
			name string
			rate float64
		}{fmt.Sprintf("%.1f x baseline", most/base), most})
	}
	for _, l := range loads {
		row, err := m.measureLoad(ctx, l.name, l.rate)
		if err != nil {
			return err
		}
		r.Rows = append(r.Rows, row)
	}
	return nil
}

func (m *deployment) measureLoad(ctx context.Context, name string, rate float64) (missionRow, error) {
	conf, err := m.config(ctx, rate, missionMany)
	if err != nil {
		return missionRow{}, err
	}
	fmt.Fprintf(m.app.Stderr, "Offering %s a second (%s) for %v ...\n", thousands(int(rate)), name, m.plan.lasts)
	var r *load.Result
	did, err := span(ctx, m.cluster.URLs(), m.pids, func() (err error) {
		r, err = load.Single(ctx, conf)
		return err
	})
	if err != nil {
		return missionRow{}, err
	}
	return missionRow{
		Strategy: m.strategy.Name, Load: name, Offered: rate, Accepted: r.PerSecond(),
		Mean: r.Latency.Mean() / 1e3, P50: float64(r.Latency.ValueAtQuantile(50)) / 1e3, P99: float64(r.Latency.ValueAtQuantile(99)) / 1e3,
		Refused: r.Refused, Unresponsive: sum(r.Errors) + int64(did.unresponsive),
		CPU: did.cpu.Seconds() / did.took.Seconds(), RSS: did.rss / float64(m.plan.nodes) / (1 << 20),
	}, nil
}

func missionTable(rows []missionRow) *table {
	t := newTable("STRATEGY", "LOAD", ">OFFERED/S", ">ACCEPTED/S", ">MEAN", ">P50", ">P99", ">REFUSED", ">UNRESPONSIVE", ">CORES", ">RSS MB")
	for _, r := range rows {
		t.add(r.Strategy, r.Load, thousands(int(r.Offered)), thousands(int(r.Accepted)), millis(r.Mean), millis(r.P50), millis(r.P99),
			thousands(int(r.Refused)), thousands(int(r.Unresponsive)), strconv.FormatFloat(r.CPU, 'f', 2, 64), strconv.FormatFloat(r.RSS, 'f', 0, 64))
	}
	return t
}
