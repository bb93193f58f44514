package admit

import "time"

// pace is how fast something goes while there is work: the mean distance of two
// events, over about the last paceEvents of them.
type pace struct {
	last time.Time // zero: there was a rest since
	mean time.Duration
}

const paceEvents = 32

// note takes an event. Unless more is to do, the time until the next one is rest,
// and tells nothing.
func (p *pace) note(now time.Time, more bool) {
	if !p.last.IsZero() {
		p.mean += (now.Sub(p.last) - p.mean) / paceEvents
	}
	p.last = now
	if !more {
		p.last = time.Time{}
	}
}

// per is how long n events take.
func (p *pace) per(n int) time.Duration { return time.Duration(n) * p.mean }
