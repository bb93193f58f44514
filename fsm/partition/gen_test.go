package partition

import (
	"fmt"
	"strconv"

	"cairn/fsm"
)

// generator makes random but plausible commands: mostly fitting the state,
// often a repetition, sometimes wrong in one field. pick(n) chooses 0..n-1;
// everything follows from its choices.
type generator struct {
	pick  func(n int) int
	hunts []fsm.HuntID
	teams int
	keys  int // of a team; few keys make many repetitions
	calm  int // a hunt's life ends every calm·500 commands
	now   fsm.Time
	lives map[fsm.HuntID]*generatedLife
	init  bool
	last  []*Submit // some submissions to repeat
}

type generatedLife struct {
	inc     fsm.Incarnation
	version uint64
}

func newGenerator(pick func(int) int, hunts, teams, keys, calm int) *generator {
	g := &generator{pick: pick, teams: teams, keys: keys, calm: calm, now: epoch, lives: map[fsm.HuntID]*generatedLife{}}
	for i := range hunts {
		id := fsm.HuntID("hunt-" + strconv.Itoa(i))
		g.hunts = append(g.hunts, id)
		g.lives[id] = &generatedLife{}
	}
	return g
}

func (g *generator) one(in int) bool { return g.pick(in) == 0 }

var generatedRange = fsm.Range{First: 0, Last: fsm.Slots/8*7 - 1} // a few teams belong elsewhere

// next returns a command and its time, which may be before the one of the last.
func (g *generator) next() (fsm.Time, Command) {
	if !g.init {
		g.init = true
		return g.now, &Init{Partition: 3, Range: generatedRange, Epoch: 9}
	}
	g.now += fsm.Time(g.pick(3)) * 1_000_000
	now := g.now - fsm.Time(g.pick(2)*g.pick(5_000_000)) // another leader's clock may be behind
	hunt := g.hunts[g.pick(len(g.hunts))]
	life := g.lives[hunt]
	if life.version == 0 && g.one(10) { // not installed: mostly soon, sometimes long after
		life.inc, life.version = life.inc+1, 1
		return now, &InstallHunt{hunt, life.inc, 1, g.rules().Encode()}
	}
	inc := life.inc
	if g.one(40) {
		inc += fsm.Incarnation(g.pick(3)) - 1
	}
	switch n := g.pick(1000); {
	case n < 780:
		return now, g.submit(hunt, inc, life.version, now)
	case n < 900:
		return now, g.create(hunt, inc)
	case n < 950:
		return now, g.patch(hunt, inc)
	case n < 979:
		return now, &RotateToken{hunt, inc, g.team(), g.key()}
	case n == 979:
		return now, &Checkpoint{}
	case n < 997:
		if g.one(4) { // the same, or an older one
			return now, &InstallHunt{hunt, life.inc, life.version - uint64(g.pick(2)), g.rules().Encode()}
		}
		life.version++
		return now, &InstallHunt{hunt, life.inc, life.version, g.rules().Encode()}
	case n == 997 || !g.one(g.calm):
		return now, &Init{Range: generatedRange}
	default:
		if g.one(4) { // an older life
			return now, &DeleteHunt{hunt, life.inc - 1}
		}
		life.version = 0
		if g.one(4) { // the next life comes before the last one's end
			return now, &InstallHunt{hunt, life.inc + 1, 1, g.rules().Encode()}
		}
		return now, &DeleteHunt{hunt, life.inc}
	}
}

func (g *generator) team() fsm.TeamID { return fsm.TeamID("team-" + strconv.Itoa(g.pick(g.teams))) }

func (g *generator) key() string { return "key-" + strconv.Itoa(g.pick(g.keys)) }

const generatedClues = 10

func (g *generator) clue() fsm.ClueID {
	return fsm.ClueID("clue-" + strconv.Itoa(g.pick(generatedClues)))
}

func (g *generator) submit(hunt fsm.HuntID, inc fsm.Incarnation, version uint64, now fsm.Time) *Submit {
	if len(g.last) > 0 && g.one(8) {
		return g.last[g.pick(len(g.last))]
	}
	answer := strconv.Itoa(g.pick(6))
	c := &Submit{
		Hunt: hunt, Incarnation: inc, Version: version, Team: g.team(), Clue: g.clue(), Match: [...]Match{Wrong, Wrong, Wrong, Correct, Nudged}[g.pick(5)],
		Answer: answer, Digest: uint64(answer[0] / 2), Key: g.key(),
	}
	if g.one(30) {
		c.Version += uint64(g.pick(3)) - 1
	}
	if g.one(20) {
		c.Generation = uint32(g.pick(3))
	}
	if g.one(10) {
		c.At = now - fsm.Time(g.pick(20)-1)*1_000_000
	}
	if g.one(3) {
		c.Reply, c.Player = "well", "ann"
	}
	if len(g.last) < 32 {
		g.last = append(g.last, c)
	} else {
		g.last[g.pick(len(g.last))] = c
	}
	return c
}

func (g *generator) create(hunt fsm.HuntID, inc fsm.Incarnation) *CreateTeam {
	team := g.team()
	c := &CreateTeam{
		Hunt: hunt, Incarnation: inc, Team: team, Name: fmt.Sprintf("Team %q", team), Key: "make",
		Division: [...]string{"", "", "north", "south"}[g.pick(4)], Public: g.one(10),
	}
	if g.one(8) {
		c.Kind = Test
	}
	if g.one(8) {
		c.Key = g.key()
	}
	return c
}

func (g *generator) patch(hunt fsm.HuntID, inc fsm.Incarnation) *PatchTeam {
	c := &PatchTeam{Hunt: hunt, Incarnation: inc, Team: g.team()}
	switch g.pick(5) {
	case 0:
		c.Name = new("renamed " + strconv.Itoa(g.pick(5)))
	case 1:
		c.Kind = new(TeamKind(g.pick(2)))
	case 2:
		c.Status = new(TeamStatus(g.pick(2) * (1 + g.pick(4)/3)))
	case 3:
		c.Division = new([...]string{"", "north", "south"}[g.pick(3)])
	case 4:
		c.Meta = new("{}")
	}
	return c
}

// rules are of a random selection of clues in a random order, with conditions
// over any of them, cycles included.
func (g *generator) rules() *Rules {
	r := &Rules{Unranked: g.one(2), Registration: g.one(2)}
	if g.one(8) {
		r.State = State(g.pick(4))
	}
	if g.one(3) {
		r.Starts = g.now - fsm.Time(g.pick(20)-2)*1_000_000
	}
	if g.one(3) {
		r.Ends = g.now + fsm.Time(g.pick(200))*1_000_000
	}
	for _, c := range g.shuffled(MaxCriteria)[:1+g.pick(MaxCriteria)] {
		r.Ranking = append(r.Ranking, Criterion(c))
	}
	if g.one(2) {
		r.Finish = g.clue()
	}
	clues := g.shuffled(generatedClues)[:generatedClues-g.pick(3)*g.pick(4)]
	for _, n := range clues {
		c := ClueRule{ID: fsm.ClueID("clue-" + strconv.Itoa(n)), Points: int64(g.pick(4) * 5)}
		if g.one(3) {
			c.Limit = uint32(1 + g.pick(4))
		}
		if g.one(3) {
			c.Unlock = g.cond(len(clues), 2)
		}
		r.Clues = append(r.Clues, c)
	}
	return r
}

func (g *generator) shuffled(n int) []int {
	out := make([]int, n)
	for i := range out {
		j := g.pick(i + 1)
		out[i], out[j] = out[j], i
	}
	return out
}

func (g *generator) cond(clues, depth int) Cond {
	op := CondOp(g.pick(int(AtLeast) + 1))
	if op == Solved || op != Always && depth == 0 {
		return Cond{Op: Solved, Clue: uint16(g.pick(clues))}
	}
	c := Cond{Op: op}
	if op != Always {
		for range g.pick(4) {
			c.Of = append(c.Of, g.cond(clues, depth-1))
		}
	}
	if op == AtLeast {
		c.K = g.pick(len(c.Of) + 1)
	}
	return c
}
