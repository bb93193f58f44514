package partition

import "cairn/fsm"

// tally is a game's statistics, kept up with every record.
type tally struct {
	verdicts [Verdicts]int
	clues    []clueTally // by number in the dictionary
	newest   fsm.Time    // event time of the newest ranked solve, whoever solved
}

type clueTally struct {
	solved    int
	attempts  int
	first     fsm.Time   // of the earliest ranked solve of a counted team; the smaller id wins a tie
	firstTeam fsm.TeamID // empty: none
}

// count takes a record of t into the statistics.
func (g *game) count(t *team, rec *record) {
	g.tally.verdicts[rec.verdict]++
	c := &g.tally.clues[rec.clue]
	switch rec.verdict {
	case VerdictIncorrect:
		c.attempts++
	case VerdictCorrect:
		c.solved++
		if rec.ranked {
			g.tally.newest = max(g.tally.newest, rec.at)
			if t.counted() {
				c.offer(rec.at, t.id)
			}
		}
	}
}

// offer makes a solve the first one if it is earlier than the one known.
func (c *clueTally) offer(at fsm.Time, id fsm.TeamID) {
	if c.firstTeam == "" || at < c.first || at == c.first && id < c.firstTeam {
		c.first, c.firstTeam = at, id
	}
}

// recountFirsts corrects the first solves after t began or ceased to count. It
// looks at every team only if t held a first solve: an organiser's change, and
// a price that no submission pays.
func (g *game) recountFirsts(t *team) {
	if t.counted() {
		g.offerFirsts(t)
		return
	}
	lost := false
	for _, p := range t.tried {
		if c := &g.tally.clues[p.clue]; p.ranked && c.firstTeam == t.id {
			c.first, c.firstTeam = 0, ""
			lost = true
		}
	}
	if !lost {
		return
	}
	g.teams.Scan(func(_ fsm.TeamID, other *team) bool {
		if other.counted() {
			g.offerFirsts(other)
		}
		return true
	})
}

func (g *game) offerFirsts(t *team) {
	for _, p := range t.tried {
		if p.ranked {
			g.tally.clues[p.clue].offer(p.solvedAt, t.id)
		}
	}
}

// stats are the counts as the API shows them: the hunt's clues in its order,
// then those it dropped, as far as they have counts.
func (g *game) stats() Stats {
	s := Stats{Teams: g.teams.Len(), Submissions: g.tally.verdicts}
	for i, n := range g.clues {
		s.Clues = append(s.Clues, g.clueStats(g.rules.Clues[i].ID, n))
	}
	for n, id := range g.dict {
		if _, present := g.index[id]; !present {
			if c := g.clueStats(id, uint32(n)); c.Solved > 0 || c.Attempts > 0 {
				s.Clues = append(s.Clues, c)
			}
		}
	}
	return s
}

func (g *game) clueStats(id fsm.ClueID, n uint32) ClueStats {
	c := &g.tally.clues[n]
	return ClueStats{ID: id, Solved: c.solved, Attempts: c.attempts, FirstSolve: c.first, FirstTeam: c.firstTeam}
}
