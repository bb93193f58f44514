package admit

import "time"

// pace is how fast something has happened lately: the mean distance of two events,
// over about the last paceEvents of them.
type pace struct {
	last time.Time
	mean time.Duration
}

const paceEvents = 32

func (p *pace) note(now time.Time) {
	if !p.last.IsZero() {
		p.mean += (now.Sub(p.last) - p.mean) / paceEvents
	}
	p.last = now
}

// per is how long n events take.
func (p *pace) per(n int) time.Duration { return time.Duration(n) * p.mean }
