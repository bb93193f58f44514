package hunt

import (
	"fmt"
	"strings"
	"testing"

	"cairn/fsm"
	"cairn/fsm/partition"

	"pgregory.net/rapid"
)

// drawDocument makes a document of up to ten clues in rounds of three, with
// conditions of every form. If reachable, a condition refers only to earlier
// clues and rounds, so that the document is valid; else to any.
func drawDocument(t *rapid.T, reachable bool) *Document {
	d := newDocument()
	d.ID = "h"
	n := rapid.IntRange(1, 10).Draw(t, "clues")
	for r := range (n + 2) / 3 {
		to := n
		if reachable {
			to = 3 * r
		}
		d.Rounds = append(d.Rounds, Round{ID: fmt.Sprintf("r%d", r), Unlock: drawCondition(t, to, n, 0)})
	}
	for i := range n {
		to := n
		if reachable {
			to = i
		}
		clue := Clue{ID: clueID(i), Answers: []Answer{{Value: "x"}}, Unlock: drawCondition(t, to, n, 0)}
		if rapid.Bool().Draw(t, "in round") || !reachable {
			clue.Round = d.Rounds[i/3].ID
		}
		d.Clues = append(d.Clues, clue)
	}
	return d
}

func clueID(i int) fsm.ClueID { return fsm.ClueID(fmt.Sprintf("c%d", i)) }

// drawCondition refers to clues below to.
func drawCondition(t *rapid.T, to, n, depth int) Condition {
	if to == 0 || depth == 0 && rapid.IntRange(0, 3).Draw(t, "free") == 0 {
		return Condition{}
	}
	form := rapid.IntRange(0, 4).Draw(t, "form")
	if depth > 2 || form == 0 {
		return Condition{Op: partition.Solved, Clue: clueID(rapid.IntRange(0, to-1).Draw(t, "clue"))}
	}
	if form == 4 && to == n { // the rounds are full only where any clue may be named
		r := rapid.IntRange(0, (n-1)/3).Draw(t, "round")
		return Condition{Op: partition.AtLeast, Round: fmt.Sprintf("r%d", r), K: rapid.IntRange(1, min(3, n-3*r)).Draw(t, "k")}
	}
	c := Condition{Op: []partition.CondOp{partition.All, partition.Any, partition.AtLeast}[form%3]}
	named := map[fsm.ClueID]bool{}
	for range rapid.IntRange(1, 4).Draw(t, "elements") {
		of := drawCondition(t, to, n, depth+1)
		if of.Op != partition.Solved || !named[of.Clue] {
			c.Of = append(c.Of, of)
			named[of.Clue] = true
		}
	}
	if c.Op == partition.AtLeast {
		c.K = rapid.IntRange(1, len(c.Of)).Draw(t, "k")
	}
	return c
}

// holds evaluates a condition as its definition reads.
func holds(d *Document, c Condition, solved map[fsm.ClueID]bool) bool {
	n := 0
	for _, of := range c.Of {
		if holds(d, of, solved) {
			n++
		}
	}
	if c.Round != "" {
		for _, clue := range d.Clues {
			if clue.Round == c.Round && solved[clue.ID] {
				n++
			}
		}
	}
	switch c.Op {
	case partition.Solved:
		return solved[c.Clue]
	case partition.All:
		return n == len(c.Of)
	case partition.Any:
		return n > 0
	case partition.AtLeast:
		return n >= c.K
	}
	return true
}

func unlocked(d *Document, clue Clue, solved map[fsm.ClueID]bool) bool {
	for _, round := range d.Rounds {
		if round.ID == clue.Round && !holds(d, round.Unlock, solved) {
			return false
		}
	}
	return holds(d, clue.Unlock, solved)
}

// TestReachAgainstTwin compares the gates with solving what is unlocked until
// nothing more unlocks; every clue that stays locked must be in a problem.
func TestReachAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDocument(t, false)
		solved := map[fsm.ClueID]bool{}
		for range d.Clues {
			for _, clue := range d.Clues {
				if unlocked(d, clue, solved) {
					solved[clue.ID] = true
				}
			}
		}
		var problems Problems
		d.validateReach(&problems)
		told := ""
		for _, p := range problems {
			told += fmt.Sprintf(" %s %s ", d.Clues[pathIndex(t, p.Path)].ID, p.Detail)
		}
		g := newUnlockGraph(d)
		for i, clue := range d.Clues {
			if g.gates[i].open != solved[clue.ID] {
				t.Fatalf("clue %s: reached %v, want %v", clue.ID, g.gates[i].open, solved[clue.ID])
			}
			if mentioned := strings.Contains(told, " "+string(clue.ID)+" "); !solved[clue.ID] && !mentioned {
				t.Fatalf("clue %s stays locked, and the problems do not say so:%s", clue.ID, told)
			}
		}
		if (len(problems) == 0) != (len(solved) == len(d.Clues)) {
			t.Fatalf("%d of %d clues can be unlocked; problems:%s", len(solved), len(d.Clues), told)
		}
	})
}

func pathIndex(t *rapid.T, path string) (i int) {
	if _, err := fmt.Sscanf(path, "clues[%d].unlock", &i); err != nil {
		t.Fatalf("path %s: %v", path, err)
	}
	return i
}

// TestLongChain: two thousand clues in a row, the last one first, and the same
// closed to a ring, are judged without recursion and in linear time.
func TestLongChain(t *testing.T) {
	d := newDocument()
	d.ID = "chain"
	for i := range MaxClues {
		d.Clues = append(d.Clues, Clue{
			ID: clueID(i), Answers: []Answer{{Value: "x"}},
			Unlock: Condition{Op: partition.Solved, Clue: clueID((i + 1) % MaxClues)},
		})
	}
	want := "clues[0].unlock: waits for itself: c0 needs c1 needs c2 needs c3 needs c4 needs c5 needs c6 " +
		"needs c7 needs c8 needs c9 needs c10 needs c11 needs … (1988 more) needs c0"
	if problems := d.Validate(); len(problems) != 1 || problems[0].String() != want {
		t.Errorf("a ring: got %.500v", problems)
	}
	d.Clues[MaxClues-1].Unlock = Condition{}
	if problems := d.Validate(); len(problems) > 0 {
		t.Errorf("a chain: got %v", problems)
	}
}
