package partition

import (
	"slices"
	"strings"

	"cairn/fsm"
)

// team is a team's state. What a snapshot holds of it comes first; everything
// else is folded from the records and is never read through a Frozen.
type team struct {
	gen uint64 // of the machine when it was made or cloned; see Machine.own

	id         fsm.TeamID
	name       string
	kind       TeamKind
	status     TeamStatus
	division   string
	meta       string
	created    fsm.Time
	generation uint32 // of its token, from 1
	createKey  string
	rotateKey  string // of the last rotation; empty: none, or one without a key
	history    history

	score     int64
	solves    uint32 // ranked ones
	solved    bits   // clue numbers, ranked or not
	lastSolve fsm.Time
	lastEvent fsm.Time
	tried     []progress // ordered by clue
}

// progress is a team's state of one clue that it spent an attempt on or solved.
type progress struct {
	clue     uint32
	attempts uint32
	solved   bool
	ranked   bool // the solve counts
	solvedAt fsm.Time
}

func (t *team) progress(clue uint32) progress {
	if i, ok := t.search(clue); ok {
		return t.tried[i]
	}
	return progress{clue: clue}
}

func (t *team) search(clue uint32) (int, bool) {
	return slices.BinarySearchFunc(t.tried, clue, func(p progress, n uint32) int { return int(p.clue) - int(n) })
}

// fold takes a record into everything that is derived from records. Submit and
// Restore both come through here, so they cannot disagree.
func (t *team) fold(rec *record, encoded []byte) {
	t.history.add(rec, encoded)
	t.lastEvent = rec.at
	t.score += rec.points
	if rec.verdict != VerdictIncorrect && rec.verdict != VerdictCorrect {
		return
	}
	i, ok := t.search(rec.clue)
	if !ok {
		t.tried = slices.Insert(t.tried, i, progress{clue: rec.clue})
	}
	p := &t.tried[i]
	if rec.verdict == VerdictIncorrect {
		p.attempts++
		return
	}
	p.solved, p.ranked, p.solvedAt = true, rec.ranked, rec.at
	t.solved = t.solved.with(rec.clue)
	if rec.ranked {
		t.solves++
		t.lastSolve = rec.at
	}
}

// team finds a team and checks the generation of the token it is addressed
// with: NotFound, Unauthenticated. Generation 0 is an organiser's and passes.
func (g *game) team(id fsm.TeamID, generation uint32) (*team, *fsm.Error) {
	t, ok := g.teams.Get(id)
	if !ok {
		return nil, fsm.Errorf(fsm.NotFound, "there is no team %s", id)
	}
	if generation != 0 && generation != t.generation {
		return nil, fsm.Errorf(fsm.Unauthenticated, "this token of team %s is void; use its newest one", id)
	}
	return t, nil
}

func (m *Machine) createTeam(c *CreateTeam) (*Team, bool, *fsm.Error) {
	g, err := m.enter(c.Hunt, c.Incarnation, c.Team)
	if err == nil {
		err = c.validate()
	}
	if err != nil {
		return nil, false, err
	}
	if t, ok := g.teams.Get(c.Team); ok {
		if t.createKey != c.Key {
			return nil, false, fsm.Errorf(fsm.Conflict, "team %s exists already; choose another id", c.Team)
		}
		view := g.view(t)
		view.Generation = 1 // the answer of then: its token, even if void by now
		return view, false, nil
	}
	switch {
	case c.Public && !g.rules.Registration:
		return nil, false, fsm.Errorf(fsm.Forbidden, "registration is closed; ask the organisers for a team")
	case g.teams.Len() >= MaxTeams:
		return nil, false, fsm.Errorf(fsm.TooLarge, "the hunt has no room for another team")
	}
	t := &team{
		gen: m.gen, id: fsm.TeamID(strings.Clone(string(c.Team))), name: strings.Clone(c.Name), kind: c.Kind,
		division: strings.Clone(c.Division), created: m.now, generation: 1, createKey: strings.Clone(c.Key),
	}
	g.teams.Set(t.id, t)
	return g.view(t), true, nil
}

func (c *CreateTeam) validate() *fsm.Error {
	switch {
	case !fsm.ValidID(string(c.Team)):
		return fsm.Errorf(fsm.Invalid, "%.64q is not the id of a team", c.Team)
	case c.Kind > Test:
		return fsm.Errorf(fsm.Invalid, "unknown kind of team %d", c.Kind)
	}
	if err := validKey(c.Key); err != nil {
		return err
	}
	return within(limited{"name", c.Name, MaxName}, limited{"division", c.Division, MaxName})
}

func (m *Machine) patchTeam(c *PatchTeam) (*Team, *fsm.Error) {
	g, t, err := m.organise(c.Hunt, c.Incarnation, c.Team)
	if err == nil {
		err = c.validate()
	}
	if err != nil {
		return nil, err
	}
	before, counted := g.standing(t), t.counted()
	t = m.own(g, t)
	set(&t.name, c.Name)
	set(&t.division, c.Division)
	set(&t.meta, c.Meta)
	if c.Kind != nil {
		t.kind = *c.Kind
	}
	if c.Status != nil {
		t.status = *c.Status
	}
	g.boards.move(before, g.standing(t))
	if counted != t.counted() {
		g.recountFirsts(t)
	}
	return g.view(t), nil
}

func set(field, value *string) {
	if value != nil {
		*field = strings.Clone(*value)
	}
}

func (c *PatchTeam) validate() *fsm.Error {
	if c.Kind != nil && *c.Kind > Test {
		return fsm.Errorf(fsm.Invalid, "unknown kind of team %d", *c.Kind)
	}
	if c.Status != nil && *c.Status > Disqualified {
		return fsm.Errorf(fsm.Invalid, "unknown status of a team %d", *c.Status)
	}
	return within(limited{"name", deref(c.Name), MaxName}, limited{"division", deref(c.Division), MaxName},
		limited{"meta", deref(c.Meta), MaxMeta})
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (m *Machine) rotateToken(c *RotateToken) (*Team, *fsm.Error) {
	g, t, err := m.organise(c.Hunt, c.Incarnation, c.Team)
	if err != nil {
		return nil, err
	}
	if err := within(limited{"Idempotency-Key", c.Key, MaxKey}); err != nil {
		return nil, err
	}
	if c.Key == "" || c.Key != t.rotateKey {
		t = m.own(g, t)
		t.generation++
		t.rotateKey = strings.Clone(c.Key)
	}
	return g.view(t), nil
}

// organise finds the team of an organiser's command.
func (m *Machine) organise(hunt fsm.HuntID, inc fsm.Incarnation, id fsm.TeamID) (*game, *team, *fsm.Error) {
	g, err := m.enter(hunt, inc, id)
	if err != nil {
		return nil, nil, err
	}
	t, err := g.team(id, 0)
	return g, t, err
}

// limited is a text of a command with its limit in bytes.
type limited struct {
	what, text string
	limit      int
}

func within(texts ...limited) *fsm.Error {
	for _, l := range texts {
		if len(l.text) > l.limit {
			return fsm.Errorf(fsm.TooLarge, "%s has %d bytes; at most %d are allowed", l.what, len(l.text), l.limit)
		}
	}
	return nil
}

func validKey(key string) *fsm.Error {
	if key == "" || len(key) > MaxKey {
		return fsm.Errorf(fsm.Invalid, "Idempotency-Key must have 1 to %d characters", MaxKey)
	}
	return nil
}

// view is the team as the API shows it, without its clues.
func (g *game) view(t *team) *Team {
	s := g.standing(t)
	finished, _ := g.finishedAt(t)
	return &Team{
		ID: t.id, Name: t.name, Kind: t.kind, Status: t.status, Division: t.division, Meta: t.meta,
		Created: t.created, Generation: t.generation, Score: t.score, Solves: t.solves, FinishedAt: finished,
		LastSolve: t.lastSolve, Submitted: uint32(t.history.len()), Listed: s.listed, Rank: s.place.Key,
		Version: g.version,
	}
}
