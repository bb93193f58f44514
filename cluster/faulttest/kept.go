package faulttest

import (
	"fmt"
	"maps"
	"slices"

	"cairn/fsm"
)

// checkKept compares what was acknowledged with what each node has at the end: it is
// there, as it was told, once; what nobody was told may be there, but not if the
// cluster said that nothing was done; and all nodes have the same.
func checkKept(e *evidence) (findings []string) {
	say := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	for _, team := range e.teams {
		first, known := e.recorded(team)
		if !known {
			say("%s: nobody could tell its history at the end", team)
			continue
		}
		for _, read := range e.histories[team] {
			switch {
			case read.Outcome != OK:
				say("%s: node %d could not tell its history at the end: %s", team, read.Node, read.Text)
			case !slices.Equal(read.Results, first):
				say("%s: node %d tells another history than node %d", team, read.Node, e.histories[team][0].Node)
			}
		}
		findings = append(findings, numbered(team, first)...)
		findings = append(findings, e.compare(team, first)...)
	}
	return findings
}

// numbered: a history counts from 1, has no key twice, and no time runs back.
func numbered(team fsm.TeamID, results []Result) (findings []string) {
	seen := map[string]int{}
	var last fsm.Time
	for i, r := range results {
		if r.Number != i+1 {
			findings = append(findings, fmt.Sprintf("%s: its submission %d has the number %d", team, i+1, r.Number))
		}
		if before, twice := seen[r.Key]; twice {
			findings = append(findings, fmt.Sprintf("%s: %s was counted twice, as %d and %d", team, r.Key, before, r.Number))
		}
		seen[r.Key] = r.Number
		if r.At < last {
			findings = append(findings, fmt.Sprintf("%s: the time of its submission %d (%s) is before that of the one before: %v, %v", team, r.Number, r.Key, r.At, last))
		}
		last = r.At
	}
	return findings
}

// compare holds a team's attempts against what is recorded.
func (e *evidence) compare(team fsm.TeamID, results []Result) (findings []string) {
	say := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	kept := byKey(results)
	for _, key := range slices.Sorted(maps.Keys(e.attempts[team])) {
		attempts := e.attempts[team][key]
		r, there := kept[key]
		delete(kept, key)
		doubt := false
		for _, a := range attempts {
			switch a.Outcome {
			case OK:
				doubt = true
				if !there {
					say("%s: %s was acknowledged by node %d at %v and is lost", team, key, a.Node, a.Return)
				} else if !a.Result.same(r) {
					say("%s: %s was told as %+v and is %+v", team, key, *a.Result, r)
				}
			case Unknown:
				doubt = true
			}
		}
		if there && (r.Clue != attempts[0].Clue || r.Answer != attempts[0].Answer) {
			say("%s: %s is recorded as %q to %s, and was %q to %s", team, key, r.Answer, r.Clue, attempts[0].Answer, attempts[0].Clue)
		}
		if there && !doubt {
			say("%s: %s is recorded, though its clients were told that nothing was done", team, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(kept)) {
		say("%s: %s is recorded and nobody sent it", team, key)
	}
	return findings
}

// checkAnswers: all acknowledgements of a key tell the same, at most one of them as
// the first; and after one nothing else is told.
func checkAnswers(e *evidence) (findings []string) {
	say := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	for _, team := range e.teams {
		for _, key := range slices.Sorted(maps.Keys(e.attempts[team])) {
			var first *Op // acknowledgement, by its return
			fresh := 0
			for _, a := range e.attempts[team][key] {
				if a.Outcome != OK {
					continue
				}
				if !a.Result.Replayed {
					fresh++
				}
				if first != nil && !a.Result.same(*first.Result) {
					say("%s: %s was told as %+v and as %+v", team, key, *first.Result, *a.Result)
				}
				if first == nil || a.Return < first.Return {
					first = a
				}
			}
			if fresh > 1 {
				say("%s: %s was counted %d times: so many answers were not replayed", team, key, fresh)
			}
			for _, a := range e.attempts[team][key] {
				if first != nil && a.Outcome == Refused && a.Call > first.Return {
					say("%s: %s was refused (%s) at %v, after it had been acknowledged at %v", team, key, a.Code, a.Call, first.Return)
				}
			}
		}
	}
	return findings
}
