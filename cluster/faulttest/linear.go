package faulttest

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/anishathalye/porcupine"

	"cairn/fsm"
)

// linearWithin bounds the search for an order of one team's moves. Not to have found
// one by then convicts too: a checker that gives up proves nothing.
const linearWithin = time.Minute

var teamModel = porcupine.Model{
	Init:              func() any { return teamState{} },
	Step:              func(state, input, _ any) (bool, any) { return state.(teamState).step(input.(move)) },
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%s -> %s", input, input.(move).told()) },
	DescribeState:     func(state any) string { return fmt.Sprint(state) },
}

// checkLinear looks for an order of all that a team did and read in which every
// answer is right by the rules, and in which nothing comes before what had ended
// when it began (Herlihy and Wing, 1990).
//
// The attempts of one key are one submission: it takes effect once, after the first
// call and before the first acknowledgement. One that nobody acknowledged counts if
// it is recorded at the end, at any time after its call: whether it should have been
// is checkKept's matter.
func checkLinear(e *evidence, pictures string) (findings []string) {
	for _, team := range e.teams {
		ops := e.moves(team)
		if len(ops) == 0 {
			continue
		}
		result, info := porcupine.CheckOperationsVerbose(teamModel, ops, linearWithin)
		if result == porcupine.Ok {
			continue
		}
		text := fmt.Sprintf("%s: no order explains its %d moves", team, len(ops))
		if result == porcupine.Unknown {
			text = fmt.Sprintf("%s: no order of its %d moves was found within %v", team, len(ops), linearWithin)
		}
		if pictures != "" {
			path := filepath.Join(pictures, string(team)+".html")
			if err := porcupine.VisualizePath(teamModel, info, path); err != nil {
				text += ": " + err.Error()
			} else {
				text += ": see " + path
			}
		}
		findings = append(findings, text)
	}
	return findings
}

// moves are a team's operations for the model.
func (e *evidence) moves(team fsm.TeamID) (out []porcupine.Operation) {
	final, _ := e.recorded(team)
	kept := byKey(final)
	for key, attempts := range e.attempts[team] {
		if op, ok := e.submission(attempts, kept, key); ok {
			out = append(out, op)
		}
	}
	for i := range e.ops {
		op := &e.ops[i]
		read := op.Kind == ReadTeam && op.Outcome == OK
		refused := op.Kind == Submit && op.Outcome == Refused
		if op.Team == team && (read || refused) {
			out = append(out, porcupine.Operation{
				ClientId: op.Client, Input: move{op: op, clue: clueIndex(op.Clue)}, Call: int64(op.Call), Return: int64(op.Return),
			})
		}
	}
	return out
}

// submission merges the attempts of a key; false if it has no effect.
func (e *evidence) submission(attempts []*Op, kept map[string]Result, key string) (porcupine.Operation, bool) {
	merged := *attempts[0]
	merged.Return, merged.Result = e.end, nil
	for _, a := range attempts {
		if a.Outcome == OK && a.Return < merged.Return {
			merged.Return, merged.Result = a.Return, a.Result
		}
	}
	if r, ok := kept[key]; ok && merged.Result == nil {
		merged.Result = &r
	}
	if merged.Result == nil {
		return porcupine.Operation{}, false
	}
	merged.Outcome = OK
	clue := clueIndex(merged.Clue)
	m := move{op: &merged, clue: clue, match: e.matchOf(clue, merged.Answer, merged.Result.Version)}
	return porcupine.Operation{ClientId: merged.Client, Input: m, Call: int64(merged.Call), Return: int64(merged.Return)}, true
}
