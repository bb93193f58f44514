package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/cli/load"
	"cairn/httpapi/cli/local"
	"cairn/httpapi/cli/play"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// Limits and defaults of "bench load".
const (
	loadClients  = 256
	maxLoadHunts = 1000
	// loadPatience is how long after the last phase what is due is still sent.
	loadPatience = 15 * time.Second
)

// loadFlags of "bench load".
type loadFlags struct {
	phases, burst, mix    string
	rate                  float64
	lasts                 time.Duration
	clients, hunts, teams int
	skew, huntSkew        float64
	seed                  uint64
	polite                bool
	direct                bool
	nodes                 int
	plot                  string
}

// plan checks the flags, and is the load but for the cluster and its hunts.
func (f *loadFlags) plan() (load.Plan, error) {
	p := load.Plan{Clue: benchClue, Skew: f.skew, HuntSkew: f.huntSkew, Seed: f.seed, Polite: f.polite, Clients: f.clients, Patience: loadPatience, Run: "load"}
	var err error
	if p.Phases, err = f.schedule(); err != nil {
		return p, &usageError{err}
	}
	for _, phase := range p.Phases {
		p.Clients = max(p.Clients, phase.Clients)
	}
	if f.mix != "" {
		if p.Mix, err = load.ParseMix(f.mix); err != nil {
			return p, usagef("--mix: %w", err)
		}
	}
	switch {
	case f.clients < 1 || f.clients > maxConcurrency:
		return p, usagef("--concurrency must be 1 to %d", maxConcurrency)
	case f.teams < p.Clients || f.teams > maxBenchTeams:
		return p, usagef("--teams must be %d, which is how many clients there are, to %d", p.Clients, maxBenchTeams)
	case f.hunts < 1 || f.hunts > min(maxLoadHunts, f.teams):
		return p, usagef("--hunts must be 1 to %d, and at most --teams", maxLoadHunts)
	case f.skew != 0 && f.skew <= 1 || f.huntSkew != 0 && f.huntSkew <= 1:
		return p, usagef("--skew and --hunt-skew must be above 1, or 0 for none")
	case f.nodes < 0 || f.nodes > local.MaxNodes:
		return p, usagef("--nodes must be 1 to %d, or 0 for the cluster at --addr", local.MaxNodes)
	}
	return p, nil
}

// schedule is the phases: as they are given, or a warm-up, and bursts or none.
func (f *loadFlags) schedule() ([]load.Phase, error) {
	if f.phases != "" {
		if f.burst != "" || f.rate != 0 {
			return nil, errors.New("--phases says all of when and how much: leave --rate and --burst out")
		}
		return load.ParsePhases(f.phases)
	}
	first := load.Phase{Name: "warm-up", For: min(warmup, f.lasts/5), Rate: f.rate}
	if f.burst != "" {
		if f.rate <= 0 {
			return nil, errors.New("--burst needs the --rate that it is a multiple of")
		}
		bursts, err := load.Bursts(f.burst, f.rate, f.lasts)
		if err != nil {
			return nil, fmt.Errorf("--burst: %w", err)
		}
		return append([]load.Phase{first}, bursts...), nil
	}
	steady := load.Phase{Name: "steady", For: f.lasts, Rate: f.rate}
	if f.rate == 0 {
		first.Clients, steady.Clients = f.clients, f.clients
	}
	phases := []load.Phase{first, steady}
	return phases, load.CheckPhases(phases)
}

func (a *app) benchLoad() *cobra.Command {
	var f loadFlags
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Put a mix of requests on a cluster, in phases",
		Long: `Put a load on a running cluster, or with --nodes on a new one on this machine: a mix
of submissions and reads, in phases, for teams and hunts that are asked for evenly or
by Zipf's law. The hunts are made for it and deleted at the end.

A phase with a rate is an open loop: requests are due whatever is answered, latencies
count from when they were due, and belong to the phase in which they were. At most
--concurrency are on the wire; what is due while all clients wait is sent late. A
phase of N clients is a closed loop: each sends the next when the last is answered.
Phases of one name are counted together.

Each request is one try. What the cluster refused for want of room (503 overloaded,
429) is counted apart from what was accepted and from errors, and not tried again.
Retry-After is not waited for, as the load is what is given, not what the cluster
would like; with --polite a client holds back what is due until it may come back, and
that is counted. Percentiles are of what was accepted. Submissions are new and wrong.

Requests:
  submit  a submission of a team
  clues   the clues of a team
  board   the first page of a hunt's leaderboard, without a token
  team    a team with its state`,
		Example: `  cairn bench load --phases "warm:10s@500, burst:5s@4000, calm:20s@500" --plot load.svg
  cairn bench load --rate 800 --burst 5x/1s/10s --for 1m --mix submit=80,clues=10,board=9,team=1
  cairn bench load --nodes 3 --phases "warm:5s@64c,peak:10s@512c" --hunts 20 --hunt-skew 1.2 --skew 1.1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := f.plan()
			if err != nil {
				return err
			}
			if f.nodes > 0 {
				return a.loadLocal(cmd.Context(), &f, plan)
			}
			return a.call(func(ctx context.Context, c *client.Client, _ []string) error { return a.load(ctx, c, &f, plan, nil) })(cmd, args)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.phases, "phases", "", "`NAME:TIME@RATE[,...]`, with Nc in the place of RATE for N clients")
	flags.Float64Var(&f.rate, "rate", 0, "`N` requests a second in all (default: as fast as answers come)")
	flags.StringVar(&f.burst, "burst", "", "`Nx/TIME/EVERY`: at N times the rate for a time, again and again")
	flags.DurationVar(&f.lasts, "for", 10*time.Second, "time of the load, after a warm-up, unless --phases says it")
	flags.StringVar(&f.mix, "mix", "", "parts of the requests, `submit=N,clues=N,board=N,team=N` (default: submissions only)")
	flags.IntVarP(&f.clients, "concurrency", "c", loadClients, "`N` clients")
	flags.IntVar(&f.teams, "teams", benchTeams, "`N` teams, in all hunts together")
	flags.IntVar(&f.hunts, "hunts", 1, "`N` hunts")
	flags.Float64Var(&f.skew, "skew", 0, "choose teams of a hunt by Zipf's law with exponent `S`, such as 1.1 (default: evenly)")
	flags.Float64Var(&f.huntSkew, "hunt-skew", 0, "choose hunts by Zipf's law with exponent `S` (default: evenly)")
	flags.BoolVar(&f.polite, "polite", false, "have a client that was refused send nothing until it may come back")
	flags.Uint64Var(&f.seed, "seed", 1, "`N` that the choice of requests, hunts and teams follows from")
	flags.BoolVar(&f.direct, "direct", false, "send what concerns a team to the node that leads its partition")
	flags.IntVar(&f.nodes, "nodes", 0, "start a cluster of `N` nodes on this machine and load that")
	flags.StringVar(&f.plot, "plot", "", "also draw throughput and latency over time into this SVG `FILE`")
	return a.online(cmd)
}

// loadLocal loads a new cluster of child processes.
func (a *app) loadLocal(ctx context.Context, f *loadFlags, plan load.Plan) error {
	fmt.Fprintf(a.Stderr, "Starting %d nodes ...\n", f.nodes)
	cl, c, remove, err := a.startBench(ctx, "cairn-load-", f.nodes, nil)
	if err != nil {
		return err
	}
	defer remove()
	return a.load(ctx, c, f, plan, cl.PIDs())
}

// load makes the hunts, puts the load on the cluster, and reports. The CPU of
// pids, the nodes if they are known, is reported too.
func (a *app) load(ctx context.Context, c *client.Client, f *loadFlags, plan load.Plan, pids []int) error {
	name := "bench-" + strconv.FormatUint(rand.Uint64(), 36)
	if f.nodes == 0 {
		defer func() { a.dropHunts(context.WithoutCancel(ctx), c, plan.Hunts) }()
	}
	fmt.Fprintf(a.Stderr, "Registering %s in %s ...\n", count(f.teams, "team"), count(f.hunts, "hunt"))
	for i := range f.hunts {
		hunt := load.Hunt{ID: fsm.HuntID(fmt.Sprintf("%s-%d", name, i))}
		teams := (f.teams + f.hunts - 1 - i) / f.hunts
		plan.Hunts = append(plan.Hunts, hunt) // so that it is deleted, whatever happens
		var err error
		if plan.Hunts[i].Teams, err = benchHunt(ctx, c, hunt.ID, teams); err != nil {
			return err
		}
		if err := benchSolve(ctx, c, hunt.ID, plan.Hunts[i].Teams); err != nil {
			return err
		}
	}
	plan.Addrs = c.Addrs
	if f.direct {
		leader, err := leadersOf(ctx, c)
		if err != nil {
			return err
		}
		plan.Leader = leader
	}
	lasts := time.Duration(0)
	for _, p := range plan.Phases {
		lasts += p.For
	}
	fmt.Fprintf(a.Stderr, "Measuring: %d clients, seed %d, %v ...\n", plan.Clients, plan.Seed, lasts)
	used := newMeter(pids)
	r, err := load.Run(ctx, plan)
	if ctx.Err() != nil {
		return errors.New("stopped before it was measured")
	}
	if err != nil {
		return err
	}
	out := reportOf(plan, r, used)
	if f.plot != "" {
		if err := os.WriteFile(f.plot, []byte(loadPlot(out)), 0o644); err != nil {
			return err
		}
	}
	return a.reportLoad(out)
}

// leadersOf returns where a team's requests go to find its leader, as of now.
func leadersOf(ctx context.Context, c *client.Client) (func(fsm.HuntID, fsm.TeamID) string, error) {
	r, err := c.Routing(ctx)
	if err != nil {
		return nil, err
	}
	return func(hunt fsm.HuntID, team fsm.TeamID) string {
		return cmp.Or(c.Base(r.Leader(hunt, team)), c.Addrs[0])
	}, nil
}

// The clues of a benchmark's hunt: the one that is answered wrong, and the one
// that benchSolve answers right.
const (
	benchClue  = "clue"
	benchFirst = "first"
	benchRight = "right"
)

// benchHunt makes a hunt with its teams.
func benchHunt(ctx context.Context, c *client.Client, id fsm.HuntID, teams int) ([]play.Team, error) {
	doc, err := json.Marshal(map[string]any{
		"id": id, "title": "Benchmark",
		"clues": []any{
			map[string]any{"id": benchClue, "title": "Clue", "points": 1, "answers": []string{"nobody says this"}},
			map[string]any{"id": benchFirst, "title": "First clue", "points": 1, "answers": []string{benchRight}},
		},
	})
	if err != nil {
		return nil, err
	}
	if _, _, err := c.CreateHunt(ctx, doc); err != nil {
		return nil, fmt.Errorf("create the benchmark's hunt: %w", err)
	}
	lines := func(yield func(rest.NewTeam) bool) {
		for i := range teams {
			id := fmt.Sprintf("t%06d", i)
			if !yield(rest.NewTeam{ID: fsm.TeamID(id), Name: id}) {
				return
			}
		}
	}
	var out []play.Team
	err = c.CreateTeams(ctx, id, lines, func(line rest.TeamLine) error {
		if line.Error != nil {
			return client.ProblemError(line.Error)
		}
		out = append(out, play.Team{ID: line.Team.ID, Token: line.Token})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("register the teams: %w", err)
	}
	return out, nil
}

// benchSolve has every team solve a clue: boards and teams are then what they are
// in the midst of a hunt, and not empty.
func benchSolve(ctx context.Context, c *client.Client, id fsm.HuntID, teams []play.Team) error {
	lines := func(yield func(rest.BatchLine) bool) {
		for _, t := range teams {
			if !yield(rest.BatchLine{Key: "first-" + string(t.ID), Team: t.ID, Clue: benchFirst, Answer: benchRight}) {
				return
			}
		}
	}
	err := c.SubmitBatch(ctx, id, lines, func(r rest.BatchResult) error {
		if r.Error != nil {
			return client.ProblemError(r.Error)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("have the teams solve a clue: %w", err)
	}
	return nil
}

// dropHunts deletes what was made, from a cluster that lives on.
func (a *app) dropHunts(ctx context.Context, c *client.Client, hunts []load.Hunt) {
	for _, h := range hunts {
		ctx, cancel := context.WithTimeout(ctx, lastWords)
		if err := c.DeleteHunt(ctx, h.ID); err != nil && fsm.KindOf(err) != fsm.NotFound {
			fmt.Fprintf(a.Stderr, "cairn: delete hunt %s: %v\n", h.ID, err)
		}
		cancel()
	}
}
