package placement

import "slices"

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
	return &search{load: load, tie: tie, gives: gives, takes: takes, depth: n, hops: h, done: make([]bool, n), via: make([]int, n)}
}

// chain returns the nodes of a shortest chain, from the fullest; nil if none is
// left. After hand-overs were made it may be called again, as long as they open no
// new way for a node to give.
func (s *search) chain() []int {
	for {
		from, least := -1, -1
		for n := range s.load {
			if s.done[n] {
				continue
			}
			if s.gives[n] && (from < 0 || s.load[n] > s.load[from]) {
				from = n
			}
			if s.takes[n] && (least < 0 || s.load[n] < s.load[least]) {
				least = n
			}
		}
		if from < 0 || least < 0 || s.load[from]-s.load[least] < 2 {
			return nil
		}
		if path := s.explore(from); path != nil {
			return path
		}
	}
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
