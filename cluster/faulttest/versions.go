package faulttest

import (
	"fmt"

	"cairn/fsm"
)

// checkVersions: every submission was judged by one version of the hunt, rightly by
// that one's document; versions do not go back; and once a change was answered nothing
// that starts later is judged under an older one, nor before it was asked for under it.
func checkVersions(e *evidence) (findings []string) {
	findings = append(findings, e.oneDocument()...)
	for _, team := range e.teams {
		final, _ := e.recorded(team)
		last := uint64(0)
		for _, r := range final {
			if r.Version < last {
				findings = append(findings, fmt.Sprintf("%s: submission %d (%s) was judged by version %d, after one by version %d", team, r.Number, r.Key, r.Version, last))
			}
			last = max(last, r.Version)
		}
		findings = append(findings, e.inForce(team, final)...)
	}
	return findings
}

// oneDocument: a version is the same document to everybody.
func (e *evidence) oneDocument() (findings []string) {
	for i := range e.ops {
		op := &e.ops[i]
		if (op.Kind == Edit || op.Kind == ReadHunt) && op.Outcome == OK && e.numbers[op.Version] != op.Number {
			findings = append(findings, fmt.Sprintf("version %d of the hunt is document %d to some and %d to client %d", op.Version, e.numbers[op.Version], op.Number, op.Client))
		}
	}
	return findings
}

// inForce checks a team's submissions against the edits.
func (e *evidence) inForce(team fsm.TeamID, final []Result) (findings []string) {
	for _, r := range final {
		attempts := e.attempts[team][r.Key]
		if len(attempts) == 0 {
			continue // checkKept says so
		}
		called, acked := attempts[0].Call, e.end
		for _, a := range attempts {
			if a.Outcome == OK {
				acked = min(acked, a.Return)
			}
		}
		for _, op := range e.edits {
			if op.Return < called && r.Version < op.Version {
				findings = append(findings, fmt.Sprintf("%s: %s was sent at %v and judged by version %d, though version %d was in force since %v", team, r.Key, called, r.Version, op.Version, op.Return))
			}
			if acked < op.Call && r.Version >= op.Version {
				findings = append(findings, fmt.Sprintf("%s: %s was acknowledged at %v as judged by version %d, which was only asked for at %v", team, r.Key, acked, op.Version, op.Call))
			}
		}
		clue := clueIndex(r.Clue)
		m := e.matchOf(clue, r.Answer, r.Version)
		if m == matches && (r.Verdict == "incorrect" || r.Verdict == "duplicate") || m == differs && r.Verdict == "correct" {
			findings = append(findings, fmt.Sprintf("%s: %s gave %q to %s and is %s, which version %d does not say", team, r.Key, r.Answer, r.Clue, r.Verdict, r.Version))
		}
	}
	return findings
}
