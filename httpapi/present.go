package httpapi

import (
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/fsm/partition"
	"cairn/httpapi/rest"
)

// This file turns what the machines return into what the API shows.

var (
	kindWords   = [...]string{partition.Normal: "normal", partition.Test: "test"}
	statusWords = [...]string{partition.Active: "active", partition.Hidden: "hidden", partition.Disqualified: "disqualified"}
)

func teamKind(word string) (partition.TeamKind, error) {
	for k, w := range kindWords {
		if w == word {
			return partition.TeamKind(k), nil
		}
	}
	return 0, invalid("kind", "must be normal or test")
}

func teamStatus(word string) (partition.TeamStatus, error) {
	for s, w := range statusWords {
		if w == word {
			return partition.TeamStatus(s), nil
		}
	}
	return 0, invalid("status", "must be active, hidden or disqualified")
}

// optionalTime leaves the zero Time out of an answer.
func optionalTime(t fsm.Time) *fsm.Time {
	if t == 0 {
		return nil
	}
	return &t
}

// attemptsLeft is absent where there is no limit.
func attemptsLeft(limit, spent uint32) *uint32 {
	if limit == 0 {
		return nil
	}
	left := limit - min(spent, limit)
	return &left
}

// restTeam leaves Rank and Clues to its caller.
func restTeam(t *partition.Team) rest.Team {
	out := rest.Team{
		ID: t.ID, Name: t.Name, Kind: kindWords[t.Kind], Status: statusWords[t.Status], Division: t.Division,
		Created: t.Created, Score: t.Score, Solves: t.Solves,
		FinishedAt: optionalTime(t.FinishedAt), LastSolve: optionalTime(t.LastSolve),
	}
	if t.Meta != "" {
		out.Meta = json.RawMessage(t.Meta)
	}
	return out
}

func restTeamClue(c *partition.Clue) rest.TeamClue {
	out := rest.TeamClue{
		ID: c.ID, State: "unlocked", Attempts: c.Attempts, AttemptsLeft: attemptsLeft(c.Limit, c.Attempts),
		HintsTaken: []string{},
	}
	if c.SolvedAt != 0 {
		out.State, out.SolvedAt = "solved", optionalTime(c.SolvedAt)
	}
	return out
}

// restClue shows a clue that is unlocked for a team. The solution comes with it
// once the hunt is closed.
func restClue(doc *hunt.Clue, c *partition.Clue, closed bool) rest.Clue {
	out := rest.Clue{
		ID: c.ID, Round: doc.Round, Title: doc.DisplayTitle(), Prompt: doc.Prompt, Points: doc.Points,
		Attempts: c.Attempts, AttemptsLeft: attemptsLeft(c.Limit, c.Attempts), SolvedAt: optionalTime(c.SolvedAt),
		Hints: make([]rest.Hint, len(doc.Hints)),
	}
	if closed {
		out.Solution = doc.Solution
	}
	for i, h := range doc.Hints {
		out.Hints[i] = rest.Hint{ID: h.ID, Cost: h.Cost}
	}
	return out
}

// restSubmission leaves Answer and Player, which only the history shows, to its
// caller.
func restSubmission(s *partition.Submission) rest.Submission {
	unlocked := s.Unlocked
	if unlocked == nil {
		unlocked = []fsm.ClueID{}
	}
	return rest.Submission{
		Submission: strconv.FormatUint(uint64(s.Number), 10), Key: s.Key, Verdict: s.Verdict.String(), Clue: s.Clue,
		At: s.At, HuntVersion: s.Version, Points: s.Points, Score: s.Score, Solves: s.Solves,
		Attempts: s.Attempts, AttemptsLeft: attemptsLeft(s.Limit, s.Attempts),
		Reply: s.Reply, Unlocked: unlocked, Ranked: s.Ranked, Replayed: s.Replayed,
	}
}

func restRow(r *partition.Row, rank int) rest.Row {
	return rest.Row{
		Rank: rank, Team: r.Team, Name: r.Name, Score: r.Score, Solves: r.Solves,
		FinishedAt: optionalTime(r.FinishedAt), LastSolve: optionalTime(r.LastSolve),
	}
}

// consistencyOf reads ?consistency=.
func consistencyOf(q url.Values) (Consistency, error) {
	switch q.Get("consistency") {
	case "":
		return Default, nil
	case "strong":
		return Strong, nil
	case "stale":
		return Stale, nil
	}
	return 0, invalid("consistency", "must be strong or stale, or left out")
}

// setStaleness says how old a stale read is at most.
func (c *call) setStaleness(cons Consistency, age Freshness) {
	if cons == Stale {
		c.w.Header().Set("Cairn-Staleness", time.Duration(age).String())
	}
}

// checkText applies the rule of names to another short text.
func checkText(path, s string) error {
	if err := hunt.CheckName(s); err != nil {
		return invalid(path, err.Error())
	}
	return nil
}

// checkDivision is checkText for a division, whose name is kept as short as an
// id: every board of it carries the name.
func checkDivision(s string) error {
	if len(s) > fsm.MaxID {
		return invalid("division", "has more than "+strconv.Itoa(fsm.MaxID)+" bytes")
	}
	return checkText("division", s)
}
