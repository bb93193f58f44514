package admit

import "time"

// What whoever is refused is told: to come back after minRetry, or later while too
// many are refused.
const (
	minRetry = time.Second
	maxRetry = 32 * time.Second
	// tolerable is how many requests are taken for each that is refused.
	tolerable = 10
)

// retry decides when those that are refused may come back. To refuse costs a node
// perhaps a third of what it costs to do, so who comes back too early, to be refused
// again, takes capacity away from all. While more than one is refused for tolerable
// that are taken, the time doubles; it halves again when there are fewer. Each time
// is tried for as long as it is, because what it does shows only after that. It is
// pure: times are arguments.
type retry struct {
	after          time.Duration // zero means minRetry
	from           time.Time
	taken, refused int    // since
	told           uint64 // so far
}

// note counts a request that was taken, or refused.
func (r *retry) note(now time.Time, refused bool) {
	after := max(r.after, minRetry)
	for age := now.Sub(r.from); age >= after; age -= after {
		if r.refused*tolerable > r.taken {
			after = min(2*after, maxRetry)
		} else if after = max(after/2, minRetry); after == minRetry && r.taken+r.refused == 0 {
			age = 0 // the rest of a rest changes nothing
		}
		r.from, r.taken, r.refused = now, 0, 0
	}
	r.after = after
	if refused {
		r.refused++
	} else {
		r.taken++
	}
}

// tell is what the next one that is refused is told: from three quarters to five
// quarters of the time, evenly, so that those that were refused together do not
// come back together.
func (r *retry) tell() time.Duration {
	const golden = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio: its multiples are spread evenly
	r.told++
	spread := float64(r.told*golden>>11) / (1 << 53)
	return time.Duration((0.75 + spread/2) * float64(max(r.after, minRetry)))
}
