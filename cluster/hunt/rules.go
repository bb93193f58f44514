package hunt

import (
	"slices"

	"cairn/fsm"
	"cairn/fsm/partition"
)

// Rules compiles a valid document into what Apply needs. The document's own
// state is only where a hunt begins; state is the one that holds now. A round's
// condition is joined into those of its clues, and "k of a round" is spelled
// out. The error is TooLarge if the encoding would not fit into a log entry.
func (d *Document) Rules(state partition.State) (*partition.Rules, error) {
	c := newCompiler(d)
	rules := &partition.Rules{
		State:        state,
		Starts:       d.StartsAt,
		Ends:         d.EndsAt,
		Unranked:     d.UnrankedAfterEnd,
		Registration: d.OpenRegistration,
		Finish:       d.FinishClue,
		Clues:        make([]partition.ClueRule, len(d.Clues)),
	}
	for _, word := range d.Ranking {
		rules.Ranking = append(rules.Ranking, partition.Criterion(slices.Index(criteria[:], word)))
	}
	for i := range d.Clues {
		rules.Clues[i] = c.clue(&d.Clues[i])
	}
	if n := len(rules.Encode()); n > MaxRules {
		return nil, fsm.Errorf(fsm.TooLarge,
			"the rules of the hunt take %d bytes, more than the %d that are allowed: use simpler unlock conditions or fewer clues", n, MaxRules)
	}
	return rules, nil
}

// compiler turns ids into the indexes that compiled conditions use.
type compiler struct {
	clues  map[fsm.ClueID]uint16
	rounds map[string]partition.Cond   // condition of each round
	inside map[string][]partition.Cond // "solved" for each clue of a round
}

func newCompiler(d *Document) *compiler {
	c := &compiler{
		clues:  make(map[fsm.ClueID]uint16, len(d.Clues)),
		rounds: make(map[string]partition.Cond, len(d.Rounds)),
		inside: map[string][]partition.Cond{},
	}
	for i, clue := range d.Clues {
		c.clues[clue.ID] = uint16(i)
		if clue.Round != "" {
			c.inside[clue.Round] = append(c.inside[clue.Round], c.solved(clue.ID))
		}
	}
	for _, round := range d.Rounds {
		c.rounds[round.ID] = c.cond(round.Unlock)
	}
	return c
}

func (c *compiler) clue(clue *Clue) partition.ClueRule {
	unlock, round := c.cond(clue.Unlock), c.rounds[clue.Round]
	switch {
	case unlock.Op == partition.Always:
		unlock = round
	case round.Op != partition.Always:
		unlock = partition.Cond{Op: partition.All, Of: []partition.Cond{round, unlock}}
	}
	return partition.ClueRule{
		ID: clue.ID, Round: clue.Round, Points: clue.Points, Limit: uint32(clue.AttemptLimit), Unlock: unlock,
	}
}

func (c *compiler) cond(in Condition) partition.Cond {
	switch {
	case in.Op == partition.Always:
		return partition.Cond{}
	case in.Op == partition.Solved:
		return c.solved(in.Clue)
	case in.Round != "":
		return partition.Cond{Op: partition.AtLeast, K: in.K, Of: c.inside[in.Round]}
	}
	out := partition.Cond{Op: in.Op, K: in.K, Of: make([]partition.Cond, len(in.Of))}
	for i := range in.Of {
		out.Of[i] = c.cond(in.Of[i])
	}
	return out
}

func (c *compiler) solved(id fsm.ClueID) partition.Cond {
	return partition.Cond{Op: partition.Solved, Clue: c.clues[id]}
}
