package faulttest

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Summary is what happened in a run.
type Summary struct {
	Ops      int `json:"operations"` // calls of clients, without looks at tables and the audit
	Acked    int `json:"acknowledged"`
	None     int `json:"nothing_done"`
	Unknown  int `json:"unknown"`
	Refused  int `json:"refused"`
	Replayed int `json:"replayed"` // acknowledgements of a key that was known
	Faults   int `json:"faults"`
	// Submissions acknowledged before the first fault, while at least one was under
	// way, and otherwise after it; and the rates of these times, in a second.
	Before, Under, Between             int
	BeforeRate, UnderRate, BetweenRate float64
}

// Summarize counts a history.
func Summarize(ops []Op) (s Summary) {
	faults := spans(ops)
	var first, last time.Duration
	for i := range ops {
		op := &ops[i]
		switch op.Kind {
		case Fault:
			s.Faults++
			continue
		case History, FinalBoard, Hashes, ReadTable:
			continue
		}
		s.Ops++
		last = max(last, op.Return)
		switch op.Outcome {
		case None:
			s.None++
		case Unknown:
			s.Unknown++
		case Refused:
			s.Refused++
		}
		if op.Kind == Submit && op.Outcome == OK {
			s.Acked++
			if op.Result != nil && op.Result.Replayed {
				s.Replayed++
			}
			s.place(faults, op)
		}
	}
	first = last
	if len(faults) > 0 {
		first = faults[0].from
	}
	under := time.Duration(0)
	for _, f := range faults {
		under += max(0, min(f.to, last)-f.from)
	}
	s.BeforeRate, s.UnderRate, s.BetweenRate = rate(s.Before, first), rate(s.Under, under), rate(s.Between, last-first-under)
	return s
}

func rate(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// place counts an acknowledgement where it began and ended.
func (s *Summary) place(faults []span, op *Op) {
	switch {
	case len(faults) == 0 || op.Return < faults[0].from:
		s.Before++
	case slices.ContainsFunc(faults, func(f span) bool { return f.from <= op.Call && op.Return <= f.to }):
		s.Under++
	default:
		s.Between++
	}
}

// span is a time in which there was a fault.
type span struct{ from, to time.Duration }

// spans are the times of faults, those that overlap as one, in order.
func spans(ops []Op) (out []span) {
	for i := range ops {
		if ops[i].Kind == Fault {
			out = append(out, span{ops[i].Call, ops[i].Return})
		}
	}
	slices.SortFunc(out, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	merged := out[:0]
	for _, s := range out {
		if n := len(merged); n > 0 && s.from <= merged[n-1].to {
			merged[n-1].to = max(merged[n-1].to, s.to)
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}

// Floors are what a run must have had to prove anything.
type Floors struct {
	Acked    int // submissions
	Under    int // of them, begun and acknowledged under a fault
	Faults   int
	Replayed int // keys that were sent again and known
}

// Missing says which floors a run did not reach.
func (f Floors) Missing(s Summary) (out []string) {
	for _, x := range []struct {
		what        string
		least, have int
	}{
		{"submissions acknowledged", f.Acked, s.Acked},
		{"submissions acknowledged under a fault", f.Under, s.Under},
		{"faults", f.Faults, s.Faults},
		{"keys that were known", f.Replayed, s.Replayed},
	} {
		if x.have < x.least {
			out = append(out, fmt.Sprintf("only %d %s, at least %d are needed: this run proves too little", x.have, x.what, x.least))
		}
	}
	return out
}
