package faulttest

import (
	"fmt"
	"strings"

	"cairn/fsm"
)

// teamState is a naive twin of the rules for one team of the quiz.
type teamState struct {
	recorded int
	score    int64
	solves   int
	clues    [clues]clueTwin
}

// clueTwin is one clue of a team. wrong has the wrong answers given so far, each
// with a newline behind it.
type clueTwin struct {
	attempts int
	solved   bool
	wrong    string
}

func (c clueTwin) had(answer string) bool { return strings.Contains("\n"+c.wrong, "\n"+answer+"\n") }

// unlocked reports whether the team can see clue i.
func (s teamState) unlocked(i int) bool { return i != later || s.clues[free].solved }

// exhausted reports whether clue i takes no answers any more.
func (s teamState) exhausted(i int) bool {
	return i == limited && !s.clues[i].solved && s.clues[i].attempts >= attemptLimit
}

// move is what the model is asked: a submission of which it is known whether the
// answer matches, a refusal, or a read.
type move struct {
	op    *Op
	clue  int
	match match
}

// match says whether an answer is the right one under the version that judged it.
type match uint8

const (
	unsure match = iota // that version's document is not known: the verdict decides
	matches
	differs
)

// submit gives an answer, and returns what its team must be told.
func (s teamState) submit(m move) (teamState, Result) {
	c := &s.clues[m.clue] // of the copy
	s.recorded++
	r := Result{Number: s.recorded, Key: m.op.Key, Clue: m.op.Clue, Answer: m.op.Answer}
	switch {
	case c.solved:
		r.Verdict = "already_solved"
	case m.match == matches || m.match == unsure && m.op.Result.Verdict == "correct":
		r.Verdict, r.Points = "correct", points[m.clue]
		c.solved = true
		s.score += r.Points
		s.solves++
	case c.had(m.op.Answer):
		r.Verdict = "duplicate"
	default:
		r.Verdict = "incorrect"
		c.attempts++
		c.wrong += m.op.Answer + "\n"
	}
	r.Score, r.Solves, r.Attempts = s.score, s.solves, c.attempts
	return s, r
}

// step reports whether a move may have gone that way, and the state after it.
func (s teamState) step(m move) (bool, teamState) {
	switch {
	case m.op.Kind == ReadTeam:
		return s.shows(m.op.State), s
	case m.op.Outcome == Refused:
		return s.refuses(m.clue, m.op.Code), s
	case !s.unlocked(m.clue) || s.exhausted(m.clue):
		return false, s
	}
	next, want := s.submit(m)
	got := *m.op.Result
	want.At, want.Version = got.At, got.Version // judged by others
	return got.same(want), next
}

func (s teamState) refuses(clue int, code string) bool {
	switch code {
	case fsm.ClueLocked.String():
		return !s.unlocked(clue)
	case fsm.AttemptsExhausted.String():
		return s.exhausted(clue)
	}
	return false
}

func (s teamState) shows(read *State) bool {
	if read.Score != s.score || read.Solves != s.solves {
		return false
	}
	n := 0
	for i, id := range clueIDs {
		if !s.unlocked(i) {
			continue
		}
		if n >= len(read.Clues) || read.Clues[n] != (ClueState{ID: id, Attempts: s.clues[i].attempts, Solved: s.clues[i].solved}) {
			return false
		}
		n++
	}
	return n == len(read.Clues)
}

func (s teamState) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d recorded, %d points", s.recorded, s.score)
	for i, c := range s.clues {
		fmt.Fprintf(&b, ", %s %d", clueIDs[i], c.attempts)
		if c.solved {
			b.WriteString(" solved")
		}
	}
	return b.String()
}

func (m move) String() string {
	switch {
	case m.op.Kind == ReadTeam:
		return "read"
	case m.op.Outcome == Refused:
		return fmt.Sprintf("%s %q refused: %s", m.op.Clue, m.op.Answer, m.op.Code)
	}
	return fmt.Sprintf("%s %q (%s)", m.op.Clue, m.op.Answer, m.op.Key)
}

// told is what its client was told of a move, for pictures.
func (m move) told() string {
	switch {
	case m.op.Kind == ReadTeam:
		return fmt.Sprintf("%+v", *m.op.State)
	case m.op.Result == nil:
		return m.op.Code
	}
	r := m.op.Result
	return fmt.Sprintf("#%d %s, %d attempts, %d points", r.Number, r.Verdict, r.Attempts, r.Score)
}
