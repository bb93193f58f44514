package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/httpapi/cli/local"
	"cairn/httpapi/cli/play"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// Limits and times of a demo.
const (
	maxDemoTeams = 1000
	// solveWithin is the part of the demo in which an average team solves all.
	solveWithin = 0.8
	// killEvery is the average pause between two kills, downFor the time until
	// the killed node starts again.
	killEvery = 5 * time.Second
	downFor   = 2 * time.Second
	// settleTimeout bounds the wait for replicas to spread.
	settleTimeout = 3 * time.Minute
	// lastWords bounds what is still asked of the cluster at the end.
	lastWords = 15 * time.Second
	boardRows = 10
)

// demoFlags of "cairn demo".
type demoFlags struct {
	nodes, teams int
	lasts        time.Duration
	seed         uint64
	kill         bool
}

func (a *app) demoCommand() *cobra.Command {
	var flags demoFlags
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Watch a real cluster play a hunt, on this machine",
		GroupID: groupNode,
		Long: `Run a real cluster of child processes on free loopback ports, in a temporary
directory, and let simulated teams play the sample hunt on it. It prints the
nodes' URLs and the admin token first, so you can look at it from another
terminal, then a live line, then the final board and whether every answer was
counted exactly once. Ctrl-C ends it early; either way nothing is left behind.`,
		Example: `  cairn demo
  cairn demo --nodes 5 --teams 100 --for 2m --kill`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case flags.nodes < 1 || flags.nodes > local.MaxNodes:
				return usagef("--nodes must be 1 to %d", local.MaxNodes)
			case flags.teams < 1 || flags.teams > maxDemoTeams:
				return usagef("--teams must be 1 to %d", maxDemoTeams)
			case flags.lasts <= 0:
				return usagef("--for must be positive")
			case flags.kill && flags.nodes < 3:
				return usagef("--kill needs at least 3 nodes: fewer have no majority without the killed one")
			}
			err := a.demo(cmd.Context(), flags)
			if cmd.Context().Err() != nil && err != nil {
				fmt.Fprintln(a.Stderr, "Stopped before there was anything to show.")
				return nil
			}
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&flags.nodes, "nodes", 3, "`N` nodes")
	f.DurationVar(&flags.lasts, "for", time.Minute, "how long the teams play")
	f.IntVar(&flags.teams, "teams", 40, "`N` teams")
	f.Uint64Var(&flags.seed, "seed", 1, "`N` that the teams' behaviour follows from")
	f.BoolVar(&flags.kill, "kill", false, "kill a random node every few seconds and start it again")
	return cmd
}

// demo runs a cluster, a game on it, and takes both away again.
func (a *app) demo(ctx context.Context, flags demoFlags) error {
	doc, err := hunt.ParseYAML(a.Sample)
	if err != nil {
		return fmt.Errorf("the sample hunt: %w", err)
	}
	fmt.Fprintf(a.Stderr, "Starting %d nodes ...\n", flags.nodes)
	cl, remove, err := startLocal(ctx, "cairn-demo-", local.Config{Nodes: flags.nodes})
	if err != nil {
		return err
	}
	defer remove()
	c, err := client.New(cl.URLs(), cl.AdminToken())
	if err != nil {
		return err
	}
	defer c.HTTP.CloseIdleConnections()
	a.introduce(cl, doc)
	if err := settle(ctx, cl); err != nil {
		return err
	}
	teams, err := enrol(ctx, c, doc, flags)
	if err != nil {
		return err
	}

	g := newGame(cl, c, doc.ID)
	playCtx, stop := context.WithTimeout(ctx, flags.lasts)
	defer stop()
	var background sync.WaitGroup
	background.Go(func() { g.observe(playCtx) })
	background.Go(func() { a.narrate(playCtx, g, flags.lasts) })
	if flags.kill {
		background.Go(func() { g.killNodes(playCtx, rand.New(rand.NewPCG(flags.seed, 0))) })
	}
	tried := play.Run(playCtx, play.Config{
		Hunt: doc, Teams: teams, Addrs: cl.URLs(), HTTP: c.HTTP, Seed: flags.seed,
		For:       time.Duration(solveWithin * float64(flags.lasts)),
		Submitted: g.submitted, Wrong: g.wrong,
	})
	stop()
	background.Wait()
	return a.finale(context.WithoutCancel(ctx), g, tried)
}

// startLocal starts a cluster of this very program in a temporary directory.
// remove stops it and deletes the directory.
func startLocal(ctx context.Context, prefix string, cfg local.Config) (cl *local.Cluster, remove func(), err error) {
	if cfg.Binary, err = os.Executable(); err != nil {
		return nil, nil, fmt.Errorf("find this program: %w", err)
	}
	if cfg.Dir, err = os.MkdirTemp("", prefix); err != nil {
		return nil, nil, err
	}
	if i := slices.Index(cfg.Flags, replicasFlag); i >= 0 {
		cfg.Replicas, _ = strconv.Atoi(cfg.Flags[i+1])
	}
	cl, err = local.Start(ctx, cfg)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(cfg.Dir))
	}
	return cl, func() {
		cl.Stop()
		os.RemoveAll(cfg.Dir) // nothing useful can be done about an error here
	}, nil
}

func settle(ctx context.Context, cl *local.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	return cl.Settled(ctx)
}

// introduce tells where the cluster is and how to look at it.
func (a *app) introduce(cl *local.Cluster, doc *hunt.Document) {
	fmt.Fprintln(a.Stderr)
	for i, url := range cl.URLs() {
		fmt.Fprintf(a.Stderr, "  %-4s %s\n", cl.Name(i), url)
	}
	fmt.Fprintf(a.Stderr, `  admin token  %s

From another terminal:
  export CAIRN_ADDR=%s CAIRN_TOKEN=%s
  cairn status --watch
  cairn leaderboard %s --watch

`, cl.AdminToken(), strings.Join(cl.URLs(), ","), cl.AdminToken(), doc.ID)
}

// enrol creates the hunt and its teams.
func enrol(ctx context.Context, c *client.Client, doc *hunt.Document, flags demoFlags) ([]play.Team, error) {
	if _, _, err := c.CreateHunt(ctx, doc.JSON()); err != nil {
		return nil, fmt.Errorf("create the sample hunt: %w", err)
	}
	var teams []play.Team
	err := c.CreateTeams(ctx, doc.ID, slices.Values(play.NewTeams(flags.teams, flags.seed)), func(line rest.TeamLine) error {
		if line.Error != nil {
			return client.ProblemError(line.Error)
		}
		teams = append(teams, play.Team{ID: line.Team.ID, Token: line.Token})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("register the teams: %w", err)
	}
	return teams, nil
}

// narrate keeps the live line up to date until ctx ends.
func (a *app) narrate(ctx context.Context, g *game, lasts time.Duration) {
	l := newLive(newScreen(a.Stderr, a.Getenv))
	ticker := time.NewTicker(redrawEvery)
	defer ticker.Stop()
	start := time.Now()
	draw := func(int) string { return g.line(time.Since(start), lasts) }
	for {
		select {
		case <-ctx.Done():
			l.finish(draw)
			return
		case text := <-g.news:
			l.printf("%s", text)
		case <-ticker.C:
			l.status(draw)
		}
	}
}

// finale prints the final board and checks the cluster's books against the
// players' own.
func (a *app) finale(ctx context.Context, g *game, tried int) error {
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	board, err := wholeBoard(ctx, g.client, g.hunt, "", boardRows, client.Strong)
	if err != nil {
		return fmt.Errorf("the final board: %w", err)
	}
	stats, err := g.client.Stats(ctx, g.hunt, client.Strong)
	if err != nil {
		return fmt.Errorf("the final counts: %w", err)
	}
	mine := g.counts()
	if err := a.emit(answer{board, func(p *page) {
		p.printf("\n")
		p.table(boardTable(board.Leaderboard))
		p.printf("\n%s\n", mine.sentence())
	}}); err != nil {
		return err
	}
	return mine.audit(stats, tried)
}

// counts are the players' own books.
type counts struct {
	keys     map[string]bool // that have a result
	verdicts map[string]int  // by key, so each once
	retried  int             // results of keys that had one
	kills    int
	wrong    []string // what must not happen
}

func (c *counts) total() int {
	n := 0
	for _, v := range c.verdicts {
		n += v
	}
	return n
}

func (c *counts) sentence() string {
	parts := make([]string, 0, len(verdicts))
	for _, v := range verdicts {
		if n := c.verdicts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", thousands(n), strings.ReplaceAll(v, "_", " ")))
		}
	}
	s := fmt.Sprintf("%s answers (%s); %s sent twice and counted once", thousands(c.total()), strings.Join(parts, ", "), thousands(c.retried))
	if c.kills > 0 {
		s += "; " + count(c.kills, "kill")
	}
	return s
}

// audit compares the players' books with the cluster's. An answer under way
// when the time was up may have counted without its player knowing: so the
// cluster remembers at least what players were told, and at most what they tried.
func (c *counts) audit(stats *rest.Stats, tried int) error {
	remembered := 0
	for _, v := range verdicts {
		n := stats.Submissions[v]
		remembered += n
		if n < c.verdicts[v] {
			c.wrong = append(c.wrong, fmt.Sprintf("players were told %d times %q, the cluster remembers %d", c.verdicts[v], v, n))
		}
	}
	if remembered > tried {
		c.wrong = append(c.wrong, fmt.Sprintf("players tried %d answers, the cluster remembers %d", tried, remembered))
	}
	if len(c.wrong) > 0 {
		return fsm.Errorf(fsm.Internal, "the demo saw what must not happen:\n  %s", strings.Join(c.wrong, "\n  "))
	}
	return nil
}
