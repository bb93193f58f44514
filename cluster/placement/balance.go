package placement

import (
	"cmp"
	"math"
	"slices"
)

// arrange evens out where this plan's new replicas go: they are not there yet, so
// it costs nothing.
func (p *planner) arrange() {
	h := p.replicaHops(true)
	if h == nil {
		return
	}
	s := newSearch(p.count, p.rate, h.has, p.takes, h)
	for path := s.chain(); path != nil; path = s.chain() {
		if p.moveAlong(h, path, len(path)) == 0 {
			s.done[path[0]] = true
		} else {
			s.restart() // who shares the row may give to who left it
		}
	}
}

// balance evens replicas out, first their counts and then their rates, within the
// limit; rates only while nothing is on the move, for those of a partition that
// moves or elects are least to be trusted. It reports whether replicas move, or
// would without the limit.
func (p *planner) balance() bool {
	h := p.replicaHops(false)
	s := newSearch(p.count, p.rate, p.alive, p.takes, h)
	for path := s.chain(); path != nil; path = s.chain() {
		if p.moving >= MaxMoving {
			return true
		}
		if p.moveAlong(h, path, MaxMoving-p.moving) == 0 {
			s.done[path[0]] = true
		}
	}
	if p.waiting > 0 {
		return true
	}
	return p.exchange(&side{
		count: p.count, rate: p.rate, gives: p.alive, takes: p.takes,
		partners: func(int) []int { return nil },
		can:      func(a, b int) []int { return h.rows(a, b) },
		move: func(i, a, b int) {
			p.replace(i, a, b)
			p.touch(i, ReasonBalance)
		},
	}, MaxMoving-p.moving)
}

// moveAlong moves a replica over each hand-over of a chain, the last first, and
// returns how many it moved: at most limit, and none if the chain needs one row
// twice. The rest of a chain that was cut short is a chain itself, for the next
// plan.
func (p *planner) moveAlong(h *replicaHops, path []int, limit int) int {
	var rows []int
	for k := len(path) - 1; k > 0 && len(rows) < limit; k-- {
		from, to := path[k-1], path[k]
		i := p.best(h.rows(from, to), rows, to, p.rate[from]-p.rate[to], func(i int) bool { return p.rows[i].leader == from })
		if i < 0 {
			return 0
		}
		rows = append(rows, i)
	}
	for k, i := range rows {
		to := len(path) - 1 - k
		p.replace(i, path[to-1], path[to])
		p.touch(i, ReasonBalance)
	}
	return len(rows)
}

// best returns the row whose hand-over to a node is best: one that is not costly,
// then the one that evens the nodes' difference in rate out, then any, but always
// the same. Rows in used are out. -1: none.
func (p *planner) best(rows, used []int, to int, difference float64, costly func(i int) bool) int {
	best, bestCost, bestLeft := -1, false, 0.0
	for _, i := range rows {
		if slices.Contains(used, i) {
			continue
		}
		cost, left := costly(i), math.Abs(difference-2*p.rows[i].rate)
		better := left < bestLeft || left == bestLeft && best >= 0 && scatter(i, to) < scatter(best, to)
		if best < 0 || bestCost && !cost || bestCost == cost && better {
			best, bestCost, bestLeft = i, cost, left
		}
	}
	return best
}

// replicaHops hands replicas over. A row may go where it covers as many zones as
// before.
type replicaHops struct {
	p      *planner
	fresh  bool    // only what this plan adds; otherwise only rows that are free
	has    []bool  // nodes with anything to give
	zones  []int   // that have a node not reached yet
	unseen [][]int // those nodes, of each zone
}

// replicaHops returns nil if there is nothing fresh.
func (p *planner) replicaHops(fresh bool) *replicaHops {
	h := &replicaHops{p: p, fresh: fresh, has: make([]bool, len(p.nodes)), unseen: make([][]int, slices.Max(p.zone)+1)}
	some := false
	for i := range p.rows {
		for _, n := range p.rows[i].fresh {
			h.has[n], some = true, true
		}
	}
	if fresh && !some {
		return nil
	}
	return h
}

// may reports whether row i may leave node n.
func (h *replicaHops) may(i, n int) bool {
	if h.fresh {
		return slices.Contains(h.p.rows[i].fresh, n)
	}
	return h.p.rows[i].free()
}

// fits reports whether row i covers as many zones as before, or as it can, when
// its replica on node n is in zone z instead.
func (h *replicaHops) fits(i, n, z int) bool {
	p, set := h.p, h.p.rows[i].set
	need := min(p.spanned(set, -1), len(set), p.zones)
	others := p.spanned(set, n)
	return others >= need || !slices.ContainsFunc(set, func(o int) bool { return o != n && p.zone[o] == z })
}

// rows returns the rows that node n can hand to node m.
func (h *replicaHops) rows(n, m int) []int {
	var out []int
	for _, i := range h.p.on[n] {
		if h.may(i, n) && !slices.Contains(h.p.rows[i].set, m) && h.fits(i, n, h.p.zone[m]) {
			out = append(out, i)
		}
	}
	return out
}

func (h *replicaHops) begin(open func(n int) bool) {
	h.zones = h.zones[:0]
	for z := range h.unseen {
		h.unseen[z] = h.unseen[z][:0]
	}
	for n, z := range h.p.zone {
		if !open(n) {
			continue
		}
		if len(h.unseen[z]) == 0 {
			h.zones = append(h.zones, z)
		}
		h.unseen[z] = append(h.unseen[z], n)
	}
}

func (h *replicaHops) from(n int, reach func(m int)) {
	for _, i := range h.p.on[n] {
		if len(h.zones) == 0 {
			return
		}
		if !h.may(i, n) {
			continue
		}
		set := h.p.rows[i].set
		h.zones = slices.DeleteFunc(h.zones, func(z int) bool {
			if h.fits(i, n, z) {
				h.unseen[z] = slices.DeleteFunc(h.unseen[z], func(m int) bool {
					if slices.Contains(set, m) {
						return false
					}
					reach(m)
					return true
				})
			}
			return len(h.unseen[z]) == 0
		})
	}
}

// side is what exchange evens: replicas or leaderships.
type side struct {
	count        []int // of each node
	rate         []float64
	gives, takes []bool
	partners     func(a int) []int    // nodes with which node a may exchange; nil: any
	can          func(a, b int) []int // rows that node a can give to node b
	move         func(i, a, b int)
}

// maxPartners is with how many nodes, the quietest first, a busy one is compared.
const maxPartners = 32

// exchange lets busy nodes give rows to quiet ones, each for a quieter row, or
// for none if the busy one has more of them. Counts stay as even as they are. It
// changes at most room rows and reports whether it changed any.
func (p *planner) exchange(s *side, room int) bool {
	moved := false
	for p.rates && room > 0 {
		t, ok := p.bestTrade(s, room > 1)
		if !ok {
			break
		}
		moved = true
		s.move(t.give, t.from, t.to)
		room--
		if t.take >= 0 {
			s.move(t.take, t.to, t.from)
			room--
		}
	}
	return moved
}

// trade is an exchange of rows between a busy node and a quiet one.
type trade struct {
	from, to   int
	give, take int     // take −1: nothing
	gain       float64 // by which the higher of the two rates sinks, in mean partitions
}

// bestTrade returns the best trade of the busiest node that has one.
func (p *planner) bestTrade(s *side, swap bool) (trade, bool) {
	var order []int // the quietest first
	sum := 0.0
	for n := range s.rate {
		if s.gives[n] {
			order = append(order, n)
			sum += s.rate[n]
		}
	}
	byRate := func(a, b int) int { return cmp.Or(cmp.Compare(s.rate[a], s.rate[b]), a-b) }
	slices.SortFunc(order, byRate)
	for _, a := range slices.Backward(order) {
		if s.rate[a]*float64(len(order)) <= (1+Noise)*sum {
			break
		}
		partners := s.partners(a)
		if partners == nil {
			partners = order
		} else {
			slices.SortFunc(partners, byRate)
		}
		best := trade{take: -1}
		for _, b := range partners[:min(len(partners), maxPartners)] {
			if s.rate[a]-s.rate[b] < 2*MinGain {
				break
			}
			if a == b || !s.takes[b] {
				continue
			}
			if t := p.trade(s, a, b, swap); t.gain > best.gain {
				best = t
			}
		}
		if best.gain > 0 {
			return best, true
		}
	}
	return trade{}, false
}

// trade returns the best trade between two nodes; one without gain if none pays.
func (p *planner) trade(s *side, a, b int, swap bool) trade {
	best := trade{from: a, to: b, take: -1}
	give := s.can(a, b)
	var take []int
	if swap {
		take = s.can(b, a)
		slices.SortFunc(take, func(x, y int) int { return cmp.Or(cmp.Compare(p.rows[x].rate, p.rows[y].rate), x-y) })
	}
	half := (s.rate[a] - s.rate[b]) / 2
	try := func(i, j int) {
		back := 0.0
		if j >= 0 {
			back = p.rows[j].rate
		}
		if gain := pays(s.rate[a], s.rate[b], p.rows[i].rate, back); gain > best.gain {
			best.give, best.take, best.gain = i, j, gain
		}
	}
	for _, i := range give {
		if s.count[a] > s.count[b] {
			try(i, -1)
		}
		// The nearest row that pays is beside the ideal, or beside a bound if the
		// ideal is beyond it.
		r := p.rows[i].rate
		low := max(r-2*half+MinGain, s.rate[b]-(s.rate[a]-r)/margin)
		high := min(r-MinGain, r/margin)
		k, _ := slices.BinarySearchFunc(take, min(max(r-half, low), high), func(j int, x float64) int { return cmp.Compare(p.rows[j].rate, x) })
		for j := max(0, k-1); j < min(len(take), k+2); j++ {
			try(i, take[j])
		}
	}
	return best
}

// margin is by how much one measured rate must exceed another to be higher in
// truth.
const margin = (1 + Noise) / (1 - Noise)

// pays returns what is gained if the busier of two nodes gives a row and takes
// another back; 0 if that is less than MinGain, or if noise may have feigned it:
// what is given must be higher than what comes back, and the rest of the giver
// higher than the rest of the taker.
func pays(busy, quiet, give, back float64) float64 {
	if give <= margin*back || busy-give <= margin*(quiet-back) {
		return 0
	}
	gain := min(give-back, busy-quiet-(give-back))
	if gain < MinGain {
		return 0
	}
	return gain
}
