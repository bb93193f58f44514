package faulttest

// Verdict is what one checker says of a history.
type Verdict struct {
	Checker  string
	Findings []string // what breaks the promise; none: it holds
}
