package partition

import (
	"sort"

	"github.com/tidwall/btree"

	"cairn/fsm"
)

// board is an order of rows: by key, then by team id.
type board = btree.BTreeG[Place]

func placeLess(a, b Place) bool {
	if a.Key != b.Key {
		return a.Key.Less(b.Key)
	}
	return a.Team < b.Team
}

func newBoard() *board {
	return btree.NewBTreeGOptions(placeLess, btree.Options{NoLocks: true})
}

// boards are the ranking indexes of a game: one of everybody listed, one for
// each division that somebody listed is in.
type boards struct {
	all       *board
	divisions map[string]*board // never ranged over
}

// standing is where a team belongs.
type standing struct {
	listed   bool
	place    Place
	division string
}

// standing says where t belongs under the installed rules. Listed are active,
// normal teams with a ranked solve or a score.
func (g *game) standing(t *team) standing {
	if !t.counted() || t.solves == 0 && t.score == 0 {
		return standing{}
	}
	return standing{true, Place{g.rankKey(t), t.id}, t.division}
}

// counted reports whether t takes part in the competition.
func (t *team) counted() bool { return t.kind == Normal && t.status == Active }

// move takes a team from where it stood to where it stands.
func (b *boards) move(before, after standing) {
	if before == after {
		return
	}
	if before.listed {
		b.all.Delete(before.place)
		if d := b.divisions[before.division]; d != nil {
			if d.Delete(before.place); d.Len() == 0 {
				delete(b.divisions, before.division)
			}
		}
	}
	if after.listed {
		b.all.Set(after.place)
		if after.division != "" {
			b.division(after.division).Set(after.place)
		}
	}
}

func (b *boards) division(name string) *board {
	d := b.divisions[name]
	if d == nil {
		d = newBoard()
		b.divisions[name] = d
	}
	return d
}

// rank builds the boards anew: the rules, and with them every key, may be others.
func (g *game) rank() {
	g.boards = boards{all: newBoard(), divisions: map[string]*board{}}
	g.teams.Scan(func(_ fsm.TeamID, t *team) bool {
		g.boards.move(standing{}, g.standing(t))
		return true
	})
}

// of returns the board of a division, or of everybody; nil: nobody is on it.
func (b *boards) of(division string) *board {
	if division == "" {
		return b.all
	}
	return b.divisions[division]
}

// countUntil counts the rows before the first one that past reports true for.
// past must be false for a row only if it is for all before it.
func countUntil(b *board, past func(Place) bool) int {
	return sort.Search(b.Len(), func(i int) bool {
		row, _ := b.GetAt(i)
		return past(row)
	})
}

// better counts the rows whose key is strictly better.
func better(b *board, key RankKey) int {
	return countUntil(b, func(row Place) bool { return !row.Key.Less(key) })
}

// page reads at most limit rows after a place (nil: from the top).
func (g *game) page(division string, after *Place, limit int) Page {
	p := Page{AsOf: g.tally.newest}
	b := g.boards.of(division)
	if b == nil {
		return p
	}
	p.Total = b.Len()
	if after != nil {
		p.Better = better(b, after.Key)
		p.Before = countUntil(b, func(row Place) bool { return placeLess(*after, row) })
	}
	first, ok := b.GetAt(p.Before)
	if !ok || limit <= 0 {
		return p
	}
	p.Rows = make([]Row, 0, min(limit, p.Total-p.Before))
	b.Ascend(first, func(row Place) bool {
		p.Rows = append(p.Rows, g.row(row))
		return len(p.Rows) < limit
	})
	return p
}

func (g *game) row(p Place) Row {
	t, _ := g.teams.Get(p.Team)
	finished, _ := g.finishedAt(t)
	return Row{
		Place: p, Name: t.name, Division: t.division, Score: t.score, Solves: t.solves,
		FinishedAt: finished, LastSolve: t.lastSolve,
	}
}
