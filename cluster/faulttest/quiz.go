package faulttest

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"cairn/fsm"
)

// HuntID is the hunt that is played.
const HuntID fsm.HuntID = "quiz"

// The quiz has one clue for each rule of the game that a fault could bend.
const (
	free    = iota // open, any number of attempts
	dated          // its answer changes with each edit of the document
	limited        // three attempts
	later          // locked until free is solved
	clues
)

// clueIDs, and what they are worth. Points do not change with edits.
var (
	clueIDs = [clues]fsm.ClueID{"free", "dated", "limited", "later"}
	points  = [clues]int64{5, 11, 3, 7}
)

const (
	attemptLimit = 3
	right        = "the right one"
)

// Document is the hunt with a number, which its title and the answer of one clue
// have: who knows a version's number knows how it judges.
func Document(number int) []byte {
	return fmt.Appendf(nil, `{"id":%q,"title":"Number %d","clues":[
 {"id":"free","title":"Free","points":5,"answers":[%q]},
 {"id":"dated","title":"Dated","points":11,"answers":[{"kind":"text","value":%q,"normalize":"exact"}]},
 {"id":"limited","title":"Limited","points":3,"answers":[%q],"attempts":{"limit":%d}},
 {"id":"later","title":"Later","points":7,"answers":[%q],"unlock":{"solved":"free"}}]}`,
		HuntID, number, right, datedAnswer(number), right, attemptLimit, right)
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
	return "edition " + strings.Map(func(r rune) rune { return r - '0' + 'a' }, fmt.Sprint(number))
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
// right one.
func guess(rng *rand.Rand, clue, number int) string {
	switch {
	case clue == dated && rng.IntN(4) == 0:
		return datedAnswer(max(0, number-1+rng.IntN(3)))
	case clue != dated && rng.IntN(40) == 0:
		return right
	}
	return "wrong " + strings.Map(func(r rune) rune { return r - '0' + 'a' }, fmt.Sprint(rng.IntN(200)))
}

// TeamID is the n-th team that plays.
func TeamID(n int) fsm.TeamID { return fsm.TeamID(fmt.Sprintf("team-%03d", n)) }
