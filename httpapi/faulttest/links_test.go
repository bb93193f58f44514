//go:build linux

package faulttest

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

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
		l.network.Set(w.from, w.to, together(l.imposed, w))
	}
}

// together is what several faults make of one link.
func together(faults []map[way]netns.Link, w way) (sum netns.Link) {
	for _, f := range faults {
		one := f[w]
		sum.Drop = sum.Drop || one.Drop
		sum.Loss, sum.Duplicate = max(sum.Loss, one.Loss), max(sum.Duplicate, one.Duplicate)
		sum.Delay, sum.Jitter = sum.Delay+one.Delay, sum.Jitter+one.Jitter
	}
	return sum
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

func TestFaultsAddUp(t *testing.T) {
	faults := []map[way]netns.Link{
		cut([]int{0}, []int{1, 2}), nil, every([]int{0, 1}, []int{2}, netns.Link{Loss: 0.1, Delay: time.Second}),
		both([]int{2}, []int{0}, netns.Link{Loss: 0.2, Delay: time.Second}),
	}
	for w, want := range map[way]netns.Link{
		{0, 1}: {Drop: true}, {1, 0}: {}, {1, 2}: {Loss: 0.1, Delay: time.Second}, {2, 0}: {Loss: 0.2, Delay: time.Second},
		{0, 2}: {Drop: true, Loss: 0.2, Delay: 2 * time.Second}, {0, 0}: {},
	} {
		if got := together(faults, w); got != want {
			t.Errorf("%v: %+v, want %+v", w, got, want)
		}
	}
}

// TestPartitions: who hears whom, by the shape of the partition. Of five nodes.
func TestPartitions(t *testing.T) {
	r := &rig{}
	for range nodes {
		r.nodes = append(r.nodes, &member{want: true})
	}
	for _, c := range []struct {
		name  string
		shape fault
		hears []int // how many nodes hear so many others, from none to four
		same  bool  // whom a node hears also hears it
	}{
		{"halves", halves, []int{0, 2, 3, 0, 0}, true},
		{"isolate", isolated(anyone), []int{1, 0, 0, 4, 0}, true},
		{"bridge", bridge, []int{0, 0, 4, 0, 1}, true},
		{"ring", ring, []int{0, 0, 5, 0, 0}, true},
	} {
		for seed := range uint64(20) {
			cuts, what := c.shape(r, rand.New(rand.NewPCG(seed, 0)))
			hears, same := make([]int, nodes), true
			for to := range nodes {
				n := 0
				for from := range nodes {
					if from != to && !cuts[way{from, to}].Drop {
						n++
						same = same && !cuts[way{to, from}].Drop
					}
				}
				hears[n]++
			}
			if !slices.Equal(hears, c.hears) || same != c.same {
				t.Errorf("%s: %s: %v hear none to all others, want %v", c.name, what, hears, c.hears)
			}
		}
	}
}
