package faulttest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"cairn/fsm"
)

// Kind says what an Op is.
type Kind string

// Kinds of calls, and Fault, which is no call but what was done to the cluster.
const (
	Submit     Kind = "submit"     // an answer: Team, Clue, Answer, Key -> Result
	ReadTeam   Kind = "team"       // a default read of a team: Team -> State
	ReadBoard  Kind = "board"      // a strong board: -> Board
	Edit       Kind = "edit"       // the hunt's document becomes another: Number -> Version
	ReadHunt   Kind = "hunt"       // -> Version, Number
	ReadTable  Kind = "table"      // the partition table as one node has it: -> Table
	History    Kind = "history"    // all of a team's submissions, at the end: Team -> Results
	FinalBoard Kind = "finalboard" // a strong board, at the end: -> Board
	Hashes     Kind = "hashes"     // of the replicas' states, at the end: -> Hashes
	Fault      Kind = "fault"      // Text; Return is when it was over
)

// Outcome is what a client knows after a call.
type Outcome string

const (
	OK      Outcome = "ok"      // done, or read
	Refused Outcome = "refused" // by the rules of the game, which tells of the state: see Code
	None    Outcome = "none"    // nothing was done, says the cluster
	Unknown Outcome = "unknown" // it may have happened, or may yet
	Wrong   Outcome = "wrong"   // an answer that this workload can never get
)

// Op is one call of one client, or a fault. Times are since the run's beginning.
type Op struct {
	Client int           `json:"client"`
	Node   int           `json:"node"` // who was asked, from 0
	Kind   Kind          `json:"kind"`
	Call   time.Duration `json:"call"`
	Return time.Duration `json:"return"`

	Outcome Outcome `json:"outcome,omitempty"`
	Code    string  `json:"code,omitempty"` // of the error
	Text    string  `json:"text,omitempty"` // of the error, or the fault

	Team   fsm.TeamID `json:"team,omitempty"`
	Clue   fsm.ClueID `json:"clue,omitempty"`
	Answer string     `json:"answer,omitempty"`
	Key    string     `json:"key,omitempty"`
	Number int        `json:"number,omitempty"` // of the document, see Document

	Result  *Result  `json:"result,omitempty"`
	State   *State   `json:"state,omitempty"`
	Board   []Row    `json:"board,omitempty"`
	Version uint64   `json:"version,omitempty"`
	Table   *Table   `json:"table,omitempty"`
	Results []Result `json:"results,omitempty"` // oldest first
	Hashes  []Hash   `json:"hashes,omitempty"`
}

// Result is a recorded submission, as its team is told of it.
type Result struct {
	Number   int        `json:"number"` // the team's count from 1
	Key      string     `json:"key"`
	Clue     fsm.ClueID `json:"clue"`
	Answer   string     `json:"answer"` // only in a History
	Verdict  string     `json:"verdict"`
	At       fsm.Time   `json:"at"`
	Version  uint64     `json:"version"` // of the hunt
	Points   int64      `json:"points"`
	Score    int64      `json:"score"`
	Solves   int        `json:"solves"`
	Attempts int        `json:"attempts"`
	Replayed bool       `json:"replayed,omitempty"` // not in a History
}

// same reports whether two tellings are of one submission, told alike.
func (r Result) same(o Result) bool {
	r.Replayed, r.Answer = o.Replayed, o.Answer
	return r == o
}

// State is what a team's read shows.
type State struct {
	Score  int64       `json:"score"`
	Solves int         `json:"solves"`
	Clues  []ClueState `json:"clues"` // the unlocked ones, in the hunt's order
}

// ClueState is a clue of a State.
type ClueState struct {
	ID       fsm.ClueID `json:"id"`
	Attempts int        `json:"attempts"`
	Solved   bool       `json:"solved"`
}

// Row is a team on a board.
type Row struct {
	Rank      int        `json:"rank"`
	Team      fsm.TeamID `json:"team"`
	Score     int64      `json:"score"`
	Solves    int        `json:"solves"`
	LastSolve fsm.Time   `json:"last_solve"` // zero: none
}

// Table is the partition table as one node has it. Life counts that node's starts: a
// node that starts again begins with what its log has.
type Table struct {
	Life    int      `json:"life"`
	Version uint64   `json:"version"`
	Epochs  []uint64 `json:"epochs,omitempty"` // by partition; none: not told
}

// Hash is the hash of one replica's state at its partition's checkpoint.
type Hash struct {
	Partition int    `json:"partition"`
	Node      string `json:"node"`
	Sum       string `json:"sum"` // empty: it did not say
}

// OutcomeOf sorts an error of a call.
func OutcomeOf(err error) (o Outcome, code string) {
	if err == nil {
		return OK, ""
	}
	kind := fsm.KindOf(err)
	switch kind {
	case fsm.OutcomeUnknown, fsm.Internal:
		o = Unknown
	case fsm.Unavailable, fsm.Overloaded, fsm.RateLimited, fsm.NotLeader:
		o = None
	case fsm.ClueLocked, fsm.AttemptsExhausted, fsm.PreconditionFailed:
		o = Refused
	default:
		o = Wrong
	}
	return o, kind.String()
}

// Log collects a history. Its methods may be called at the same time.
type Log struct {
	begin time.Time

	mu  sync.Mutex
	out *json.Encoder // nil: kept in memory only
	ops []Op
	err error // of the first write that failed
}

// NewLog returns a log whose times count from begin. Every Op is written to w at
// once, if it is not nil, so that a run that is cut short leaves what it saw.
func NewLog(begin time.Time, w io.Writer) *Log {
	l := &Log{begin: begin}
	if w != nil {
		l.out = json.NewEncoder(w)
	}
	return l
}

// Now is the time of the log's clock.
func (l *Log) Now() time.Duration { return time.Since(l.begin) }

// Add adds an op.
func (l *Log) Add(op Op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ops = append(l.ops, op)
	if l.out != nil && l.err == nil {
		l.err = l.out.Encode(op)
	}
}

// Fault adds what is done to the cluster, and returns the function that says that it
// is over.
func (l *Log) Fault(text string) (over func()) {
	from := l.Now()
	return sync.OnceFunc(func() { l.Add(Op{Kind: Fault, Text: text, Call: from, Return: l.Now()}) })
}

// Ops returns the history so far, and the error of writing it down.
func (l *Log) Ops() ([]Op, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Op(nil), l.ops...), l.err
}

// maxLine of a history, in bytes: a History or a board has a line.
const maxLine = 64 << 20

// ReadOps reads what a Log wrote. A last line that was cut off, by the end of the
// process that wrote it, is left out.
func ReadOps(r io.Reader) ([]Op, error) {
	var ops []Op
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	var bad error
	for n := 1; s.Scan(); n++ {
		if bad != nil {
			return nil, bad
		}
		var op Op
		if err := json.Unmarshal(s.Bytes(), &op); err != nil {
			bad = fmt.Errorf("line %d of the history: %w", n, err)
			continue
		}
		ops = append(ops, op)
	}
	return ops, s.Err()
}
