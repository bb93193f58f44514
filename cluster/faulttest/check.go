package faulttest

import "fmt"

// Verdict is what one checker says of a history.
type Verdict struct {
	Checker  string
	Findings []string // what breaks the promise; none: it holds
}

// checkers, by the promise that each of them holds the history against.
var checkers = []struct {
	name  string
	check func(*evidence, string) []string
}{
	{"linear", checkLinear},
	{"kept", plain(checkKept)},
	{"once", plain(checkAnswers)},
	{"points", plain(checkPoints)},
	{"board", plain(checkBoard)},
	{"table", plain(checkTable)},
	{"versions", plain(checkVersions)},
	{"hashes", plain(checkHashes)},
	{"sense", plain(checkSense)},
}

func plain(check func(*evidence) []string) func(*evidence, string) []string {
	return func(e *evidence, _ string) []string { return check(e) }
}

// Checkers are the names of all checkers, in order.
func Checkers() []string {
	names := make([]string, len(checkers))
	for i, c := range checkers {
		names[i] = c.name
	}
	return names
}

// maxFindings of one checker are told; what is behind them is counted.
const maxFindings = 20

// Check judges a whole history, with its audit: one verdict of each checker, in
// order. Pictures of what no order explains go to the directory pictures, if it is not
// empty. It sorts ops.
func Check(ops []Op, pictures string) []Verdict {
	e := newEvidence(ops)
	out := make([]Verdict, len(checkers))
	for i, c := range checkers {
		found := c.check(e, pictures)
		if n := len(found); n > maxFindings {
			found = append(found[:maxFindings:maxFindings], fmt.Sprintf("and %d more", n-maxFindings))
		}
		out[i] = Verdict{c.name, found}
	}
	return out
}

// Findings are all findings of some verdicts, each with its checker's name.
func Findings(verdicts []Verdict) (out []string) {
	for _, v := range verdicts {
		for _, f := range v.Findings {
			out = append(out, v.Checker+": "+f)
		}
	}
	return out
}
