package partition

import (
	"fmt"
	"math"
	"strings"
	"time"

	"cairn/fsm"
)

// The scripts' answers, one line a thing. Times are spans since epoch.

func describe(r *Result) string {
	switch {
	case r.Err != nil:
		return fail(r.Err)
	case r.Submission != nil:
		return describeSubmission(r.Submission) + "\n"
	case r.Team != nil:
		created := ""
		if r.Created {
			created = "created "
		}
		return created + describeTeam(r.Team) + "\n"
	case r.Checkpoint:
		return "checkpoint\n"
	}
	return "ok\n"
}

func describeSubmission(s *Submission) string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "#%d %s %s %s points=%d score=%d solves=%d attempts=%d", s.Number, since(s.At), s.Clue, s.Verdict,
		s.Points, s.Score, s.Solves, s.Attempts)
	option(b, s.Limit != 0, "/%d", s.Limit)
	option(b, s.Reply != "", " reply=%s", s.Reply)
	option(b, len(s.Unlocked) > 0, " unlocked=%s", s.Unlocked)
	option(b, !s.Ranked, " unranked")
	option(b, s.Replayed, " replayed")
	option(b, s.Version != 1, " v%d", s.Version)
	return b.String()
}

func describeTeam(t *Team) string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s score=%d solves=%d submitted=%d generation=%d", t.ID, t.Score, t.Solves, t.Submitted, t.Generation)
	option(b, t.Name != "", " name=%s", t.Name)
	option(b, t.Division != "", " div=%s", t.Division)
	option(b, t.Meta != "", " meta=%s", t.Meta)
	option(b, t.Kind == Test, " test")
	option(b, t.Status == Hidden, " hidden")
	option(b, t.Status == Disqualified, " disqualified")
	option(b, t.FinishedAt != 0, " finished=%s", since(t.FinishedAt))
	option(b, t.LastSolve != 0, " last=%s", since(t.LastSolve))
	option(b, t.Listed, " key=%s", describeKey(t.Rank))
	for _, c := range t.Clues {
		fmt.Fprintf(b, "\n  %s attempts=%d", c.ID, c.Attempts)
		option(b, c.Limit != 0, "/%d", c.Limit)
		option(b, c.SolvedAt != 0, " solved=%s", since(c.SolvedAt))
		option(b, c.SolvedAt != 0 && !c.Ranked, " unranked")
	}
	return b.String()
}

func option(b *strings.Builder, when bool, format string, args ...any) {
	if when {
		fmt.Fprintf(b, format, args...)
	}
}

func describeKey(k RankKey) string {
	var words []string
	for _, v := range k {
		switch {
		case v == math.MaxInt64:
			words = append(words, "never")
		case v >= int64(epoch):
			words = append(words, since(fsm.Time(v)))
		default:
			words = append(words, fmt.Sprint(v))
		}
	}
	return strings.Join(words, ",")
}

func since(t fsm.Time) string { return "+" + (time.Duration(t-epoch) * time.Microsecond).String() }

func (s *script) query(w words, inc fsm.Incarnation, team fsm.TeamID) string {
	b := &strings.Builder{}
	limit := 100
	if v, ok := w.opt["limit"]; ok {
		limit = int(s.number(v))
	}
	switch w.at[0] {
	case "show":
		view, err := s.m.Team(s.hunt, inc, team)
		if err != nil {
			return fail(err)
		}
		return describeTeam(view) + "\n"
	case "history":
		list, err := s.m.Submissions(s.hunt, inc, team, uint32(s.number("0"+w.opt["below"])), limit)
		if err != nil {
			return fail(err)
		}
		for i := range list {
			fmt.Fprintf(b, "%s answer=%q player=%s\n", describeSubmission(&list[i]), list[i].Answer, list[i].Player)
		}
	case "teams":
		for _, t := range s.m.Teams(s.hunt, inc, fsm.TeamID(w.opt["after"]), limit) {
			fmt.Fprintf(b, "%s\n", describeTeam(&t))
		}
	case "check":
		if err := s.m.CheckGeneration(s.hunt, inc, team, uint32(s.number(w.opt["gen"]))); err != nil {
			return fail(err)
		}
		return "ok\n"
	case "board":
		s.board(b, w, inc, limit)
	case "stats":
		describeStats(b, s.m.Stats(s.hunt, inc))
	case "hash":
		hash := s.m.Hash()
		fmt.Fprintf(b, "as at the last look: %v\n", hash == s.hash)
		s.hash = hash
	case "installed":
		is, ok := s.m.Installed(s.hunt)
		fmt.Fprintf(b, "%+v %v\n", is, ok)
	default:
		s.t.Fatalf("unknown command %q", w.at[0])
	}
	return b.String()
}

// board prints pages of limit rows, one after another, with the ranks that a
// merge over partitions would give.
func (s *script) board(b *strings.Builder, w words, inc fsm.Incarnation, limit int) {
	var after *Place
	for {
		p := s.m.Board(s.hunt, inc, w.opt["div"], after, limit)
		fmt.Fprintf(b, "total=%d before=%d better=%d", p.Total, p.Before, p.Better)
		option(b, p.AsOf != 0, " as_of=%s", since(p.AsOf))
		b.WriteByte('\n')
		rank := 0
		for i, row := range p.Rows {
			switch {
			case after != nil && row.Key == after.Key:
				rank = p.Better + 1
			case i == 0 || row.Key != p.Rows[i-1].Key:
				rank = p.Before + i + 1
			}
			fmt.Fprintf(b, "%d. %s score=%d solves=%d key=%s\n", rank, row.Team, row.Score, row.Solves, describeKey(row.Key))
		}
		if len(p.Rows) < limit {
			return
		}
		after = &p.Rows[len(p.Rows)-1].Place
	}
}

func describeStats(b *strings.Builder, st Stats) {
	fmt.Fprintf(b, "teams=%d", st.Teams)
	for v, n := range st.Submissions {
		fmt.Fprintf(b, " %s=%d", Verdict(v), n)
	}
	b.WriteByte('\n')
	for _, c := range st.Clues {
		fmt.Fprintf(b, "%s solved=%d attempts=%d", c.ID, c.Solved, c.Attempts)
		option(b, c.FirstTeam != "", " first=%s by %s", since(c.FirstSolve), c.FirstTeam)
		b.WriteByte('\n')
	}
}
