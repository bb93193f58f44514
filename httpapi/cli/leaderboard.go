package cli

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

func (a *app) leaderboardCommand() *cobra.Command {
	var limit int
	var watch, strong bool
	var division string
	cmd := &cobra.Command{
		Use:     "leaderboard HUNT",
		Aliases: []string{"board"},
		Short:   "Show a hunt's leaderboard",
		GroupID: groupHunt,
		Example: `  cairn leaderboard sample --limit 10 --watch
  cairn leaderboard sample --limit 0 -o json > final.json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeHunt,
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if limit < 0 {
				return usagef("--limit must not be negative")
			}
			return a.show(ctx, watch, func(ctx context.Context) (answer, error) {
				cons := client.Default
				if strong {
					cons = client.Strong
				}
				board, err := wholeBoard(ctx, c, fsm.HuntID(args[0]), division, limit, cons)
				if err != nil {
					return answer{}, err
				}
				return answer{board, func(p *page) { boardText(p, board) }}, nil
			})
		}),
	}
	f := cmd.Flags()
	f.IntVarP(&limit, "limit", "n", 100, "at most `N` rows; 0: all")
	f.StringVar(&division, "division", "", "only this `DIVISION`")
	f.BoolVar(&strong, "strong", false, "count everything acknowledged before, not up to 1 s less")
	watchFlag(cmd, &watch)
	return a.online(cmd)
}

// wholeBoard merges pages up to limit rows (0: all). The pages of a board that
// moves are of different moments; as_of and frozen are the first page's.
func wholeBoard(ctx context.Context, c *client.Client, hunt fsm.HuntID, division string, limit int, cons client.Consistency) (*rest.Leaderboard, error) {
	var board *rest.Leaderboard
	return board, pages(func(token string) (string, error) {
		size := maxPage
		if limit > 0 {
			have := 0
			if board != nil {
				have = len(board.Leaderboard)
			}
			size = min(size, limit-have)
		}
		page, err := c.Leaderboard(ctx, hunt, division, client.Page{Size: size, Token: token, Consistency: cons})
		if err != nil {
			return "", err
		}
		next := page.NextPageToken
		page.NextPageToken = ""
		if board == nil {
			board = page
		} else {
			board.Leaderboard = append(board.Leaderboard, page.Leaderboard...)
		}
		if limit > 0 && len(board.Leaderboard) >= limit {
			return "", nil
		}
		return next, nil
	})
}

func boardText(p *page, b *rest.Leaderboard) {
	p.table(boardTable(b.Leaderboard))
	switch {
	case b.Frozen:
		p.printf("\nfrozen; as of %s\n", when(b.AsOf))
	case b.AsOf != nil:
		p.printf("\nas of %s\n", when(b.AsOf))
	}
}

func boardTable(rows []rest.Row) *table {
	t := newTable(">RANK", "TEAM", "NAME", ">SCORE", ">SOLVES", "LAST SOLVE", "FINISHED")
	for _, r := range rows {
		t.add(strconv.Itoa(r.Rank), string(r.Team), r.Name, thousands(int(r.Score)), strconv.FormatUint(uint64(r.Solves), 10), when(r.LastSolve), when(r.FinishedAt))
	}
	return t
}
