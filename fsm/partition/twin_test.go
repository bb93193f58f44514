package partition

import (
	"cmp"
	"math"
	"slices"

	"cairn/fsm"
)

// twin is the machine written a second time, naively: maps and lists, nothing
// derived is kept, every answer is worked out from the submissions. Refusals
// carry only a kind.
type twin struct {
	started bool
	bounds  fsm.Range
	now     fsm.Time
	hunts   map[fsm.HuntID]*twinHunt
}

type twinHunt struct {
	deleted, inc fsm.Incarnation // inc 0: nothing installed
	version      uint64
	rules        *Rules
	seen         []fsm.ClueID
	teams        map[fsm.TeamID]*twinTeam
}

type twinTeam struct {
	Team
	createKey, rotateKey string
	subs                 []Submission
	digests              []uint64 // of subs
}

func refused(k fsm.Kind) Result { return Result{Err: &fsm.Error{Kind: k}} }

func (w *twin) apply(now fsm.Time, c Command) Result {
	w.now = max(w.now, now)
	if c, ok := c.(*Init); ok {
		if w.started {
			return refused(fsm.Conflict)
		}
		w.started, w.bounds, w.hunts = true, c.Range, map[fsm.HuntID]*twinHunt{}
		return Result{}
	}
	if !w.started {
		return refused(fsm.Unavailable)
	}
	switch c := c.(type) {
	case *Checkpoint:
		return Result{Checkpoint: true}
	case *InstallHunt:
		return w.install(c)
	case *DeleteHunt:
		return w.delete(c)
	case *CreateTeam:
		return w.enter(c.Hunt, c.Incarnation, c.Team, func(h *twinHunt) Result { return h.create(w.now, c) })
	case *PatchTeam:
		return w.enter(c.Hunt, c.Incarnation, c.Team, func(h *twinHunt) Result { return h.patch(c) })
	case *RotateToken:
		return w.enter(c.Hunt, c.Incarnation, c.Team, func(h *twinHunt) Result { return h.rotate(c) })
	case *Submit:
		return w.enter(c.Hunt, c.Incarnation, c.Team, func(h *twinHunt) Result { return h.submit(w.now, c) })
	}
	panic("unknown command")
}

func (w *twin) hunt(id fsm.HuntID) *twinHunt {
	if w.hunts[id] == nil {
		w.hunts[id] = &twinHunt{}
	}
	return w.hunts[id]
}

func (w *twin) install(c *InstallHunt) Result {
	if c.Incarnation == 0 || c.Version == 0 {
		return refused(fsm.Invalid)
	}
	h := w.hunt(c.Hunt)
	if c.Incarnation <= h.deleted || c.Incarnation < h.inc || c.Incarnation == h.inc && c.Version < h.version {
		return refused(fsm.Stale)
	}
	if c.Incarnation == h.inc && c.Version == h.version {
		return Result{}
	}
	rules, err := DecodeRules(c.Rules)
	if err != nil {
		return refused(fsm.Invalid)
	}
	if c.Incarnation != h.inc {
		*h = twinHunt{deleted: h.deleted, inc: c.Incarnation, teams: map[fsm.TeamID]*twinTeam{}}
	}
	h.version, h.rules = c.Version, rules
	for _, clue := range rules.Clues {
		if !slices.Contains(h.seen, clue.ID) {
			h.seen = append(h.seen, clue.ID)
		}
	}
	return Result{}
}

func (w *twin) delete(c *DeleteHunt) Result {
	if c.Incarnation == 0 {
		return refused(fsm.Invalid)
	}
	h := w.hunt(c.Hunt)
	h.deleted = max(h.deleted, c.Incarnation)
	if h.inc <= c.Incarnation {
		*h = twinHunt{deleted: h.deleted}
	}
	return Result{}
}

func (w *twin) enter(hunt fsm.HuntID, inc fsm.Incarnation, team fsm.TeamID, do func(*twinHunt) Result) Result {
	if slot := fsm.SlotOf(hunt, team); slot < w.bounds.First || slot > w.bounds.Last {
		return refused(fsm.Unavailable)
	}
	h := w.hunt(hunt)
	if inc <= h.deleted || inc < h.inc {
		return refused(fsm.NotFound)
	}
	if inc != h.inc {
		return refused(fsm.Stale)
	}
	return do(h)
}

func (h *twinHunt) create(now fsm.Time, c *CreateTeam) Result {
	if t := h.teams[c.Team]; t != nil {
		if t.createKey != c.Key {
			return refused(fsm.Conflict)
		}
		view := h.view(t)
		view.Generation = 1
		return Result{Team: &view}
	}
	if c.Public && !h.rules.Registration {
		return refused(fsm.Forbidden)
	}
	h.teams[c.Team] = &twinTeam{
		Team:      Team{ID: c.Team, Name: c.Name, Kind: c.Kind, Division: c.Division, Created: now, Generation: 1},
		createKey: c.Key,
	}
	view := h.view(h.teams[c.Team])
	return Result{Team: &view, Created: true}
}

func (h *twinHunt) patch(c *PatchTeam) Result {
	t := h.teams[c.Team]
	if t == nil {
		return refused(fsm.NotFound)
	}
	if c.Name != nil {
		t.Name = *c.Name
	}
	if c.Kind != nil {
		t.Kind = *c.Kind
	}
	if c.Status != nil {
		t.Status = *c.Status
	}
	if c.Division != nil {
		t.Division = *c.Division
	}
	if c.Meta != nil {
		t.Meta = *c.Meta
	}
	view := h.view(t)
	return Result{Team: &view}
}

func (h *twinHunt) rotate(c *RotateToken) Result {
	t := h.teams[c.Team]
	if t == nil {
		return refused(fsm.NotFound)
	}
	if c.Key == "" || t.rotateKey != c.Key {
		t.Generation++
		t.rotateKey = c.Key
	}
	view := h.view(t)
	return Result{Team: &view}
}

func (h *twinHunt) submit(now fsm.Time, c *Submit) Result {
	t := h.teams[c.Team]
	if t == nil {
		return refused(fsm.NotFound)
	}
	if c.Generation != 0 && c.Generation != t.Generation {
		return refused(fsm.Unauthenticated)
	}
	for _, s := range t.subs {
		if s.Key == c.Key {
			if s.Clue != c.Clue || s.Answer != c.Answer {
				return refused(fsm.KeyReused)
			}
			s.Replayed = true
			return Result{Submission: &s}
		}
	}
	at := c.At
	if at == 0 {
		at = now
	}
	clue := slices.IndexFunc(h.rules.Clues, func(r ClueRule) bool { return r.ID == c.Clue })
	if kind := h.refusal(t, c, now, at, clue); kind != fsm.Internal {
		return refused(kind)
	}
	return h.verdict(t, c, at, &h.rules.Clues[clue])
}

// refusal is the kind of the first rule that a new submission breaks; Internal: none.
func (h *twinHunt) refusal(t *twinTeam, c *Submit, now, at fsm.Time, clue int) fsm.Kind {
	r := h.rules
	for _, rule := range []struct {
		broken bool
		kind   fsm.Kind
	}{
		{c.Version != h.version, fsm.Stale},
		{t.Status == Disqualified, fsm.Forbidden},
		{r.State == Draft, fsm.HuntNotOpen},
		{r.State == Paused, fsm.HuntPaused},
		{r.State == Closed, fsm.HuntOver},
		{at > now, fsm.Invalid},
		{slices.ContainsFunc(t.subs, func(s Submission) bool { return at < s.At }), fsm.Invalid},
		{r.Starts != 0 && at < r.Starts && t.Kind != Test, fsm.HuntNotOpen},
		{r.Ends != 0 && at >= r.Ends && !r.Unranked, fsm.HuntOver},
		{clue < 0, fsm.NotFound},
		{clue >= 0 && !h.open(t, clue), fsm.ClueLocked},
		{len(t.subs) >= MaxSubmissions, fsm.AttemptsExhausted},
		{
			clue >= 0 && t.solve(c.Clue) == nil && r.Clues[max(0, clue)].Limit > 0 &&
				t.attempts(c.Clue) >= r.Clues[max(0, clue)].Limit, fsm.AttemptsExhausted,
		},
	} {
		if rule.broken {
			return rule.kind
		}
	}
	return fsm.Internal
}

func (h *twinHunt) verdict(t *twinTeam, c *Submit, at fsm.Time, rule *ClueRule) Result {
	var before []bool
	for i := range h.rules.Clues {
		before = append(before, h.open(t, i))
	}
	s := Submission{
		Number: uint32(len(t.subs) + 1), Key: c.Key, Clue: c.Clue, At: at, Version: h.version, Limit: rule.Limit,
		Answer: c.Answer, Player: c.Player, Ranked: t.Kind == Normal && (h.rules.Ends == 0 || at < h.rules.Ends),
	}
	switch {
	case t.solve(c.Clue) != nil:
		s.Verdict = VerdictAlreadySolved
	case c.Match == Nudged:
		s.Verdict, s.Reply = VerdictNudge, c.Reply
	case c.Match == Correct:
		s.Verdict, s.Reply = VerdictCorrect, c.Reply
		if s.Ranked {
			s.Points = rule.Points
		}
	default:
		for i := range t.subs {
			if t.subs[i].Verdict == VerdictIncorrect && t.subs[i].Clue == c.Clue && t.digests[i] == c.Digest {
				s.Verdict = VerdictDuplicate
			}
		}
	}
	t.subs, t.digests = append(t.subs, s), append(t.digests, c.Digest)
	last := &t.subs[len(t.subs)-1]
	last.Score, last.Solves, last.Attempts = t.score(), t.solves(), t.attempts(c.Clue)
	for i := range h.rules.Clues {
		if !before[i] && h.open(t, i) {
			last.Unlocked = append(last.Unlocked, h.rules.Clues[i].ID)
		}
	}
	s = *last
	return Result{Submission: &s}
}

func (t *twinTeam) solve(clue fsm.ClueID) *Submission {
	for i := range t.subs {
		if t.subs[i].Clue == clue && t.subs[i].Verdict == VerdictCorrect {
			return &t.subs[i]
		}
	}
	return nil
}

func (t *twinTeam) attempts(clue fsm.ClueID) (n uint32) {
	for _, s := range t.subs {
		if s.Clue == clue && s.Verdict == VerdictIncorrect {
			n++
		}
	}
	return n
}

func (t *twinTeam) score() (sum int64) {
	for _, s := range t.subs {
		sum += s.Points
	}
	return sum
}

func (t *twinTeam) solves() (n uint32) {
	for _, s := range t.subs {
		if s.Verdict == VerdictCorrect && s.Ranked {
			n++
		}
	}
	return n
}

func (h *twinHunt) open(t *twinTeam, clue int) bool {
	rule := &h.rules.Clues[clue]
	return t.solve(rule.ID) != nil || h.holds(t, rule.Unlock)
}

func (h *twinHunt) holds(t *twinTeam, c Cond) bool {
	n := 0
	for _, of := range c.Of {
		if h.holds(t, of) {
			n++
		}
	}
	switch c.Op {
	case Solved:
		return t.solve(h.rules.Clues[c.Clue].ID) != nil
	case All:
		return n == len(c.Of)
	case Any:
		return n > 0
	case AtLeast:
		return n >= c.K
	}
	return true
}

func (h *twinHunt) view(t *twinTeam) Team {
	v := t.Team
	v.Score, v.Solves, v.Submitted, v.Version = t.score(), t.solves(), uint32(len(t.subs)), h.version
	for _, s := range t.subs {
		if s.Verdict == VerdictCorrect && s.Ranked {
			v.LastSolve = s.At
			present := slices.ContainsFunc(h.rules.Clues, func(r ClueRule) bool { return r.ID == s.Clue })
			if present && s.Clue == h.rules.Finish {
				v.FinishedAt = s.At
			}
		}
	}
	if v.Kind == Normal && v.Status == Active && (v.Solves > 0 || v.Score != 0) {
		v.Listed = true
		for i, by := range h.rules.Ranking {
			v.Rank[i] = map[Criterion]int64{
				ByPoints: -v.Score, BySolves: -int64(v.Solves), ByFinish: never(v.FinishedAt), ByLastSolve: never(v.LastSolve),
			}[by]
		}
	}
	return v
}

func never(at fsm.Time) int64 {
	if at == 0 {
		return math.MaxInt64
	}
	return int64(at)
}

func (h *twinHunt) sorted() []*twinTeam {
	var out []*twinTeam
	for _, t := range h.teams {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b *twinTeam) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// board is the whole board of a division.
func (h *twinHunt) board(division string) Page {
	var p Page
	for _, t := range h.sorted() {
		v := h.view(t)
		p.AsOf = max(p.AsOf, v.LastSolve)
		if v.Listed && (division == "" || division == v.Division) {
			p.Rows = append(p.Rows, Row{
				Place: Place{v.Rank, v.ID}, Name: v.Name, Division: v.Division, Score: v.Score, Solves: v.Solves,
				FinishedAt: v.FinishedAt, LastSolve: v.LastSolve,
			})
		}
	}
	slices.SortStableFunc(p.Rows, func(a, b Row) int {
		return slices.Compare(a.Key[:], b.Key[:])
	})
	p.Total = len(p.Rows)
	return p
}

func (h *twinHunt) stats() Stats {
	s := Stats{Teams: len(h.teams)}
	var ids []fsm.ClueID
	for _, c := range h.rules.Clues {
		ids = append(ids, c.ID)
	}
	for _, id := range h.seen {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		c := ClueStats{ID: id}
		for _, t := range h.sorted() {
			c.Attempts += int(t.attempts(id))
			if solve := t.solve(id); solve != nil {
				c.Solved++
				if solve.Ranked && t.Kind == Normal && t.Status == Active && (c.FirstTeam == "" || solve.At < c.FirstSolve) {
					c.FirstSolve, c.FirstTeam = solve.At, t.ID
				}
			}
		}
		present := slices.ContainsFunc(h.rules.Clues, func(r ClueRule) bool { return r.ID == id })
		if present || c.Solved > 0 || c.Attempts > 0 {
			s.Clues = append(s.Clues, c)
		}
	}
	for _, t := range h.teams {
		for _, sub := range t.subs {
			s.Submissions[sub.Verdict]++
		}
	}
	return s
}
