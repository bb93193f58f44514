package faulttest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
)

// toy is a cluster in a map: it does everything right, at once, and tells nobody
// the wrong thing, unless it is told to have a bug.
type toy struct {
	bug  string
	slow func() // called before and after the work of each call

	mu      sync.Mutex
	calls   int
	teams   map[fsm.TeamID]*toyTeam
	number  int
	version uint64
	clock   fsm.Time
	tables  uint64
}

type toyTeam struct {
	state   teamState
	old     teamState // before the last submission
	results []Result
	keys    map[string]int
}

func newToy(bug string) *toy {
	return &toy{bug: bug, slow: func() { time.Sleep(3 * time.Millisecond) }, teams: map[fsm.TeamID]*toyTeam{}, version: 1, clock: 1000}
}

// enter begins a call, every n-th of which suffers from the toy's bug.
func (t *toy) enter() (leave func()) {
	t.slow()
	t.mu.Lock()
	t.calls++
	return func() { t.mu.Unlock(); t.slow() }
}

func (t *toy) has(bug string, every int) bool { return t.bug == bug && t.calls%every == 0 }

func (t *toy) team(id fsm.TeamID) *toyTeam {
	if t.teams[id] == nil {
		t.teams[id] = &toyTeam{keys: map[string]int{}}
	}
	return t.teams[id]
}

func (t *toy) Nodes() int { return 3 }

func (t *toy) Submit(_ context.Context, _ int, id fsm.TeamID, clue fsm.ClueID, answer, key string) (Result, error) {
	defer t.enter()()
	team := t.team(id)
	if n, known := team.keys[key]; known && !t.has("counts keys twice", 2) {
		r := team.results[n]
		r.Replayed = true
		if t.has("replays another answer", 5) {
			r.Verdict = "nudge"
		}
		return r, nil
	}
	if t.has("loses answers", 50) {
		return Result{Number: team.state.recorded + 1, Key: key, Clue: clue, Verdict: "incorrect", Attempts: 1, Version: t.version, At: t.clock}, nil
	}
	i := clueIndex(clue)
	switch {
	case !team.state.unlocked(i):
		return Result{}, fsm.Errorf(fsm.ClueLocked, "locked")
	case team.state.exhausted(i) || t.has("refuses for nothing", 30):
		return Result{}, fsm.Errorf(fsm.AttemptsExhausted, "exhausted")
	}
	r := t.record(team, clue, answer, key)
	switch {
	case t.has("does what it denies", 40):
		return Result{}, fsm.Errorf(fsm.Unavailable, "nothing was done")
	case t.calls%17 == 0:
		return Result{}, fsm.Errorf(fsm.OutcomeUnknown, "who knows")
	case t.has("answers nonsense", 100):
		return Result{}, fsm.Errorf(fsm.NotFound, "no such team")
	}
	return r, nil
}

func (t *toy) record(team *toyTeam, clue fsm.ClueID, answer, key string) Result {
	team.old = team.state
	i := clueIndex(clue)
	number, version := t.number, t.version
	if t.has("judges by an old document", 5) && number > 0 {
		number--
	}
	if t.has("judges under an old version", 5) && version > 1 {
		version--
	}
	m := move{op: &Op{Key: key, Clue: clue, Answer: answer}, clue: i, match: differs}
	if i >= dated && answer == datedAnswer(number) || i < dated && answer == right {
		m.match = matches
	}
	var r Result
	team.state, r = team.state.submit(m)
	t.clock++
	r.At, r.Version = t.clock, version
	if t.has("has a clock that runs back", 20) {
		r.At = 900
	}
	team.keys[key] = len(team.results)
	team.results = append(team.results, r)
	return r
}

func (t *toy) Team(_ context.Context, _ int, id fsm.TeamID) (State, error) {
	defer t.enter()()
	team := t.team(id)
	s := team.state
	if t.has("reads the past", 3) {
		s = team.old
	}
	out := State{Score: s.score, Solves: s.solves}
	for i, c := range clueIDs {
		if s.unlocked(i) {
			out.Clues = append(out.Clues, ClueState{c, s.clues[i].attempts, s.clues[i].solved})
		}
	}
	return out, nil
}

func (t *toy) Board(context.Context, int) ([]Row, error) {
	defer t.enter()()
	e := &evidence{histories: map[fsm.TeamID][]*Op{}, teams: slices.Sorted(maps.Keys(t.teams))}
	for id, team := range t.teams {
		e.histories[id] = []*Op{{Outcome: OK, Results: slices.Clone(team.results)}}
	}
	rows := e.board()
	if t.has("forgets a team on the board", 2) && len(rows) > 0 {
		rows = rows[1:]
	}
	if t.bug == "ranks wrongly" && len(rows) > 1 {
		rows[0].Rank, rows[1].Rank = 2, 1
	}
	return rows, nil
}

func (t *toy) Hunt(context.Context, int) (uint64, int, error) {
	defer t.enter()()
	return t.version, t.number, nil
}

func (t *toy) Edit(_ context.Context, _, number int, onto uint64) (uint64, error) {
	defer t.enter()()
	if onto != t.version {
		return 0, fsm.Errorf(fsm.PreconditionFailed, "version %d", t.version)
	}
	t.version++
	t.number = number
	if t.calls%3 == 0 {
		return 0, errors.Join(context.DeadlineExceeded)
	}
	return t.version, nil
}

func (t *toy) Table(context.Context, int) (Table, error) {
	defer t.enter()()
	if t.tables++; t.has("forgets its table", 10) {
		t.tables = 1
	}
	return Table{Version: t.tables, Epochs: []uint64{t.tables}}, nil
}

func (t *toy) History(_ context.Context, node int, id fsm.TeamID) ([]Result, error) {
	defer t.enter()()
	out := slices.Clone(t.team(id).results)
	for i := range out {
		out[i].Replayed = false
	}
	if t.bug == "has another history on a node" && node == 2 && len(out) > 0 {
		out = out[:len(out)-1]
	}
	return out, nil
}

func (t *toy) Hashes(context.Context, int) ([]Hash, error) {
	defer t.enter()()
	b := "x"
	if t.bug == "has replicas that differ" {
		b = "y"
	}
	return []Hash{{0, "a", "x"}, {0, "b", b}, {1, "a", "z"}}, nil
}

// played is the history of a workload on a toy.
func played(t *testing.T, bug string) (ops []Op) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := Workload{
			Seed: 7, Clients: 6, PerTeam: 3, Rounds: 2, Round: 20 * time.Second,
			Pause: 50 * time.Millisecond, Timeout: time.Second, Editors: 1,
		}
		log := NewLog(time.Now(), nil)
		c := newToy(bug)
		w.Run(t.Context(), c, log, w.Clients)
		w.Audit(t.Context(), c, log, []int{0, 1, 2})
		var err error
		if ops, err = log.Ops(); err != nil {
			t.Fatal(err)
		}
	})
	return ops
}

// TestToyIsInnocent: what is right convicts nobody, and is enough to judge.
func TestToyIsInnocent(t *testing.T) {
	ops := played(t, "")
	for _, f := range Findings(Check(ops, "")) {
		t.Error(f)
	}
	s := Summarize(ops)
	if s.Acked < 1000 || s.Unknown < 20 || s.Replayed < 50 || s.Refused < 20 {
		t.Errorf("%+v: too little of something to test the checkers with", s)
	}
	t.Logf("%+v", s)
}

// TestToysAreConvicted: each bug is found, by the checker whose promise it breaks.
func TestToysAreConvicted(t *testing.T) {
	for bug, by := range map[string][]string{
		"counts keys twice":             {"kept", "once"},
		"replays another answer":        {"kept", "once"},
		"loses answers":                 {"kept"},
		"refuses for nothing":           {"linear"},
		"does what it denies":           {"kept"},
		"answers nonsense":              {"sense"},
		"judges by an old document":     {"versions"},
		"judges under an old version":   {"versions"},
		"has a clock that runs back":    {"kept"},
		"reads the past":                {"linear"},
		"forgets a team on the board":   {"points", "board"},
		"ranks wrongly":                 {"board"},
		"forgets its table":             {"table"},
		"has another history on a node": {"kept"},
		"has replicas that differ":      {"hashes"},
	} {
		t.Run(bug, func(t *testing.T) {
			t.Parallel()
			verdicts := Check(played(t, bug), t.TempDir())
			for _, name := range by {
				i := slices.IndexFunc(verdicts, func(v Verdict) bool { return v.Checker == name })
				if len(verdicts[i].Findings) == 0 {
					t.Errorf("%s found nothing; all findings: %q", name, Findings(verdicts))
				}
			}
		})
	}
}
