package faulttest

import (
	"cmp"
	"slices"
	"time"

	"cairn/fsm"
)

// evidence is a history, sorted for the checkers.
type evidence struct {
	ops   []Op
	end   time.Duration // behind everything
	teams []fsm.TeamID  // all that are named, in order

	attempts  map[fsm.TeamID]map[string][]*Op // of each key, in the order of their calls
	histories map[fsm.TeamID][]*Op            // read at the end, one a node
	edits     []*Op                           // that were answered
	numbers   map[uint64]int                  // the document of a version, where it is known
}

// newEvidence sorts a history. Of contradictions about the documents of versions it
// keeps the first; checkVersions finds them.
func newEvidence(ops []Op) *evidence {
	e := &evidence{
		ops: ops, attempts: map[fsm.TeamID]map[string][]*Op{},
		histories: map[fsm.TeamID][]*Op{}, numbers: map[uint64]int{},
	}
	slices.SortStableFunc(e.ops, func(a, b Op) int { return cmp.Compare(a.Call, b.Call) })
	for i := range e.ops {
		op := &e.ops[i]
		e.end = max(e.end, op.Return+1)
		switch op.Kind {
		case Submit:
			if e.attempts[op.Team] == nil {
				e.attempts[op.Team] = map[string][]*Op{}
			}
			e.attempts[op.Team][op.Key] = append(e.attempts[op.Team][op.Key], op)
		case History:
			e.histories[op.Team] = append(e.histories[op.Team], op)
		case Edit, ReadHunt:
			if _, known := e.numbers[op.Version]; op.Outcome == OK && !known {
				e.numbers[op.Version] = op.Number
			}
		}
		if op.Kind == Edit && op.Outcome == OK {
			e.edits = append(e.edits, op)
		}
		if op.Team != "" && !slices.Contains(e.teams, op.Team) {
			e.teams = append(e.teams, op.Team)
		}
	}
	slices.Sort(e.teams)
	return e
}

// recorded is a team's history as the first node that could tell has it; false if
// none could.
func (e *evidence) recorded(team fsm.TeamID) ([]Result, bool) {
	for _, op := range e.histories[team] {
		if op.Outcome == OK {
			return op.Results, true
		}
	}
	return nil, false
}

// matchOf says whether an answer matches under a version.
func (e *evidence) matchOf(clue int, answer string, version uint64) match {
	want := right
	if clue >= dated {
		number, known := e.numbers[version]
		if !known {
			return unsure
		}
		want = datedAnswer(number)
	}
	if answer == want {
		return matches
	}
	return differs
}

// byKey indexes results.
func byKey(results []Result) map[string]Result {
	out := make(map[string]Result, len(results))
	for _, r := range results {
		out[r.Key] = r
	}
	return out
}
