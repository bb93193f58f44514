package placement

import (
	"cmp"
	"slices"

	"cairn/fsm"
)

// ControllerNode is one member of the cluster as a member of the controller's
// group.
type ControllerNode struct {
	Replica fsm.Replica
	Zone    string
	Joined  fsm.Time
	// Usable: it lives, and has not been shunned for long.
	Usable bool
	// Leaving: it is to go, and to vote only while too few others can.
	Leaving bool
	// Shunned: it is to lead nothing, being drained or not fit for it.
	Shunned bool
}

// MaxControllerVoters is the most voters of the controller's group: each costs
// every entry a round trip, and five survive two deaths.
const MaxControllerVoters = 5

// ControllerWant returns the wished members of the controller's group, in order
// of input: everybody, with 1 voter for one or two members that do not leave, 3
// for three or four, 5 from five on; less if present voters and usable members
// are too few, but always an odd number. It does not sink while more than half of
// those who would stay are dead or leave.
//
// The voters are those who vote already and are usable, then usable ones, then
// those who vote and are not usable, and last those who leave; within each of
// these the zone with the fewest comes first, then the longest-standing. So
// nobody who does well is replaced, and death alone never shrinks the group.
//
// The wish differs from the present voters by one step: it adds one voter, or
// drops one, or replaces one. Beside fewer than three voters it adds up to three
// at once, because Next promotes two newcomers together. So a majority of the
// present voters is wished whenever there are three or more.
func ControllerWant(members []ControllerNode, votes func(fsm.Replica) bool) []Want {
	present, eligible, stay := 0, 0, 0
	rank, voter := make([]int, len(members)), make([]bool, len(members))
	for i, m := range members {
		voter[i] = votes(m.Replica)
		rank[i] = standing(m, voter[i])
		if voter[i] {
			present++
		}
		if rank[i] < noVoter {
			eligible++
		}
		if !m.Leaving {
			stay++
		}
	}
	number := odd(min(MaxControllerVoters, stay, eligible))
	best := elect(members, rank, number)
	if number < present && !mostly(best, rank) {
		number = odd(present)
		best = elect(members, rank, number)
	}
	in := slices.DeleteFunc(slices.Clone(best), func(i int) bool { return voter[i] })
	step := 1
	if present < Voters {
		step = max(1, min(number, Voters)-present)
	}
	if present >= number && (present > number || len(in) > 0) {
		if out := worst(members, rank, voter, best); out >= 0 {
			voter[out] = false
		}
	}
	if present <= number {
		for _, i := range in[:min(len(in), step)] {
			voter[i] = true
		}
	}
	out := make([]Want, len(members))
	for i, m := range members {
		out[i] = Want{m.Replica, voter[i]}
	}
	return out
}

// ControllerPreferred returns who is to lead the controller's group instead of its
// leader: the longest-standing voter that is usable and may lead, if the leader
// may not; else nobody, for a leader that does well is not replaced.
func ControllerPreferred(members []ControllerNode, votes func(fsm.Replica) bool, leader fsm.Replica) fsm.NodeID {
	best := -1
	for i, m := range members {
		shunned := m.Shunned || m.Leaving
		if m.Replica == leader && !shunned {
			return ""
		}
		if !shunned && m.Usable && votes(m.Replica) && (best < 0 || seniority(m, members[best]) < 0) {
			best = i
		}
	}
	if best < 0 {
		return ""
	}
	return members[best].Replica.Node
}

// noVoter is the standing of those who are not to vote.
const noVoter = 4

// standing ranks who is to vote, the best first.
func standing(m ControllerNode, votes bool) int {
	switch {
	case m.Usable && votes && !m.Leaving:
		return 0
	case m.Usable && !m.Leaving:
		return 1
	case votes && !m.Leaving:
		return 2
	case votes:
		return 3
	}
	return noVoter
}

// mostly reports whether more than half of some members are usable and stay.
func mostly(some, rank []int) bool {
	fit := 0
	for _, i := range some {
		if rank[i] < 2 {
			fit++
		}
	}
	return fit > len(some)/2
}

// odd returns the highest odd number up to n, at least 1.
func odd(n int) int { return max(1, (n-1)/2*2+1) }

// elect returns the best number members, the best first: each is the best of the
// rest, given the zones of those before it.
func elect(members []ControllerNode, rank []int, number int) []int {
	var out []int
	zones := map[string]int{}
	for len(out) < number {
		best := -1
		for i, m := range members {
			if rank[i] >= noVoter || slices.Contains(out, i) {
				continue
			}
			if best < 0 || cmp.Or(rank[i]-rank[best], zones[m.Zone]-zones[members[best].Zone], seniority(m, members[best])) < 0 {
				best = i
			}
		}
		if best < 0 {
			break
		}
		out = append(out, best)
		zones[members[best].Zone]++
	}
	return out
}

// seniority is negative if a has been a member for longer than b.
func seniority(a, b ControllerNode) int {
	return cmp.Or(cmp.Compare(a.Joined, b.Joined), cmp.Compare(a.Replica.Node, b.Replica.Node))
}

// worst returns the voter to drop: not among the best, not usable rather than
// usable (it counts in the quorum and answers nothing), of the lowest standing,
// the youngest. -1: all are among the best.
func worst(members []ControllerNode, rank []int, voter []bool, best []int) int {
	out := -1
	for i, m := range members {
		if !voter[i] || slices.Contains(best, i) {
			continue
		}
		switch {
		case out < 0, members[out].Usable && !m.Usable:
			out = i
		case members[out].Usable == m.Usable && cmp.Or(rank[out]-rank[i], seniority(members[out], m)) < 0:
			out = i
		}
	}
	return out
}
