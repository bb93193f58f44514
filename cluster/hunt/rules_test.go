package hunt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"cairn/fsm"
	"cairn/fsm/partition"

	"pgregory.net/rapid"
)

func TestRules(t *testing.T) {
	d := mustParse(t, `{"id":"h","registration":"open","state":"draft","after_end":"unranked","ranking":["finish","solves"],"finish_clue":"b",
		"starts_at":"1970-01-01T00:00:01Z","ends_at":"1970-01-01T00:00:02Z",
		"rounds":[{"id":"one"},{"id":"two","unlock":{"at_least":1,"round":"one"}}],
		"clues":[{"id":"a","round":"one","answers":["x"],"points":5},
			{"id":"b","round":"two","answers":["x"],"attempts":{"limit":3}},
			{"id":"c","round":"two","answers":["x"],"unlock":{"any":["b","a"]}},
			{"id":"d","answers":["x"],"unlock":"c"}]}`)
	got, err := d.Rules(partition.Paused)
	if err != nil {
		t.Fatal(err)
	}
	solved := func(i uint16) partition.Cond { return partition.Cond{Op: partition.Solved, Clue: i} }
	two := partition.Cond{Op: partition.AtLeast, K: 1, Of: []partition.Cond{solved(0)}}
	want := &partition.Rules{
		State: partition.Paused, Starts: 1e6, Ends: 2e6, Unranked: true, Registration: true,
		Ranking: []partition.Criterion{partition.ByFinish, partition.BySolves}, Finish: "b",
		Clues: []partition.ClueRule{
			{ID: "a", Round: "one", Points: 5},
			{ID: "b", Round: "two", Limit: 3, Unlock: two},
			{ID: "c", Round: "two", Unlock: partition.Cond{Op: partition.All, Of: []partition.Cond{
				two, {Op: partition.Any, Of: []partition.Cond{solved(1), solved(0)}},
			}}},
			{ID: "d", Unlock: solved(2)},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestCompiledAgainstTwin: a valid document survives its own canonical form, and
// its compiled conditions unlock what the written ones do, whatever is solved.
func TestCompiledAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDocument(t, true)
		if again, err := Parse(d.JSON()); err != nil || !bytes.Equal(again.JSON(), d.JSON()) {
			t.Fatalf("%s\ndoes not survive: %v", d.JSON(), err)
		}
		rules, err := d.Rules(partition.Open)
		if err != nil {
			t.Fatal(err)
		}
		solved := map[fsm.ClueID]bool{}
		for i := range d.Clues {
			solved[clueID(i)] = rapid.Bool().Draw(t, "solved")
		}
		for i, rule := range rules.Clues {
			if got, want := compiledHolds(rules, rule.Unlock, solved), unlocked(d, d.Clues[i], solved); got != want {
				t.Fatalf("clue %s with %v solved: unlocked %v, want %v\n%s", rule.ID, solved, got, want, d.JSON())
			}
		}
	})
}

func compiledHolds(r *partition.Rules, c partition.Cond, solved map[fsm.ClueID]bool) bool {
	n := 0
	for _, of := range c.Of {
		if compiledHolds(r, of, solved) {
			n++
		}
	}
	switch c.Op {
	case partition.Solved:
		return solved[r.Clues[c.Clue].ID]
	case partition.All:
		return n == len(c.Of)
	case partition.Any:
		return n > 0
	case partition.AtLeast:
		return n >= c.K
	}
	return true
}

// TestRulesTooLarge: conditions that do not deflate are refused, with advice,
// before they could reach a log.
func TestRulesTooLarge(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	d := newDocument()
	d.ID = "large"
	for i := range MaxClues {
		clue := Clue{ID: clueID(i), Answers: []Answer{{Value: "x"}}}
		if i >= 200 {
			clue.Unlock.Op = partition.Any
			for _, j := range random.Perm(i)[:110] {
				clue.Unlock.Of = append(clue.Unlock.Of, Condition{Op: partition.Solved, Clue: clueID(j)})
			}
		}
		d.Clues = append(d.Clues, clue)
	}
	if problems := d.Validate(); len(problems) > 0 {
		t.Fatal(problems[0])
	}
	if _, err := d.Rules(partition.Open); fsm.KindOf(err) != fsm.TooLarge || !strings.Contains(err.Error(), "simpler") {
		t.Errorf("got %v, want TooLarge with advice", err)
	}
}

// TestLargestUsualHunt: 2,000 clues in forty rounds, each of which needs most of
// the one before, must fit.
func TestLargestUsualHunt(t *testing.T) {
	d := newDocument()
	d.ID = "large"
	for r := range 40 {
		round := Round{ID: fmt.Sprintf("r%d", r)}
		if r > 0 {
			round.Unlock = Condition{Op: partition.AtLeast, K: 40, Round: d.Rounds[r-1].ID}
		}
		d.Rounds = append(d.Rounds, round)
		for i := range 50 {
			d.Clues = append(d.Clues, Clue{ID: clueID(50*r + i), Round: round.ID, Answers: []Answer{{Value: "x"}}})
		}
	}
	if problems := d.Validate(); len(problems) > 0 {
		t.Fatal(problems[0])
	}
	rules, err := d.Rules(partition.Open)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the rules take %d bytes", len(rules.Encode()))
}
