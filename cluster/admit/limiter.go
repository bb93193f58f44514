package admit

import "time"

// Limits of the number of requests that a node works on at once.
const (
	minLimit   = 2
	startLimit = 16
	maxLimit   = 8192
)

// What the limit follows.
const (
	// target is the time that nine of ten requests should take. It is not less
	// than targetRatio times what they take when few are under way, and at most
	// maxTarget: on a slow disk fewer at once would not make them quicker.
	target      = 100 * time.Millisecond
	maxTarget   = 500 * time.Millisecond
	targetRatio = 3
	// A judgement needs window and minSamples; after maxWindow one will do.
	window     = 50 * time.Millisecond
	maxWindow  = time.Second
	minSamples = 16
	// The limit is multiplied with cut when requests take too long, or with less if
	// their mean says so, but not less than deepCut. While they do not and it is
	// reached, a part of it is added: growth, or creep when nine of ten would not take
	// less than half of what they may. What is added shows in their time only after
	// that time, and a tenth each time is far too much by then.
	cut     = 0.8
	deepCut = 0.3
	growth  = 0.1
	creep   = 0.02
)

// limiter decides how many requests may be under way at once: additive increase
// while they are quick and the limit is in use, multiplicative decrease when
// they are slow (the rule of Chiu and Jain, 1989, that TCP follows), and doubling
// until they are slow for the first time. It is pure: times are arguments.
type limiter struct {
	limit    float64
	steady   bool      // it was too high once: no more doubling
	changed  time.Time // when the limit did: what began before says nothing about it
	base     time.Duration
	typical  time.Duration // mean of the last window
	from     time.Time
	n        int // samples of this window
	over     int // those above the target
	near     int // those above half of it
	sum      time.Duration
	peak     int // under way at once, at most
	deferred bool
}

func newLimiter() limiter { return limiter{limit: startLimit} }

// max is how many may be under way.
func (l *limiter) max() int { return int(l.limit) }

func (l *limiter) target() time.Duration {
	return min(max(target, targetRatio*l.base), maxTarget)
}

// note takes a request that began at a time and is done now. Busy are under way
// with it; waited says that somebody waits for the limit.
func (l *limiter) note(began, now time.Time, busy int, waited bool) {
	took := now.Sub(began)
	l.peak = max(l.peak, busy)
	l.deferred = l.deferred || waited || busy >= l.max()
	if began.Before(l.changed) {
		return
	}
	if l.n == 0 && l.from.Before(began) {
		l.from = began
	}
	l.n++
	l.sum += took
	if took > l.target() {
		l.over++
	}
	if took > l.target()/2 {
		l.near++
	}
	age := now.Sub(l.from)
	if age >= window && l.n >= minSamples || age >= maxWindow {
		l.judge(now)
	}
}

func (l *limiter) judge(now time.Time) {
	l.typical = l.sum / time.Duration(l.n)
	if l.peak <= max(minLimit, l.max()/4) {
		l.base = l.typical // few were under way: it is not of our making
	}
	switch {
	case l.over*10 > l.n:
		// By Little's law the time in the system goes with the number in it.
		fits := float64(l.target()) / float64(max(l.sum/time.Duration(l.n), 1))
		l.limit = max(minLimit, l.limit*min(max(fits, deepCut), cut))
		l.steady, l.changed = true, now
	case l.deferred && !l.steady:
		l.limit = min(maxLimit, 2*l.limit)
		l.changed = now
	case l.deferred:
		step := growth
		if l.near*10 > l.n {
			step = creep
		}
		l.limit = min(maxLimit, l.limit+max(1, step*l.limit))
		l.changed = now
	}
	l.from, l.n, l.over, l.near, l.sum, l.peak, l.deferred = now, 0, 0, 0, 0, 0, false
}
