package partition

import (
	"math"
	"strings"

	"github.com/tidwall/btree"

	"cairn/fsm"
)

// game is one incarnation of a hunt: the installed version of its rules and
// the teams that are in this partition.
type game struct {
	incarnation fsm.Incarnation
	version     uint64
	packed      []byte // the rules as InstallHunt brought them
	teams       *btree.Map[fsm.TeamID, *team]

	// dict numbers every clue id that any version used, in order of appearance:
	// records and teams hold numbers, so a later version may move, drop and bring
	// back clues without touching a team. It only grows.
	dict []fsm.ClueID

	// Derived from the above.
	rules  *Rules
	number map[fsm.ClueID]uint32 // inverse of dict
	clues  []uint32              // number of Rules.Clues[i]
	index  map[fsm.ClueID]int    // of a clue in Rules.Clues
	feeds  [][]uint16            // feeds[i]: clues whose condition names clue i, in the hunt's order
	finish int64                 // number of the finish clue; -1: none
	boards boards
	tally  tally
}

func newGame(inc fsm.Incarnation) *game {
	return &game{
		incarnation: inc,
		teams:       btree.NewMap[fsm.TeamID, *team](0),
		number:      map[fsm.ClueID]uint32{},
	}
}

// install brings a later version of the rules in. TooLarge if all versions
// together name more than MaxClueIDs clues; then nothing changed.
func (g *game) install(version uint64, rules *Rules, packed []byte) *fsm.Error {
	var fresh []fsm.ClueID
	for i := range rules.Clues {
		if id := rules.Clues[i].ID; !g.knows(id) {
			fresh = append(fresh, fsm.ClueID(strings.Clone(string(id))))
		}
	}
	if len(g.dict)+len(fresh) > MaxClueIDs {
		return fsm.Errorf(fsm.TooLarge,
			"the hunt's versions name more than %d clues; delete the hunt and create it anew", MaxClueIDs)
	}
	for _, id := range fresh {
		g.name(id)
	}
	g.version, g.packed = version, packed
	g.compile(rules)
	return nil
}

func (g *game) knows(id fsm.ClueID) bool {
	_, ok := g.number[id]
	return ok
}

func (g *game) name(id fsm.ClueID) {
	g.number[id] = uint32(len(g.dict))
	g.dict = append(g.dict, id)
	g.tally.clues = append(g.tally.clues, clueTally{})
}

// compile derives what is derived from the rules.
func (g *game) compile(rules *Rules) {
	g.rules = rules
	g.clues = make([]uint32, len(rules.Clues))
	g.index = make(map[fsm.ClueID]int, len(rules.Clues))
	g.feeds = make([][]uint16, len(rules.Clues))
	for i := range rules.Clues {
		id := rules.Clues[i].ID
		g.index[id], g.clues[i] = i, g.number[id]
	}
	for i := range rules.Clues {
		g.feed(&rules.Clues[i].Unlock, uint16(i))
	}
	g.finish = -1
	if i, ok := g.index[rules.Finish]; ok {
		g.finish = int64(g.clues[i])
	}
	g.rank()
}

// feed notes under every clue that c names that clue i waits for it.
func (g *game) feed(c *Cond, i uint16) {
	if c.Op == Solved {
		list := g.feeds[c.Clue]
		if len(list) == 0 || list[len(list)-1] != i { // clues come in order, so a repetition is the last
			g.feeds[c.Clue] = append(list, i)
		}
	}
	for j := range c.Of {
		g.feed(&c.Of[j], i)
	}
}

// accessible reports whether a team with these solved clues may answer clue i
// of the rules. A solved clue stays accessible whatever its condition says now.
func (g *game) accessible(solved bits, i int) bool {
	return solved.has(g.clues[i]) || g.holds(&g.rules.Clues[i].Unlock, solved)
}

func (g *game) holds(c *Cond, solved bits) bool {
	need := 0
	switch c.Op {
	case Always:
		return true
	case Solved:
		return solved.has(g.clues[c.Clue])
	case All:
		need = len(c.Of)
	case Any:
		need = 1
	case AtLeast:
		need = c.K
	}
	for j := range c.Of {
		if need == 0 || need > len(c.Of)-j { // enough, or too few left
			break
		}
		if g.holds(&c.Of[j], solved) {
			need--
		}
	}
	return need == 0
}

// opened returns the numbers of the clues that become accessible when clue i is
// solved, in the hunt's order.
func (g *game) opened(solved bits, i int) (numbers []uint32) {
	after := solved.with(g.clues[i])
	for _, j := range g.feeds[i] {
		if int(j) != i && g.accessible(after, int(j)) && !g.accessible(solved, int(j)) {
			numbers = append(numbers, g.clues[j])
		}
	}
	return numbers
}

// rankKey is a team's key under the installed ranking.
func (g *game) rankKey(t *team) (key RankKey) {
	for i, by := range g.rules.Ranking {
		switch by {
		case ByPoints:
			key[i] = -t.score
		case BySolves:
			key[i] = -int64(t.solves)
		case ByFinish:
			key[i] = orNever(g.finishedAt(t))
		case ByLastSolve:
			key[i] = orNever(t.lastSolve, t.solves > 0)
		}
	}
	return key
}

func orNever(at fsm.Time, ok bool) int64 {
	if !ok {
		return math.MaxInt64
	}
	return int64(at)
}

// finishedAt is the event time of the team's ranked solve of the finish clue;
// zero and false without one.
func (g *game) finishedAt(t *team) (at fsm.Time, ok bool) {
	if g.finish < 0 {
		return 0, false
	}
	p := t.progress(uint32(g.finish))
	if !p.ranked {
		return 0, false
	}
	return p.solvedAt, true
}

// bits is a set of clue numbers.
type bits []uint64

func (b bits) has(n uint32) bool {
	return int(n/64) < len(b) && b[n/64]&(1<<(n%64)) != 0
}

// with returns a copy of b that has n too. Sets are never changed in place.
func (b bits) with(n uint32) bits {
	out := make(bits, max(len(b), int(n/64)+1))
	copy(out, b)
	out[n/64] |= 1 << (n % 64)
	return out
}
