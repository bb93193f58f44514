//go:build linux

package faulttest

import (
	"sync"

	"cairn/httpapi/faulttest/netns"
)

// way is from one host to another.
type way struct{ from, to int }

// links are what the faults of a run make of the network, together.
type links struct {
	network *netns.Network

	mu      sync.Mutex
	imposed []map[way]netns.Link // nil: lifted
}

// impose adds a fault to those that there are, and returns what lifts it.
func (l *links) impose(fault map[way]netns.Link) (lift func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.imposed = append(l.imposed, fault)
	at := len(l.imposed) - 1
	l.apply(fault)
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.imposed[at] = nil
		l.apply(fault)
	})
}

// apply brings the links that a fault is about up to date.
func (l *links) apply(fault map[way]netns.Link) {
	for w := range fault {
		var sum netns.Link
		for _, f := range l.imposed {
			one := f[w]
			sum.Drop = sum.Drop || one.Drop
			sum.Loss, sum.Duplicate = max(sum.Loss, one.Loss), max(sum.Duplicate, one.Duplicate)
			sum.Delay, sum.Jitter = sum.Delay+one.Delay, sum.Jitter+one.Jitter
		}
		l.network.Set(w.from, w.to, sum)
	}
}

// cut is the fault that drops what some send to others.
func cut(from, to []int) map[way]netns.Link { return every(from, to, netns.Link{Drop: true}) }

// both is a fault in both directions.
func both(some, others []int, link netns.Link) map[way]netns.Link {
	fault := every(some, others, link)
	for w, l := range every(others, some, link) {
		fault[w] = l
	}
	return fault
}

// every is one link from each of some to each of others.
func every(from, to []int, link netns.Link) map[way]netns.Link {
	fault := map[way]netns.Link{}
	for _, a := range from {
		for _, b := range to {
			if a != b {
				fault[way{a, b}] = link
			}
		}
	}
	return fault
}
