package faulttest

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// checkPoints: a strong board has every point that was acknowledged before it was
// asked for, and none that was not asked for before it was answered.
func checkPoints(e *evidence) (findings []string) {
	awards := e.awards()
	for i := range e.ops {
		op := &e.ops[i]
		if op.Outcome != OK || op.Kind != ReadBoard && op.Kind != FinalBoard {
			continue
		}
		total := int64(0)
		for _, row := range op.Board {
			total += row.Score
		}
		least, most := int64(0), int64(0)
		for _, a := range awards {
			if a.acked < op.Call {
				least += a.points
			}
			if a.called <= op.Return {
				most += a.points
			}
		}
		if total < least || total > most {
			findings = append(findings, fmt.Sprintf("the board that node %d gave at %v has %d points in all: %d were acknowledged before, and %d asked for",
				op.Node, op.Return, total, least, most))
		}
	}
	return findings
}

// award is a submission that brought points.
type award struct {
	points int64
	called time.Duration // first
	acked  time.Duration // first; the end of the history if never
}

// awards are all that are known of: acknowledged, or recorded at the end.
func (e *evidence) awards() (out []award) {
	for _, team := range e.teams {
		final, _ := e.recorded(team)
		kept := byKey(final)
		for key, attempts := range e.attempts[team] {
			a := award{called: attempts[0].Call, acked: e.end, points: kept[key].Points}
			for _, op := range attempts {
				if op.Outcome == OK {
					a.acked, a.points = min(a.acked, op.Return), op.Result.Points
				}
			}
			if a.points > 0 {
				out = append(out, a)
			}
		}
	}
	return out
}

// checkBoard: the board at the end is what the histories make, through every node.
func checkBoard(e *evidence) (findings []string) {
	want := e.board()
	boards := 0
	for i := range e.ops {
		op := &e.ops[i]
		if op.Kind != FinalBoard {
			continue
		}
		boards++
		switch {
		case op.Outcome != OK:
			findings = append(findings, fmt.Sprintf("node %d could not give the board at the end: %s", op.Node, op.Text))
		case !slices.Equal(op.Board, want):
			findings = append(findings, fmt.Sprintf("the board of node %d at the end is not what the histories make: %s", op.Node, difference(op.Board, want)))
		}
	}
	if boards == 0 {
		findings = append(findings, "nobody asked for the board at the end")
	}
	return findings
}

// board is made of the histories alone: by points, then by who had them first; equal
// ones share a rank and stand by name.
func (e *evidence) board() (rows []Row) {
	for _, team := range e.teams {
		final, _ := e.recorded(team)
		row := Row{Team: team}
		for _, r := range final {
			if r.Verdict == "correct" {
				row.Score += r.Points
				row.Solves++
				row.LastSolve = max(row.LastSolve, r.At)
			}
		}
		if row.Solves > 0 {
			rows = append(rows, row)
		}
	}
	before := func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.LastSolve, b.LastSolve))
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Or(before(a, b), cmp.Compare(a.Team, b.Team)) })
	for i := range rows {
		rows[i].Rank = i + 1
		if i > 0 && before(rows[i-1], rows[i]) == 0 {
			rows[i].Rank = rows[i-1].Rank
		}
	}
	return rows
}

// difference is the first place where two boards are not equal.
func difference(got, want []Row) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%s is missing", want[i].Team)
		case i >= len(want):
			return fmt.Sprintf("%s is too much", got[i].Team)
		case got[i] != want[i]:
			return fmt.Sprintf("place %d is %+v, not %+v", i+1, got[i], want[i])
		}
	}
	return "nothing"
}
