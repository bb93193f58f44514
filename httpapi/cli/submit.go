package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

func (a *app) submitCommand() *cobra.Command {
	var team, key, player string
	cmd := &cobra.Command{
		Use:     "submit HUNT CLUE ANSWER",
		Short:   "Submit one answer",
		GroupID: groupHunt,
		Long: `Submit one answer and say how it was judged. It exits 0 whatever the verdict.
With a team's token the team is known; an organiser names it with --team. If the
outcome stays unknown, the same command with the same --key counts it once.`,
		Example: `  CAIRN_TOKEN=cairn_t_... cairn submit sample lighthouse "keeper of the light"
  cairn submit sample lighthouse 1899 --team red --key r-17`,
		Args:              cobra.ExactArgs(3),
		ValidArgsFunction: a.completeHunt,
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if team == "" {
				who, err := c.WhoAmI(ctx)
				if err != nil {
					return err
				}
				if who.Team == "" {
					return usagef("this token is not a team's: say for which with --team")
				}
				team = string(who.Team)
			}
			in := rest.NewSubmission{Clue: fsm.ClueID(args[1]), Answer: args[2], Player: player}
			s, err := c.Submit(ctx, fsm.HuntID(args[0]), fsm.TeamID(team), in, key)
			if err != nil {
				return err
			}
			return a.emit(answer{s, func(p *page) { submissionText(p, s) }})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&team, "team", "", "the `TEAM` that submits (organisers)")
	f.StringVar(&key, "key", "", "idempotency `KEY`, at most 64 characters (default: a new one)")
	f.StringVar(&player, "player", "", "`NAME` of the player, kept in the history")
	return a.online(cmd)
}

func submissionText(p *page, s *rest.Submission) {
	p.printf("%s", strings.ReplaceAll(s.Verdict, "_", " "))
	if s.Replayed {
		p.printf(" (counted before, at %s)", when(&s.At))
	}
	if s.Verdict == "correct" {
		p.printf(": %s", count(int(s.Points), "point"))
		if !s.Ranked {
			p.printf(", not ranked")
		}
	}
	p.printf("\n")
	if s.Reply != "" {
		p.printf("%s\n", s.Reply)
	}
	p.printf("score %s, %s\n", thousands(int(s.Score)), count(int(s.Solves), "solve"))
	if s.AttemptsLeft != nil && s.Verdict == "incorrect" {
		p.printf("%s left\n", count(int(*s.AttemptsLeft), "attempt"))
	}
	if len(s.Unlocked) > 0 {
		ids := make([]string, 0, len(s.Unlocked))
		for _, id := range s.Unlocked {
			ids = append(ids, string(id))
		}
		p.printf("unlocked %s\n", strings.Join(ids, ", "))
	}
}
