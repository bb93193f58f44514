package health

import (
	"slices"
	"time"

	"cairn/fsm"
)

// Sample is what a heartbeat tells of a node's fitness.
type Sample struct {
	// Sync is the mean time that a commit of the node's log took since the last
	// heartbeat; 0: there was none.
	Sync time.Duration
	// Stall is the longest time since then for which the process did not get to
	// run when it should have: it was stopped, or starved of CPU.
	Stall time.Duration
}

// Thresholds of slowness. A node is judged against the others: on a machine that
// is slow as a whole, nobody is.
const (
	// badSync and badStall are what is bad whatever the others do not suffer too.
	badSync  = 50 * time.Millisecond
	badStall = 300 * time.Millisecond
	// badTimes: and that many times the median of the others.
	badTimes = 5
	// slowWindow and slowCount: that many bad heartbeats within the window make a
	// node slow.
	slowWindow = 6 * time.Second
	slowCount  = 4
	// calmFor is how long a slow node must be good before it is fit again; it
	// doubles with every lapse, up to calmMost.
	calmFor  = 15 * time.Second
	calmMost = 5 * time.Minute
)

// Judge returns the nodes that are unfit to lead, in order of id. It takes the
// last sample of every node, and which of them are new: the others are only what
// the new ones are compared with.
func (d *Detector) Judge(samples map[fsm.NodeID]Sample, fresh []fsm.NodeID, now time.Time) []fsm.NodeID {
	var syncs, stalls []time.Duration
	for _, s := range samples {
		if s.Sync > 0 {
			syncs = append(syncs, s.Sync)
		}
		stalls = append(stalls, s.Stall)
	}
	syncLimit := max(badSync, badTimes*median(syncs))
	stallLimit := max(badStall, badTimes*median(stalls))
	for _, id := range fresh {
		s := samples[id]
		d.node(id).judge(s.Sync >= syncLimit || s.Stall >= stallLimit, now)
	}
	var slow []fsm.NodeID
	for id, n := range d.nodes {
		if n.slow {
			slow = append(slow, id)
		}
	}
	slices.Sort(slow)
	return slow
}

func (n *node) judge(bad bool, now time.Time) {
	n.bad = slices.DeleteFunc(n.bad, func(t time.Time) bool { return now.Sub(t) > slowWindow })
	if bad {
		n.bad = append(n.bad, now)
		n.calm = now
	}
	switch {
	case !n.slow && len(n.bad) >= slowCount:
		n.slow = true
		n.lapse++
	case n.slow && now.Sub(n.calm) >= min(calmFor<<min(n.lapse-1, 10), calmMost):
		n.slow = false
	case !n.slow && now.Sub(n.calm) >= 4*calmMost:
		n.lapse = 0
	}
}

// median of durations: the lower one of an even number, 0 of none.
func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[(len(d)-1)/2]
}
