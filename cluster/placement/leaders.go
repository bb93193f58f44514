package placement

import "slices"

// lead chooses a preferred leader for every row and evens the leaderships out:
// first their counts, without a limit, then their rates, at most MaxMoving at
// once. While replicas are on the move only direct hand-overs are made, and none
// by rate: the rest would be undone when they arrive.
func (p *planner) lead(moving bool) {
	for i := range p.rows {
		p.seat(i)
	}
	h := &leaderHops{p}
	s := newSearch(p.leads, p.leadRate, p.takes, p.takes, h)
	if moving {
		s.depth = 1
	}
	for path := s.chain(); path != nil; path = s.chain() {
		if !p.handAlong(h, path) {
			s.done[path[0]] = true
		}
	}
	if moving {
		return
	}
	p.exchange(&side{
		count: p.leads, rate: p.leadRate, gives: p.takes, takes: p.takes,
		partners: h.partners, can: h.rows,
		move: func(i, _, b int) { p.hand(i, b) },
	}, MaxMoving)
}

// seat gives a row a preferred leader that may lead it, and keeps the one that
// it has if nobody is better.
func (p *planner) seat(i int) {
	r := &p.rows[i]
	if r.fixed {
		return
	}
	keeps := slices.Contains(r.set, r.leader)
	if len(r.set) < Voters {
		if n := p.soleVoter(i); n != r.leader {
			p.hand(i, n)
		}
		return
	}
	stays := r.moving && r.reason == ""
	if keeps && (p.unfit(r.leader) == 0 || stays && !p.nodes[r.leader].Dead) {
		return
	}
	best := -1
	if keeps {
		best = r.leader
	}
	for _, n := range r.set {
		if stays && !p.votes(i, n) {
			continue
		}
		if best < 0 || p.worse(i, n) < p.worse(i, best) || p.worse(i, n) == p.worse(i, best) && best != r.leader && p.idler(n, best) {
			best = n
		}
	}
	if best < 0 {
		best = r.set[0]
	}
	if best != r.leader {
		p.hand(i, best)
	}
}

// unfit ranks how little a node is to lead: 0 may, 1 shunned, 2 leaving, 3 dead.
func (p *planner) unfit(n int) int {
	switch node := &p.nodes[n]; {
	case node.Dead:
		return 3
	case node.Leaving:
		return 2
	case node.Shun:
		return 1
	}
	return 0
}

// worse ranks the candidates of a row: who may lead comes first, and then who has
// the data already.
func (p *planner) worse(i, n int) int {
	rank := 2 * p.unfit(n)
	if slices.Contains(p.rows[i].fresh, n) {
		rank++
	}
	return rank
}

// idler reports whether node a leads less than node b.
func (p *planner) idler(a, b int) bool {
	if p.leads[a] != p.leads[b] {
		return p.leads[a] < p.leads[b]
	}
	return p.leadRate[a] < p.leadRate[b]
}

// soleVoter returns the node that votes, alone, in a row of one or two replicas:
// who does already, unless the row changes and that one is to go.
func (p *planner) soleVoter(i int) int {
	r := &p.rows[i]
	rank := func(n int) int {
		rank := 0
		for _, bad := range []bool{
			r.reason != "" && !p.alive[n], !p.votes(i, n), slices.Contains(r.fresh, n), p.unfit(n) > 0, n != r.leader,
		} {
			if rank *= 2; bad {
				rank++
			}
		}
		return rank
	}
	best := r.set[0]
	for _, n := range r.set[1:] {
		if rank(n) < rank(best) || rank(n) == rank(best) && p.idler(n, best) {
			best = n
		}
	}
	return best
}

// handAlong hands a leadership over at each step of a chain. It does nothing and
// returns false if the chain needs one row twice.
func (p *planner) handAlong(h *leaderHops, path []int) bool {
	var rows []int
	for k, n := range path[1:] {
		i := p.best(h.rows(path[k], n), rows, n, p.leadRate[path[k]]-p.leadRate[n], func(i int) bool {
			return slices.Contains(p.rows[i].fresh, n)
		})
		if i < 0 {
			return false
		}
		rows = append(rows, i)
	}
	for k, i := range rows {
		p.hand(i, path[k+1])
	}
	return true
}

// leaderHops hands leaderships over, within the rows of three voters.
type leaderHops struct{ p *planner }

// rows returns the rows whose leadership node n can hand to node m.
func (h *leaderHops) rows(n, m int) []int {
	var out []int
	for _, i := range h.p.led[n] {
		if r := &h.p.rows[i]; r.settled() && slices.Contains(r.set, m) {
			out = append(out, i)
		}
	}
	return out
}

func (h *leaderHops) begin(func(int) bool) {}

func (h *leaderHops) from(n int, reach func(m int)) {
	for _, i := range h.p.led[n] {
		if r := &h.p.rows[i]; r.settled() {
			for _, m := range r.set {
				reach(m)
			}
		}
	}
}

// partners returns the nodes that have replicas of what node a leads.
func (h *leaderHops) partners(a int) []int {
	out := []int{}
	h.from(a, func(m int) {
		if m != a && h.p.takes[m] {
			out = append(out, m)
		}
	})
	slices.Sort(out)
	return slices.Compact(out)
}
