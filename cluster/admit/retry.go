package admit

import "time"

// What whoever is refused is told: to come back after minRetry, or later while too
// many are refused.
const (
	minRetry = time.Second
	maxRetry = 8 * time.Second
	// judgeRetry is how often it is decided anew.
	judgeRetry = time.Second
	// tolerable is how many requests are taken for each that is refused.
	tolerable = 10
)

// retry decides when those that are refused may come back. To refuse costs a node
// perhaps a third of what it costs to do, so who comes back too early, to be refused
// again, takes capacity away from all. In each second in which more than one is
// refused for tolerable that are taken the time doubles, unless it did within that
// time, because what it does shows only after it; in any other it halves: who waits
// for nothing is worse. It is pure: times are arguments.
type retry struct {
	after          time.Duration // zero means minRetry
	raised         time.Time     // when it doubled last
	from           time.Time     // the second that is looked at
	taken, refused int           // in it
	told           uint64        // so far
}

// note counts a request that was taken, or refused.
func (r *retry) note(now time.Time, refused bool) {
	if age := now.Sub(r.from); age >= judgeRetry {
		switch {
		case age >= 2*maxRetry:
			r.after = minRetry // there was a rest
		case r.refused*tolerable <= r.taken:
			r.after = max(r.after/2, minRetry)
		case now.Sub(r.raised) >= r.after:
			r.after, r.raised = min(2*max(r.after, minRetry), maxRetry), now
		}
		r.from, r.taken, r.refused = now, 0, 0
	}
	if refused {
		r.refused++
	} else {
		r.taken++
	}
}

// tell is what the next one that is refused is told: from half of the time to
// one and a half, evenly, so that those that were refused together do not
// come back together.
func (r *retry) tell() time.Duration {
	const golden = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio: its multiples are spread evenly
	r.told++
	spread := float64(r.told*golden>>11) / (1 << 53)
	return time.Duration((0.5 + spread) * float64(max(r.after, minRetry)))
}
