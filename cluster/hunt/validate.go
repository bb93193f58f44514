package hunt

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"cairn/fsm"
	"cairn/fsm/partition"
)

// Validate returns what is wrong with the document's meaning; nothing for a
// document that Parse returned. It changes nothing.
func (d *Document) Validate() Problems {
	v := validator{doc: d, rounds: map[string]int{}, clues: map[fsm.ClueID]bool{}}
	for _, round := range d.Rounds {
		v.rounds[round.ID] = 0
	}
	for i := range d.Clues {
		v.clues[d.Clues[i].ID] = true
		if _, ok := v.rounds[d.Clues[i].Round]; ok {
			v.rounds[d.Clues[i].Round]++
		}
	}
	v.top()
	v.counted("rounds", len(d.Rounds), MaxRounds)
	v.counted("clues", len(d.Clues), MaxClues)
	if len(d.Clues) > MaxClues || len(d.Rounds) > MaxRounds {
		return v.problems // one mistake, not thousands
	}
	seen := map[string]string{}
	for i := range d.Rounds {
		path := at("rounds", i)
		v.id(path, d.Rounds[i].ID, seen)
		v.name(under(path, "title"), d.Rounds[i].Title)
		v.condition(under(path, "unlock"), &d.Rounds[i].Unlock, 1)
	}
	seen = map[string]string{}
	for i := range d.Clues {
		v.clue(at("clues", i), &d.Clues[i], seen)
	}
	if n := v.spelledOut(); n > MaxConditions {
		v.problem("clues", "have %d unlock conditions with rounds spelled out; at most %d are allowed", n, MaxConditions)
	} else {
		d.validateReach(&v.problems)
	}
	return v.problems
}

type validator struct {
	doc      *Document
	problems Problems
	rounds   map[string]int // clues in each round
	clues    map[fsm.ClueID]bool
}

func (v *validator) problem(path, format string, args ...any) {
	v.problems.add(0, path, format, args...)
}

// top checks the fields of the document itself.
func (v *validator) top() {
	d := v.doc
	v.id("", string(d.ID), map[string]string{})
	v.name("title", d.Title)
	v.text("description", d.Description)
	if _, ok := ParseState(d.State); !ok {
		v.problem("state", "must be one of %s", strings.Join(states[:], ", "))
	}
	if d.StartsAt != 0 && d.EndsAt != 0 && d.StartsAt >= d.EndsAt {
		v.problem("ends_at", "must be later than starts_at")
	}
	if len(d.Ranking) == 0 {
		v.problem("ranking", "is empty; leave it out for %s", strings.Join(defaultRanking, ", "))
	}
	for i, word := range d.Ranking[:min(len(d.Ranking), len(criteria)+1)] {
		switch {
		case !slices.Contains(criteria[:], word):
			v.problem(at("ranking", i), "must be one of %s", strings.Join(criteria[:], ", "))
		case slices.Contains(d.Ranking[:i], word):
			v.problem(at("ranking", i), "%s is listed twice", word)
		}
	}
	switch {
	case d.FinishClue != "" && !v.clues[d.FinishClue]:
		v.problem("finish_clue", "there is no clue %s", quote(string(d.FinishClue)))
	case d.FinishClue == "" && slices.Contains(d.Ranking, "finish"):
		v.problem("finish_clue", "is missing: the ranking by finish needs it")
	}
}

func (v *validator) clue(path string, c *Clue, seen map[string]string) {
	v.id(path, string(c.ID), seen)
	if _, ok := v.rounds[c.Round]; c.Round != "" && !ok {
		v.problem(under(path, "round"), "there is no round %s", quote(c.Round))
	}
	v.name(under(path, "title"), c.Title)
	v.text(under(path, "prompt"), c.Prompt)
	v.text(under(path, "solution"), c.Solution)
	v.amount(under(path, "points"), c.Points, MaxPoints)
	v.amount(under(path, "attempts.limit"), int64(c.AttemptLimit), MaxAttempts)
	v.answers(path, c)
	v.condition(under(path, "unlock"), &c.Unlock, 1)
	if v.counted(under(path, "hints"), len(c.Hints), MaxHints) {
		hints := map[string]string{}
		for i, hint := range c.Hints {
			path := at(under(path, "hints"), i)
			v.id(path, hint.ID, hints)
			v.text(under(path, "text"), hint.Text)
			if hint.Text == "" {
				v.problem(under(path, "text"), "is missing")
			}
			v.amount(under(path, "cost"), hint.Cost, MaxPoints)
		}
	}
}

func (v *validator) answers(path string, c *Clue) {
	answers, nudges := under(path, "answers"), under(path, "nudges")
	if len(c.Answers) == 0 {
		v.problem(answers, "is empty: the clue could never be solved")
	}
	if !v.counted(answers, len(c.Answers), MaxAnswers) || !v.counted(nudges, len(c.Nudges), MaxAnswers) {
		return
	}
	for i := range c.Answers {
		v.answer(at(answers, i), &c.Answers[i])
	}
	accepted := newClueMatcher(c.Answers, nil)
	for i, nudge := range c.Nudges {
		path := at(nudges, i)
		v.answer(path, &nudge)
		if match, _, _ := accepted.match(nudge.Value); match == partition.Correct {
			v.problem(path, "%s is accepted as an answer, so the nudge would never be given", quote(nudge.Value))
		}
	}
}

func (v *validator) answer(path string, a *Answer) {
	value := under(path, "value")
	if problem := lineProblem(a.Value, 1, MaxAnswerChars, pasted); problem != "" {
		v.problem(value, "%s", problem)
	} else if a.Normalize >= normalisationEnd {
		v.problem(under(path, "normalize"), "must be one of %s", strings.Join(normalisations[:], ", "))
	} else if a.Normalize.Apply(a.Value) == "" {
		v.problem(value, "matches nothing: nothing is left of it after %v normalisation; "+
			"use \"normalize\": \"trim\" or \"exact\"", a.Normalize)
	}
	if len(a.Reply) > partition.MaxReply || !utf8.ValidString(a.Reply) {
		v.problem(under(path, "reply"), "has %d bytes; at most %d bytes of UTF-8 are allowed", len(a.Reply), partition.MaxReply)
	}
}

// condition checks one condition and those inside it. Reaching the clues that it
// names is checked for the whole document at once.
func (v *validator) condition(path string, c *Condition, depth int) {
	switch {
	case depth > MaxConditionDepth:
		v.problem(path, "is nested too deeply; at most %d levels are allowed", MaxConditionDepth)
		return
	case c.Op == partition.Always:
		if depth > 1 {
			v.problem(path, "is empty")
		}
		return
	case c.Op == partition.Solved:
		v.known(path, c.Clue)
		return
	case c.Round != "":
		n, ok := v.rounds[c.Round]
		if !ok {
			v.problem(under(path, "round"), "there is no round %s", quote(c.Round))
			return
		}
		v.atLeast(path, c.K, n, fmt.Sprintf("round %s has", c.Round))
		return
	}
	word := "of"
	switch c.Op {
	case partition.All:
		word = "all"
	case partition.Any:
		word = "any"
	default:
		v.atLeast(path, c.K, len(c.Of), "there are")
	}
	if len(c.Of) == 0 {
		v.problem(under(path, word), "is empty")
	}
	named := map[fsm.ClueID]bool{}
	for i := range c.Of {
		path := at(under(path, word), i)
		v.condition(path, &c.Of[i], depth+1)
		if clue := c.Of[i].Clue; clue != "" && named[clue] {
			v.problem(path, "clue %s is listed twice", clue)
		} else {
			named[clue] = true
		}
	}
}

func (v *validator) atLeast(path string, k, n int, there string) {
	if k < 1 {
		v.problem(under(path, "at_least"), "must be at least 1; leave the condition out if nothing is needed")
	} else if k > n {
		v.problem(under(path, "at_least"), "is %d, but %s only %d", k, there, n)
	}
}

func (v *validator) known(path string, clue fsm.ClueID) {
	if !v.clues[clue] {
		v.problem(path, "there is no clue %s", quote(string(clue)))
	}
}

// spelledOut counts the conditions that the compiled rules will hold.
func (v *validator) spelledOut() int {
	rounds := map[string]int{}
	for i := range v.doc.Rounds {
		rounds[v.doc.Rounds[i].ID] = v.count(&v.doc.Rounds[i].Unlock)
	}
	total := 0
	for i := range v.doc.Clues {
		c := &v.doc.Clues[i]
		total += 1 + rounds[c.Round] + v.count(&c.Unlock)
	}
	return total
}

func (v *validator) count(c *Condition) int {
	n := 1
	if c.Round != "" {
		n += v.rounds[c.Round]
	}
	for i := range c.Of {
		n += v.count(&c.Of[i])
	}
	return n
}

// id checks the id of the thing at path; seen maps the ids so far to their paths.
func (v *validator) id(path, id string, seen map[string]string) {
	where := under(path, "id")
	first, twice := seen[id]
	switch {
	case id == "":
		v.problem(where, "is missing")
	case !fsm.ValidID(id):
		v.problem(where, "%s is not an id: use 1 to %d of a-z, 0-9, dot, underscore and hyphen, a letter or digit first",
			quote(id), fsm.MaxID)
	case twice:
		v.problem(where, "%s is the id of %s already", id, first)
	default:
		seen[id] = path
	}
}

func (v *validator) name(path, s string) {
	if problem := lineProblem(s, 0, MaxNameChars, ""); problem != "" {
		v.problem(path, "%s", problem)
	}
}

func (v *validator) text(path, s string) {
	if len(s) > MaxText || !utf8.ValidString(s) {
		v.problem(path, "has %d bytes; at most %d bytes of UTF-8 are allowed", len(s), MaxText)
	}
}

func (v *validator) amount(path string, n, most int64) {
	if n < 0 || n > most {
		v.problem(path, "is %d; it must be from 0 to %d", n, most)
	}
}

func (v *validator) counted(path string, n, most int) bool {
	if n > most {
		v.problem(path, "has %d elements; at most %d are allowed", n, most)
	}
	return n <= most
}
