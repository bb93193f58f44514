package placement

import "slices"

// repair replaces what is on dead nodes and nodes that are no members, and fills
// a row up to the wished number of replicas, without a limit. What cannot be
// replaced stays, as long as there is a member to name.
func (p *planner) repair(i int) {
	r := &p.rows[i]
	if r.fixed {
		return
	}
	for k := 0; k < len(r.set); k++ {
		n := r.set[k]
		if !p.nodes[n].Dead {
			continue
		}
		reason := ReasonRepair
		if p.nodes[n].Leaving {
			reason = ReasonLeave
		}
		if p.spared(r.set, n) {
			p.drop(i, n)
			p.touch(i, reason)
			k--
		} else if m := p.pick(i, n); m >= 0 {
			p.replace(i, n, m) // the newcomer is last
			p.touch(i, reason)
			k--
		}
	}
	reason := ReasonJoin
	if r.gone > 0 {
		reason = ReasonRepair
	}
	for len(r.set) < p.want {
		m := p.pick(i, -1)
		if m < 0 {
			break
		}
		p.add(i, m)
		r.fresh = append(r.fresh, m)
		p.touch(i, reason)
	}
	switch {
	case len(r.set) == 0:
		r.fixed = true // all its nodes are gone and there is no other
	case r.gone > 0:
		p.touch(i, reason)
	}
}

// spared reports whether a row that loses its replica on node n, which is dead,
// has as many as wished nevertheless, not counting those that leave.
func (p *planner) spared(set []int, n int) bool {
	stay := 0
	for _, m := range set {
		if m != n && !p.nodes[m].Leaving {
			stay++
		}
	}
	return stay >= p.want
}

// leave moves one replica of a row off a live node that leaves; with nowhere to
// go the row shrinks, if it is to and a usable replica stays.
func (p *planner) leave(i int) {
	r := &p.rows[i]
	if p.moving >= MaxLeaving || !r.free() {
		return
	}
	from, usable := -1, false
	for _, n := range r.set {
		if p.alive[n] {
			usable = true
		} else if !p.nodes[n].Dead && (from < 0 || from == r.leader) {
			from = n
		}
	}
	switch {
	case from < 0:
	case len(r.set) > p.want && usable:
		p.drop(i, from)
		p.touch(i, ReasonLeave)
	default:
		if m := p.pick(i, from); m >= 0 {
			p.replace(i, from, m)
			p.touch(i, ReasonLeave)
		}
	}
}

// pick returns the best usable node for a new replica of row i, which takes the
// place of that on node n (-1: of none): in a zone that the row does not use yet,
// not shunned, with the fewest replicas, not hot, with the lowest rate; of equals
// any, but always the same. It returns -1 if every usable node has a replica already.
func (p *planner) pick(i, n int) int {
	set := p.rows[i].set
	best, bestCrowd := -1, 0
	for m := range p.nodes {
		if !p.alive[m] || slices.Contains(set, m) {
			continue
		}
		crowd := p.crowd(set, n, m)
		if best < 0 || crowd < bestCrowd || crowd == bestCrowd && p.roomier(i, m, best) {
			best, bestCrowd = m, crowd
		}
	}
	return best
}

// roomier reports whether node a is a better place for a replica of row i than
// node b.
func (p *planner) roomier(i, a, b int) bool {
	switch {
	case p.takes[a] != p.takes[b]:
		return p.takes[a]
	case p.count[a] != p.count[b]:
		return p.count[a] < p.count[b]
	case p.hot[a] != p.hot[b]:
		return p.hot[b]
	case p.rate[a] != p.rate[b]:
		return p.rate[a] < p.rate[b]
	}
	return scatter(i, a) < scatter(i, b)
}

// scatter orders equals differently for each row, so that the rows of a node have
// many different neighbours: they share the work when it dies.
func scatter(i, n int) uint64 {
	x := uint64(i)*0x9e3779b97f4a7c15 + uint64(n)*0xc2b2ae3d27d4eb4f
	x = (x ^ x>>29) * 0xbf58476d1ce4e5b9
	return x ^ x>>32
}

// crowd says how many of a row's replicas other than that on node n share the
// zone of node m. Those that are to go anyway count a quarter of the others.
func (p *planner) crowd(set []int, n, m int) int {
	crowd := 0
	for _, o := range set {
		switch {
		case o == n || p.zone[o] != p.zone[m]:
		case p.alive[o]:
			crowd += 4
		default:
			crowd++
		}
	}
	return crowd
}

// trim takes one replica off every row that has more than wished, from its most
// crowded zone and the fullest node there, within the limit of balance.
func (p *planner) trim() {
	for i := range p.rows {
		r := &p.rows[i]
		if len(r.set) <= p.want || !r.free() || p.moving >= MaxMoving {
			continue
		}
		if slices.ContainsFunc(r.set, func(n int) bool { return !p.alive[n] }) {
			continue // that one goes first
		}
		p.drop(i, p.spare(r, 0))
		p.touch(i, ReasonBalance)
	}
}

// spread moves a replica of every row that has two in one zone, while there is a
// zone that it does not use, within the limit of balance.
func (p *planner) spread() {
	for i := range p.rows {
		r := &p.rows[i]
		if p.moving >= MaxMoving || p.zones < 2 {
			return
		}
		if !r.free() || p.spanned(r.set, -1) >= min(len(r.set), p.zones) {
			continue
		}
		n := p.spare(r, 4)
		if n < 0 {
			continue
		}
		if m := p.pick(i, n); m >= 0 && p.crowd(r.set, n, m) == 0 {
			p.replace(i, n, m)
			p.touch(i, ReasonZone)
		}
	}
}

// spare returns the usable node that a row can do without most easily: in the
// most crowded zone, at least so crowded, the fullest, not the leader. -1: none.
func (p *planner) spare(r *row, least int) int {
	best, bestCrowd := -1, 0
	for _, n := range r.set {
		crowd := p.crowd(r.set, n, n)
		if !p.alive[n] || crowd < least {
			continue
		}
		if best < 0 || crowd > bestCrowd || crowd == bestCrowd && (p.count[n] > p.count[best] ||
			p.count[n] == p.count[best] && best == r.leader) {
			best, bestCrowd = n, crowd
		}
	}
	return best
}

// spanned returns how many zones a row's replicas other than that on node n use.
func (p *planner) spanned(set []int, n int) int {
	zones := 0
	for k, m := range set {
		if m != n && !slices.ContainsFunc(set[:k], func(o int) bool { return o != n && p.zone[o] == p.zone[m] }) {
			zones++
		}
	}
	return zones
}
