package hunt

import (
	"fmt"
	"slices"
	"strings"

	"cairn/fsm"
	"cairn/fsm/partition"
)

// unlockGraph answers which clues a team that solves everything it sees will
// ever see. Every condition is a gate that opens when need of its inputs are
// open: "all" needs all of n, "any" needs one, "solved" is the clue's own gate,
// and a clue needs its condition and its round's. Opening gates from the ones
// that need nothing reaches the fixpoint in time linear in the inputs, because
// nothing ever closes.
//
// Gate i is clue i's for i < clues. References to things that do not exist are
// left out, as if they were open: they are problems of their own.
type unlockGraph struct {
	doc    *Document
	gates  []gate
	index  map[fsm.ClueID]int
	inside map[string][]int // clues of a round
}

type gate struct {
	need   int
	inputs []int
	open   bool
}

// alwaysOpen stands for a condition without a gate.
const alwaysOpen = -1

func newUnlockGraph(d *Document) *unlockGraph {
	g := &unlockGraph{
		doc: d, gates: make([]gate, len(d.Clues)),
		index: make(map[fsm.ClueID]int, len(d.Clues)), inside: map[string][]int{},
	}
	for i := range d.Clues {
		clue := &d.Clues[i]
		if _, twice := g.index[clue.ID]; !twice {
			g.index[clue.ID] = i
		}
		g.inside[clue.Round] = append(g.inside[clue.Round], i)
	}
	rounds := map[string]int{"": alwaysOpen}
	for i := range d.Rounds {
		rounds[d.Rounds[i].ID] = g.add(&d.Rounds[i].Unlock)
	}
	for i := range d.Clues {
		round, known := rounds[d.Clues[i].Round]
		if !known {
			round = alwaysOpen
		}
		own := g.add(&d.Clues[i].Unlock)
		g.gates[i] = allOf(round, own)
	}
	g.openAll()
	return g
}

// add makes the gate of a condition and returns its number.
func (g *unlockGraph) add(c *Condition) int {
	var made gate
	switch {
	case c.Op == partition.Always:
		return alwaysOpen
	case c.Op == partition.Solved:
		if i, ok := g.index[c.Clue]; ok {
			return i
		}
		return alwaysOpen
	case c.Round != "":
		made = gate{need: c.K, inputs: g.inside[c.Round]}
	default:
		inputs := make([]int, len(c.Of))
		for i := range c.Of {
			inputs[i] = g.add(&c.Of[i])
		}
		made = allOf(inputs...)
		spare := len(inputs) - made.need
		switch c.Op {
		case partition.Any:
			made.need = 1 - spare
		case partition.AtLeast:
			made.need = c.K - spare
		}
	}
	made.need = min(made.need, len(made.inputs)) // k > n is a problem of its own
	g.gates = append(g.gates, made)
	return len(g.gates) - 1
}

// allOf makes a gate that needs all of its inputs; those that are open anyway
// are left out.
func allOf(inputs ...int) gate {
	inputs = slices.DeleteFunc(inputs, func(i int) bool { return i == alwaysOpen })
	return gate{need: len(inputs), inputs: inputs}
}

// openAll opens every gate that can be opened.
func (g *unlockGraph) openAll() {
	feeds := make([][]int, len(g.gates))
	missing := make([]int, len(g.gates))
	var ready []int
	for i, gate := range g.gates {
		missing[i] = gate.need
		for _, input := range gate.inputs {
			feeds[input] = append(feeds[input], i)
		}
		if gate.need <= 0 {
			ready = append(ready, i)
		}
	}
	for len(ready) > 0 {
		i := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		g.gates[i].open = true
		for _, fed := range feeds[i] {
			if missing[fed]--; missing[fed] == 0 {
				ready = append(ready, fed)
			}
		}
	}
}

// blocker returns a clue that keeps clue i locked and is locked itself.
func (g *unlockGraph) blocker(i int) int {
	for {
		shut := slices.IndexFunc(g.gates[i].inputs, func(in int) bool { return !g.gates[in].open })
		if i = g.gates[i].inputs[shut]; i < len(g.doc.Clues) {
			return i
		}
	}
}

// validateReach reports each cycle once, at its first clue in the document's
// order, and every other clue that no team can ever unlock.
func (d *Document) validateReach(p *Problems) {
	g := newUnlockGraph(d)
	inCycle := map[int]bool{}
	seenFrom := make([]int, len(d.Clues)) // the walk that visited a clue, from 1
	for start := range d.Clues {
		i := start
		for ; !g.gates[i].open && seenFrom[i] == 0; i = g.blocker(i) {
			seenFrom[i] = start + 1
		}
		if g.gates[i].open || seenFrom[i] != start+1 || inCycle[i] {
			continue
		}
		g.reportCycle(i, inCycle, p)
	}
	for i := range d.Clues {
		if !g.gates[i].open && !inCycle[i] {
			p.add(0, under(at("clues", i), "unlock"), "can never be unlocked: it needs %s, which never is",
				d.Clues[g.blocker(i)].ID)
		}
	}
}

// shownCycle is how many clues of a cycle are named.
const shownCycle = 12

func (g *unlockGraph) reportCycle(in int, inCycle map[int]bool, p *Problems) {
	first := in
	var ids []string
	for i := in; !inCycle[i]; i = g.blocker(i) {
		inCycle[i] = true
		first = min(first, i)
	}
	for i := first; len(ids) == 0 || i != first; i = g.blocker(i) {
		ids = append(ids, string(g.doc.Clues[i].ID))
	}
	if more := len(ids) - shownCycle; more > 0 {
		ids = append(ids[:shownCycle], fmt.Sprintf("… (%d more)", more))
	}
	ids = append(ids, ids[0])
	p.add(0, under(at("clues", first), "unlock"), "waits for itself: %s", strings.Join(ids, " needs "))
}
