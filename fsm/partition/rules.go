package partition

import "cairn/fsm"

// Limits of a hunt's rules, refused by Validate.
const (
	MaxClues    = 2_000
	MaxPoints   = 1_000_000 // of one clue
	MaxConds    = 1 << 18   // conditions of all clues, counted with those inside them
	MaxDepth    = 32        // conditions inside conditions
	MaxCriteria = len(RankKey{})
)

// State is the organiser's switch of a hunt; with Open the schedule decides.
type State uint8

const (
	Open State = iota // the default
	Draft
	Paused
	Closed
)

// Criterion is one element of a hunt's ranking.
type Criterion uint8

const (
	ByPoints    Criterion = iota // more is better
	BySolves                     // more is better
	ByFinish                     // earlier is better; those without come after
	ByLastSolve                  // earlier is better
)

// Rules are what Apply needs to know of a hunt: no prompts, no answers.
type Rules struct {
	State        State
	Starts, Ends fsm.Time // zero: started long ago, never ends
	Unranked     bool     // after the end submissions are recorded but not ranked; else refused
	Registration bool     // teams may register themselves
	Ranking      []Criterion
	Finish       fsm.ClueID // empty: none
	Clues        []ClueRule // at most 2,000
}

// ClueRule is a clue's part of the rules.
type ClueRule struct {
	ID     fsm.ClueID
	Round  string // empty: none
	Points int64
	Limit  uint32 // attempts; 0: no limit
	Unlock Cond   // the zero Cond is always true; a round's condition is already joined in
}

// CondOp is the operator of a Cond. Values are stored: append only.
type CondOp uint8

const (
	Always  CondOp = iota
	Solved         // clue Clue is solved by this team
	All            // every one of Of
	Any            // at least one of Of
	AtLeast        // at least K of Of
)

// Cond is an unlock condition, a tree of bounded depth.
type Cond struct {
	Op   CondOp
	Clue uint16 // Solved: index into Rules.Clues
	K    int    // AtLeast
	Of   []Cond
}
