package hunt

import (
	"cmp"
	"sync"

	"cairn/fsm"
	"cairn/fsm/partition"
)

// Limits of a document. Beyond MaxDocument it is TooLarge; beyond any other it
// is Invalid, with the path of what is too large.
const (
	MaxDocument       = 16 << 20 // bytes of the whole document
	MaxValues         = 500_000  // JSON values in it: bounds the memory of reading it
	MaxNesting        = 64       // lists and objects within each other
	MaxClues          = 2_000
	MaxRounds         = 500
	MaxAnswers        = 1_000     // answers of a clue; nudges likewise
	MaxHints          = 100       // of a clue
	MaxText           = 64 << 10  // bytes of a description, prompt, solution or hint
	MaxNameChars      = 200       // characters of a name or title
	MaxAnswerChars    = 1_000     // characters of an answer
	MaxPoints         = 1_000_000 // of a clue; a hint's cost likewise
	MaxAttempts       = 1_000_000 // attempt limit of a clue
	MaxConditionDepth = 16        // conditions within each other
	MaxConditions     = 250_000   // conditions of all clues, rounds spelled out
	MaxRules          = 240 << 10 // bytes of the encoded rules: one log entry holds them
)

// Document is a hunt as its organiser wrote it, defaults filled in. It is not
// changed once it is made, and may then be used by many goroutines.
type Document struct {
	ID               fsm.HuntID
	Title            string // up to MaxNameChars; empty: show the id
	Description      string
	Public           bool     // anyone may read the public view and the board; default true
	OpenRegistration bool     // teams may register themselves
	State            string   // the organiser's switch at creation; see ParseState
	StartsAt         fsm.Time // zero: started already
	EndsAt           fsm.Time // zero: never
	UnrankedAfterEnd bool     // submissions after the end are recorded unranked; else refused
	Ranking          []string // of points, solves, finish, last_solve; most important first
	FinishClue       fsm.ClueID
	Rounds           []Round
	Clues            []Clue

	indexOnce sync.Once
	index     map[fsm.ClueID]int
}

// Round groups clues. Its condition must hold for any of its clues to be unlocked.
type Round struct {
	ID     string
	Title  string // empty: show the id
	Unlock Condition
}

// Clue is one puzzle.
type Clue struct {
	ID           fsm.ClueID
	Round        string // empty: none
	Title        string // empty: show the id
	Prompt       string // Markdown
	Solution     string // Markdown, shown once the hunt is closed
	Points       int64
	Answers      []Answer // accepted
	Nudges       []Answer // near-answers: they cost no attempt and are answered with their reply
	Unlock       Condition
	Hints        []Hint
	AttemptLimit int // wrong answers allowed; 0: any number
}

// Answer is an accepted text, or a near-answer.
type Answer struct {
	Value     string
	Normalize Normalisation
	Reply     string // shown to who gives it; at most partition.MaxReply bytes
}

// Hint is listed with its clue. Taking hints is not part of this version.
type Hint struct {
	ID   string
	Text string // Markdown
	Cost int64  // points
}

// Condition says when something unlocks for a team. The zero Condition always
// holds. The operators are those of the compiled form, with one more way to
// write AtLeast: Round in place of Of.
type Condition struct {
	Op    partition.CondOp
	Clue  fsm.ClueID  // Solved
	K     int         // AtLeast: how many, from 1
	Of    []Condition // All, Any, AtLeast
	Round string      // AtLeast: of the clues of this round
}

// States, in the order of partition.State.
var states = [...]string{"open", "draft", "paused", "closed"}

// defaultRanking is the ranking of a document that gives none.
var defaultRanking = []string{"points", "last_solve"}

// criteria are the words of a ranking, in the order of partition.Criterion.
var criteria = [...]string{"points", "solves", "finish", "last_solve"}

// ParseState returns the state of a word of the API; ok is false for any other word.
func ParseState(word string) (s partition.State, ok bool) {
	for i, w := range states {
		if w == word {
			return partition.State(i), true
		}
	}
	return 0, false
}

// newDocument returns a document of nothing but defaults.
func newDocument() *Document {
	return &Document{Public: true, State: states[partition.Open], Ranking: defaultRanking}
}

// Clue returns the clue with an id; nil if there is none.
func (d *Document) Clue(id fsm.ClueID) *Clue {
	d.indexOnce.Do(func() {
		d.index = make(map[fsm.ClueID]int, len(d.Clues))
		for i := range d.Clues {
			d.index[d.Clues[i].ID] = i
		}
	})
	if i, ok := d.index[id]; ok {
		return &d.Clues[i]
	}
	return nil
}

// DisplayTitle is the title, or the id of a hunt without one.
func (d *Document) DisplayTitle() string { return cmp.Or(d.Title, string(d.ID)) }

// DisplayTitle is the title, or the id of a round without one.
func (r *Round) DisplayTitle() string { return cmp.Or(r.Title, r.ID) }

// DisplayTitle is the title, or the id of a clue without one.
func (c *Clue) DisplayTitle() string { return cmp.Or(c.Title, string(c.ID)) }
