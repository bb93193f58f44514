package hunt

import (
	"crypto/sha256"
	"encoding/binary"

	"cairn/fsm"
	"cairn/fsm/partition"
)

// Matcher compares answers with what one version of a hunt accepts. It does not
// change, and is safe for concurrent use.
type Matcher struct{ clues map[fsm.ClueID]*clueMatcher }

// NewMatcher prepares the answers of a valid document for lookup.
func NewMatcher(d *Document) *Matcher {
	m := &Matcher{clues: make(map[fsm.ClueID]*clueMatcher, len(d.Clues))}
	for i := range d.Clues {
		m.clues[d.Clues[i].ID] = newClueMatcher(d.Clues[i].Answers, d.Clues[i].Nudges)
	}
	return m
}

// Match judges an answer that passed CheckAnswer; ok is false if the hunt has no
// such clue. Answers win over nudges, and what is listed first over what is
// listed later; reply is the winner's.
//
// The digest tells a wrong answer from another: it is the first 8 bytes
// (big-endian) of the SHA-256 of the answer, normalised as the clue's first
// answer is. If that leaves nothing, as alnum does of an emoji, the trimmed
// answer is taken, so that not all such answers look the same.
//
// The work is the same for a right answer and a wrong one of the same length:
// one lookup for each normalisation that the clue uses, and one hash.
func (m *Matcher) Match(clue fsm.ClueID, answer string) (match partition.Match, digest uint64, reply string, ok bool) {
	c := m.clues[clue]
	if c == nil {
		return partition.Wrong, 0, "", false
	}
	match, reply, digest = c.match(answer)
	return match, digest, reply, true
}

// clueMatcher holds the accepted answers and nudges of one clue, by normal form.
type clueMatcher struct {
	digestBy Normalisation
	known    [normalisationEnd]map[string]known // nil where the clue does not use it
}

// known is what a normal form stands for.
type known struct {
	rank  int // answers first, then nudges, each in the document's order
	match partition.Match
	reply string
}

func newClueMatcher(answers, nudges []Answer) *clueMatcher {
	c := &clueMatcher{}
	if len(answers) > 0 {
		c.digestBy = answers[0].Normalize
	}
	for i, a := range answers {
		c.add(a, known{i, partition.Correct, a.Reply})
	}
	for i, a := range nudges {
		c.add(a, known{len(answers) + i, partition.Nudged, a.Reply})
	}
	return c
}

// add keeps the first of equal forms. A form of nothing would match everything
// that has no letters; Validate refuses it and it is left out here.
func (c *clueMatcher) add(a Answer, k known) {
	form := a.Normalize.Apply(a.Value)
	if form == "" {
		return
	}
	table := &c.known[a.Normalize]
	if *table == nil {
		*table = map[string]known{}
	}
	if _, taken := (*table)[form]; !taken {
		(*table)[form] = k
	}
}

func (c *clueMatcher) match(answer string) (match partition.Match, reply string, digest uint64) {
	var room [256]byte // most answers are matched without an allocation
	best := known{rank: -1, match: partition.Wrong}
	for n, table := range c.known {
		if table == nil {
			continue
		}
		k, ok := table[string(Normalisation(n).append(room[:0], answer))]
		if ok && (best.rank < 0 || k.rank < best.rank) {
			best = k
		}
	}
	form := c.digestBy.append(room[:0], answer)
	if len(form) == 0 {
		form = Trim.append(room[:0], answer)
	}
	sum := sha256.Sum256(form)
	return best.match, best.reply, binary.BigEndian.Uint64(sum[:])
}
