package placement

import (
	"math"
	"slices"
)

// search evens whole numbers out: it finds chains of hand-overs from the nodes
// with the most to nodes with at least two fewer. Each node of a chain hands one
// thing to the next, so only the ends change.
//
// A chain exists whenever the numbers can be evened out further, so if none is
// left they are as even as what may move allows. (The residual paths of a flow
// with convex costs: Ahuja, Magnanti, Orlin, Network Flows, chapter 14.)
type search struct {
	load  []int
	tie   []float64 // decides among equal loads: the lowest receives
	gives []bool
	takes []bool
	depth int // hand-overs of the longest chain
	hops  hops
	done  []bool // no chain leads on from here, and none will
	via   []int  // the node before; -1: not reached

	top  int // chains from all fuller nodes,
	next int // and from those as full before this one, are found
}

// hops is what may be handed over.
type hops interface {
	// begin starts a search among the nodes that are open.
	begin(open func(n int) bool)
	// from calls reach for every open node that node n can hand something to.
	// Nodes that were reached before may be left out.
	from(n int, reach func(m int))
}

func newSearch(load []int, tie []float64, gives, takes []bool, h hops) *search {
	n := len(load)
	s := &search{load: load, tie: tie, gives: gives, takes: takes, depth: n, hops: h, done: make([]bool, n), via: make([]int, n)}
	s.restart()
	return s
}

// restart forgets what is done: a hand-over opened a new way for a node to give.
func (s *search) restart() {
	clear(s.done)
	s.top, s.next = math.MaxInt, len(s.load)
}

// chain returns the nodes of a shortest chain, from the fullest; nil if none is
// left. Once the hand-overs are made it may be called again: no node becomes as
// full as those that are done.
func (s *search) chain() []int {
	for {
		for ; s.next < len(s.load); s.next++ {
			n := s.next
			if s.load[n] != s.top || !s.gives[n] || s.done[n] {
				continue
			}
			if path := s.explore(n); path != nil {
				return path
			}
		}
		if !s.lower() {
			return nil
		}
	}
}

// lower goes on with the next fullest nodes. It reports whether any node has two
// fewer than they.
func (s *search) lower() bool {
	top, least := -1, math.MaxInt
	for n, load := range s.load {
		if s.gives[n] && !s.done[n] && load < s.top {
			top = max(top, load)
		}
		if s.takes[n] {
			least = min(least, load)
		}
	}
	s.top, s.next = top, 0
	return top-2 >= least
}

// explore searches breadth first and takes the emptiest node of the first layer
// that has one with two fewer than the start. If there is none, nothing that was
// reached leads to one either: all of it is done.
func (s *search) explore(from int) []int {
	for n := range s.via {
		s.via[n] = -1
	}
	s.via[from] = from
	s.hops.begin(func(n int) bool { return s.takes[n] && !s.done[n] && n != from })
	layer := []int{from}
	for range s.depth {
		var next []int
		best := -1
		for _, n := range layer {
			s.hops.from(n, func(m int) {
				if s.via[m] >= 0 || s.done[m] || !s.takes[m] {
					return
				}
				s.via[m] = n
				next = append(next, m)
				if s.load[m] <= s.load[from]-2 && (best < 0 || s.emptier(m, best)) {
					best = m
				}
			})
		}
		if best >= 0 {
			return s.path(best)
		}
		if layer = next; len(layer) == 0 {
			for n, via := range s.via {
				s.done[n] = s.done[n] || via >= 0
			}
			return nil
		}
	}
	s.done[from] = true
	return nil
}

func (s *search) emptier(a, b int) bool {
	if s.load[a] != s.load[b] {
		return s.load[a] < s.load[b]
	}
	if s.tie[a] != s.tie[b] {
		return s.tie[a] < s.tie[b]
	}
	return a < b
}

// path follows a chain back from its end.
func (s *search) path(to int) []int {
	path := []int{to}
	for n := to; s.via[n] != n; {
		n = s.via[n]
		path = append(path, n)
	}
	slices.Reverse(path)
	return path
}
