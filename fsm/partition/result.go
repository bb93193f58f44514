package partition

import "cairn/fsm"

// Verdict is the judgement of a recorded submission. Values are stored: append
// only.
type Verdict uint8

const (
	VerdictIncorrect Verdict = iota
	VerdictCorrect
	VerdictNudge
	VerdictDuplicate     // the same wrong answer again: no attempt spent
	VerdictAlreadySolved // no attempt spent
	verdictEnd
)

// Verdicts is the number of verdicts.
const Verdicts = int(verdictEnd)

// String returns the API's word for v.
func (v Verdict) String() string {
	return [...]string{"incorrect", "correct", "nudge", "duplicate", "already_solved"}[v]
}

// Result is what Apply returns for one command: Err, or the field of its kind.
type Result struct {
	Err        *fsm.Error
	Submission *Submission // Submit
	Team       *Team       // CreateTeam, PatchTeam, RotateToken
	Created    bool        // CreateTeam: the team is new
	Checkpoint bool        // Checkpoint: the state behind this entry is to be hashed
}

// Submission is a recorded submission with everything the API tells of it.
type Submission struct {
	Number   uint32 // the team's count from 1
	Key      string
	Verdict  Verdict
	Clue     fsm.ClueID
	At       fsm.Time // event time
	Version  uint64   // of the hunt it was judged under
	Points   int64    // awarded by this submission
	Score    int64    // of the team after it
	Solves   uint32   // of the team after it; ranked ones only
	Attempts uint32   // spent on the clue after it
	Limit    uint32   // attempts the clue allows; 0 for no limit
	Reply    string
	Unlocked []fsm.ClueID // by this submission, in the hunt's order
	Ranked   bool
	Replayed bool // the key was known; nothing was counted again
	Answer   string
	Player   string
}

// Team is a team as the API shows it.
type Team struct {
	ID         fsm.TeamID
	Name       string
	Kind       TeamKind
	Status     TeamStatus
	Division   string
	Meta       string // JSON object or empty
	Created    fsm.Time
	Generation uint32 // of its token; for CreateTeam the one at creation
	Score      int64
	Solves     uint32
	FinishedAt fsm.Time // zero: has not finished
	LastSolve  fsm.Time // zero: no ranked solve
	Submitted  uint32   // recorded submissions
	Listed     bool     // has a place on the board
	Rank       RankKey  // its place, comparable across partitions; set when Listed
	Version    uint64   // of the hunt's rules in this partition
	Clues      []Clue   // unlocked clues in the hunt's order; filled by Machine.Team only
}

// Clue is a team's state of one unlocked clue.
type Clue struct {
	ID       fsm.ClueID
	Attempts uint32
	Limit    uint32 // 0: none
	SolvedAt fsm.Time
	Ranked   bool // the solve counts
}

// RankKey orders teams: smaller is better, compared element by element, equal
// keys share a rank. Unused elements are zero.
type RankKey [4]int64

// Less reports whether k ranks strictly before o.
func (k RankKey) Less(o RankKey) bool {
	for i := range k {
		if k[i] != o[i] {
			return k[i] < o[i]
		}
	}
	return false
}

// Place is a position on a board: rows are ordered by key, then by team id.
type Place struct {
	Key  RankKey
	Team fsm.TeamID
}

// Row is one team on a board.
type Row struct {
	Place
	Name       string
	Division   string
	Score      int64
	Solves     uint32
	FinishedAt fsm.Time
	LastSolve  fsm.Time
}

// Page is one partition's part of a board page.
//
// To merge the pages of all partitions taken with one cursor: order the rows by
// Place and keep the first limit; the i-th of them stands at position sum(Before)+i.
// Its rank is 1 + the position of the first row with its key; for rows whose
// key is the cursor's that is 1 + sum(Better).
type Page struct {
	Rows   []Row
	Before int      // listed rows at or before the cursor
	Better int      // listed rows whose key is strictly better than the cursor's
	Total  int      // listed rows
	AsOf   fsm.Time // event time of the newest event counted in this partition; zero: none
}

// Stats are a hunt's counts in one partition.
type Stats struct {
	Teams       int
	Submissions [Verdicts]int
	Clues       []ClueStats // in the hunt's order, then removed clues
}

// ClueStats are the counts of one clue over all teams; FirstSolve is the
// earliest ranked solve of a normal, active team.
type ClueStats struct {
	ID         fsm.ClueID
	Solved     int
	Attempts   int
	FirstSolve fsm.Time
	FirstTeam  fsm.TeamID
}

// Installed says which version of a hunt a partition judges under.
type Installed struct {
	Incarnation fsm.Incarnation
	Version     uint64
	Deleted     bool
}
