package faulttest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"cairn/fsm"
)

// HuntID is the hunt that is played.
const HuntID fsm.HuntID = "quiz"

// The quiz has clues for each rule of the game that a fault could bend.
const (
	free    = iota // open, any number of attempts
	limited        // three attempts
	later          // locked until free is solved
	dated          // this one and those after it: the answer changes with each edit of the document
	clues   = dated + 6
)

// clueIDs, and what each is worth, which does not change with edits.
var (
	clueIDs [clues]fsm.ClueID
	points  [clues]int64
)

func init() {
	copy(clueIDs[:], []fsm.ClueID{"free", "limited", "later"})
	for i := range clues {
		points[i] = int64(3 + 2*i)
		if i >= dated {
			clueIDs[i] = fsm.ClueID(fmt.Sprintf("dated-%d", i-dated+1))
		}
	}
}

const (
	attemptLimit = 3
	right        = "the right one"
)

// Document is the hunt with a number, which its title and the answers of some clues
// have: who knows a version's number knows how it judges.
func Document(number int) []byte {
	type clue map[string]any
	var list []clue
	for i, id := range clueIDs {
		c := clue{"id": id, "title": "A clue", "points": points[i], "answers": []any{right}}
		switch {
		case i == limited:
			c["attempts"] = clue{"limit": attemptLimit}
		case i == later:
			c["unlock"] = clue{"solved": clueIDs[free]}
		case i >= dated:
			c["answers"] = []any{clue{"kind": "text", "value": datedAnswer(number), "normalize": "exact"}}
		}
		list = append(list, c)
	}
	doc, err := json.Marshal(clue{"id": HuntID, "title": fmt.Sprintf("Number %d", number), "clues": list})
	if err != nil {
		panic(err) // of plain maps and texts
	}
	return doc
}

// NumberOf is the inverse of Document's title; -1 if it is none.
func NumberOf(title string) int {
	n := -1
	if _, err := fmt.Sscanf(title, "Number %d", &n); err != nil {
		return -1
	}
	return n
}

// datedAnswer has its digits spelled as letters, so that no normalisation makes
// two numbers equal.
func datedAnswer(number int) string {
	return "edition " + letters(number)
}

func letters(n int) string {
	return strings.Map(func(r rune) rune { return r - '0' + 'a' }, strconv.Itoa(n))
}

// clueIndex is the place of a clue in the quiz, -1 if it is not of it.
func clueIndex(id fsm.ClueID) int {
	for i, c := range clueIDs {
		if c == id {
			return i
		}
	}
	return -1
}

// guess draws an answer: mostly wrong, some of them given before, now and then the
// right one. To a dated clue it is often one that was right, or will be, next to the
// number that the document is known to have.
func guess(rng *rand.Rand, clue, number int) string {
	switch r := rng.IntN(40); {
	case clue >= dated && r < 2:
		return datedAnswer(number)
	case clue >= dated && r < 20:
		return datedAnswer(max(0, number-1+2*rng.IntN(2)))
	case clue < dated && r == 0:
		return right
	}
	return "wrong " + letters(rng.IntN(200))
}

// TeamID is the n-th team that plays.
func TeamID(n int) fsm.TeamID { return fsm.TeamID(fmt.Sprintf("team-%03d", n)) }
