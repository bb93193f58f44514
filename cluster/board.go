package cluster

import (
	"context"
	"slices"
	"strings"
	"sync"

	"cairn/fsm"
	"cairn/fsm/partition"
	"cairn/fsm/wire"
)

// askAll asks every partition one question and hands each answer to take, never
// two at once. The freshness is that of the stalest answer.
func (n *Node) askAll(ctx context.Context, c Consistency, q query, take func(p fsm.PartitionID, r *wire.Reader)) (Freshness, error) {
	var mu sync.Mutex
	var fresh Freshness
	err := n.allPartitions(ctx, func(p fsm.PartitionID) error {
		one := q
		one.read = func(r *wire.Reader) {
			mu.Lock()
			defer mu.Unlock()
			take(p, r)
		}
		f, err := n.ask(ctx, p, c, one)
		mu.Lock()
		defer mu.Unlock()
		fresh = max(fresh, f)
		return err
	})
	return fresh, err
}

// Rank is a team's rank on its hunt's board, given its key: one more than the
// teams that are strictly better.
func (n *Node) Rank(ctx context.Context, h HuntRef, key partition.RankKey) (int, error) {
	better := 0
	_, err := n.askAll(ctx, Default, query{hunt: h, what: askBetter, args: func(w *wire.Writer) {
		partition.AppendPlace(w, &partition.Place{Key: key})
	}}, func(_ fsm.PartitionID, r *wire.Reader) { better += r.Int(1 << 31) })
	return better + 1, err
}

// Teams lists a hunt's teams by id, after one, over all partitions.
func (n *Node) Teams(ctx context.Context, h HuntRef, after fsm.TeamID, limit int, c Consistency) ([]partition.Team, Freshness, error) {
	var out []partition.Team
	fresh, err := n.askAll(ctx, c, query{hunt: h, what: askTeams, args: func(w *wire.Writer) {
		w.String(string(after))
		w.Uvarint(uint64(limit))
	}}, func(_ fsm.PartitionID, r *wire.Reader) { out = append(out, partition.ReadTeams(r)...) })
	slices.SortFunc(out, func(a, b partition.Team) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out[:min(limit, len(out))], fresh, err
}

// Board returns one page of a hunt's board with exact ranks, merged from the
// pages of all partitions: see partition.Page for how.
func (n *Node) Board(ctx context.Context, h HuntRef, q BoardQuery) (*BoardPage, Freshness, error) {
	var pages []partition.Page
	fresh, err := n.askAll(ctx, q.Consistency, query{hunt: h, what: askBoard, args: func(w *wire.Writer) {
		w.String(q.Division)
		w.Uvarint(uint64(q.Limit + 1)) // one more tells whether there is a next page
		w.Bool(q.After != nil)
		if q.After != nil {
			partition.AppendPlace(w, q.After)
		}
	}}, func(_ fsm.PartitionID, r *wire.Reader) { pages = append(pages, partition.ReadPage(r)) })
	if err != nil {
		return nil, 0, err
	}
	return merge(pages, q.After, q.Limit), fresh, nil
}

// merge makes one page out of every partition's page for the same cursor.
func merge(pages []partition.Page, after *partition.Place, limit int) *BoardPage {
	out := &BoardPage{}
	before, better := 0, 0
	for _, p := range pages {
		out.Rows = append(out.Rows, p.Rows...)
		out.AsOf = max(out.AsOf, p.AsOf)
		before += p.Before
		better += p.Better
	}
	slices.SortFunc(out.Rows, func(a, b partition.Row) int { return comparePlaces(a.Place, b.Place) })
	if out.More = len(out.Rows) > limit; out.More {
		out.Rows = out.Rows[:limit]
	}
	for i, row := range out.Rows {
		switch {
		case i > 0 && row.Key == out.Rows[i-1].Key:
			out.Ranks = append(out.Ranks, out.Ranks[i-1])
		case i == 0 && after != nil && row.Key == after.Key:
			out.Ranks = append(out.Ranks, better+1)
		default:
			out.Ranks = append(out.Ranks, before+i+1)
		}
	}
	return out
}

func comparePlaces(a, b partition.Place) int {
	switch {
	case a.Key.Less(b.Key):
		return -1
	case b.Key.Less(a.Key):
		return 1
	}
	return strings.Compare(string(a.Team), string(b.Team))
}

// Stats are a hunt's counts over all partitions, its clues in the hunt's order;
// clues that the hunt no longer has come last, by id.
func (n *Node) Stats(ctx context.Context, h HuntRef, c Consistency) (*partition.Stats, Freshness, error) {
	var out partition.Stats
	clues := map[fsm.ClueID]partition.ClueStats{}
	fresh, err := n.askAll(ctx, c, query{hunt: h, what: askStats}, func(_ fsm.PartitionID, r *wire.Reader) {
		s := partition.ReadStats(r)
		out.Teams += s.Teams
		for v := range s.Submissions {
			out.Submissions[v] += s.Submissions[v]
		}
		for _, clue := range s.Clues {
			clues[clue.ID] = addClue(clues[clue.ID], clue)
		}
	})
	if err != nil {
		return nil, 0, err
	}
	rules, err := n.hunt(ctx, h.ID, h.Incarnation)
	if err != nil {
		return nil, 0, err
	}
	for i := range rules.document.Clues {
		clue := clues[rules.document.Clues[i].ID]
		clue.ID = rules.document.Clues[i].ID // of a clue that nobody has tried
		out.Clues = append(out.Clues, clue)
		delete(clues, clue.ID)
	}
	out.Clues = append(out.Clues, sortedValues(clues)...)
	return &out, fresh, nil
}

// addClue adds up two partitions' counts of a clue; the earlier first solve
// stays, by team id if they are of one instant.
func addClue(a, b partition.ClueStats) partition.ClueStats {
	b.Solved += a.Solved
	b.Attempts += a.Attempts
	earlier := a.FirstSolve < b.FirstSolve || a.FirstSolve == b.FirstSolve && a.FirstTeam < b.FirstTeam
	if a.FirstSolve != 0 && (b.FirstSolve == 0 || earlier) {
		b.FirstSolve, b.FirstTeam = a.FirstSolve, a.FirstTeam
	}
	return b
}
