package replay

import (
	"time"

	"cairn/fsm"
)

// Pace says when lines are due. The zero Pace says: at once.
type Pace struct {
	// Speed is how many times faster than real time lines follow each other,
	// by their "at". 0: as fast as possible. A line without "at" is due with
	// the one before it.
	Speed float64
	// AtLeast stretches Total lines evenly over this time. Each line is due at
	// the later of the two.
	AtLeast time.Duration
	Total   int
}

// clock is a Pace in use.
type clock struct {
	Pace
	first  fsm.Time      // "at" of the first line that has one
	offset time.Duration // of the last line, by Speed
}

// due returns how long after the start the n-th line (from 0) is due.
func (c *clock) due(n int, at *fsm.Time) time.Duration {
	if c.Speed > 0 && at != nil {
		if c.first == 0 {
			c.first = *at
		}
		since := time.Duration(*at-c.first) * time.Microsecond
		c.offset = max(c.offset, time.Duration(float64(since)/c.Speed))
	}
	due := c.offset
	if c.Total > 0 {
		due = max(due, time.Duration(float64(c.AtLeast)*float64(n)/float64(c.Total)))
	}
	return due
}
