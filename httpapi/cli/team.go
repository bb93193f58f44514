package cli

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

func (a *app) teamCommand() *cobra.Command {
	return a.online(group("team", "Register and show teams", groupHunt, a.teamAdd(), a.teamImport(), a.teamShow()))
}

func (a *app) teamAdd() *cobra.Command {
	var in rest.NewTeam
	var key string
	cmd := &cobra.Command{
		Use:               "add HUNT TEAM",
		Short:             "Register a team and tell its token",
		Example:           "  cairn team add sample red --name \"The Red Team\"",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeHunt,
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			in.ID = fsm.TeamID(args[1])
			if in.Name == "" {
				in.Name = args[1]
			}
			made, created, err := c.CreateTeam(ctx, fsm.HuntID(args[0]), in, key)
			if err != nil {
				return err
			}
			return a.emit(answer{made, func(p *page) {
				t := newTable("TEAM", "NAME", "TOKEN", "STATUS")
				t.add(string(made.Team.ID), made.Team.Name, made.Token, status(created))
				p.table(t)
			}})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&in.Name, "name", "", "the team's `NAME` (default: its id)")
	f.StringVar(&in.Kind, "kind", "", "`KIND`: normal, or test: plays before the start and is never ranked")
	f.StringVar(&in.Division, "division", "", "`DIVISION` on the board")
	f.StringVar(&key, "key", "", "idempotency `KEY`: the same one again tells the same token again")
	return cmd
}

func status(created bool) string {
	if created {
		return "created"
	}
	return "exists"
}

// importTries is how often in a row a broken import goes on without getting a
// single team further, and importPause the pause before each.
const (
	importTries = 8
	importPause = 500 * time.Millisecond
)

func (a *app) teamImport() *cobra.Command {
	return &cobra.Command{
		Use:   "import HUNT FILE.tsv",
		Short: "Register many teams and tell their tokens",
		Long: `Register many teams from tab-separated values with a header line that names the
columns "team" and "name". Quotes and blanks are part of a name. The file is
checked whole before the first team is registered. On stdout comes a line of
tab-separated values for every team: team, name, token, status. A team that is
there already keeps its token and has the status "exists", so an import that
broke can be run again.`,
		Example:           "  cairn team import sample teams.tsv > tokens.tsv",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeHunt,
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			data, err := a.readFile(args[1], maxTeamFile)
			if err != nil {
				return err
			}
			teams, problems := parseTeams(data)
			for _, p := range problems {
				fmt.Fprintf(a.Stderr, "%s: %s\n", args[1], printable(p))
			}
			if len(problems) > 0 {
				return fsm.Errorf(fsm.Invalid, "%s has %s; no team was registered", args[1], count(len(problems), "bad line"))
			}
			return a.importTeams(ctx, c, fsm.HuntID(args[0]), teams)
		}),
	}
}

// importTeams registers teams over one stream, and over another from the first
// team without an answer when it breaks.
func (a *app) importTeams(ctx context.Context, c *client.Client, hunt fsm.HuntID, teams []rest.NewTeam) error {
	out := bufio.NewWriter(a.Stdout)
	defer out.Flush()
	if a.output == "table" {
		fmt.Fprintln(out, "team\tname\ttoken\tstatus")
	}
	progress, start := newLive(newScreen(a.Stderr, a.Getenv)), time.Now()
	done, failed := 0, 0
	draw := func(columns int) string { return bar(columns, done, len(teams), time.Since(start)) }
	result := func(line rest.TeamLine) error {
		if done == len(teams) {
			return fsm.Errorf(fsm.Internal, "the node answered more teams than were sent")
		}
		sent := teams[done]
		done++
		if line.Error != nil {
			failed++
			progress.printf("team %s: %v", sent.ID, client.ProblemError(line.Error))
		}
		progress.status(draw)
		if a.output == "json" {
			return writeLine(out, line)
		}
		return writeTeam(out, sent, line)
	}
	for try := 0; done < len(teams); try++ {
		before := done
		err := c.CreateTeams(ctx, hunt, slices.Values(teams[done:]), result)
		if done > before {
			try = 0
		}
		if err != nil {
			if code := exitCode(err); try >= importTries || ctx.Err() != nil || code != exitNotNow && code != exitUnknown {
				return err
			}
			progress.printf("%v; going on from team %d of %d", err, done+1, len(teams))
			select {
			case <-time.After(importPause):
			case <-ctx.Done():
			}
		}
	}
	progress.finish(draw)
	if failed > 0 {
		return fsm.Errorf(fsm.Invalid, "%d of %d teams could not be registered", failed, len(teams))
	}
	return out.Flush()
}

func writeTeam(out *bufio.Writer, sent rest.NewTeam, line rest.TeamLine) error {
	name, status := sent.Name, line.Status
	if line.Team != nil {
		name = line.Team.Name
	}
	if line.Error != nil {
		status = line.Error.Code
	}
	_, err := fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", sent.ID, name, line.Token, status)
	return err
}

func (a *app) teamShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show HUNT TEAM",
		Short:             "Show a team, its rank and its clues",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeHunt,
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			t, err := c.Team(ctx, fsm.HuntID(args[0]), fsm.TeamID(args[1]), true, client.Default)
			if err != nil {
				return err
			}
			return a.emit(answer{t, func(p *page) { teamText(p, t) }})
		}),
	}
}

func teamText(p *page, t *rest.Team) {
	p.printf("%s  %s\n\n", t.ID, t.Name)
	rank := "not ranked"
	if t.Rank > 0 {
		rank = "rank " + thousands(t.Rank)
	}
	p.printf("score   %s with %s, %s\n", thousands(int(t.Score)), count(int(t.Solves), "solve"), rank)
	p.printf("team    %s, %s, since %s\n", t.Kind, t.Status, when(&t.Created))
	if t.Division != "" {
		p.printf("plays   in division %s\n", t.Division)
	}
	p.printf("last    solve %s\n\n", when(t.LastSolve))
	rows := newTable("CLUE", "STATE", ">ATTEMPTS", ">LEFT", "SOLVED")
	for _, c := range t.Clues {
		left := "-"
		if c.AttemptsLeft != nil {
			left = strconv.FormatUint(uint64(*c.AttemptsLeft), 10)
		}
		rows.add(string(c.ID), c.State, strconv.FormatUint(uint64(c.Attempts), 10), left, when(c.SolvedAt))
	}
	p.table(rows)
}
