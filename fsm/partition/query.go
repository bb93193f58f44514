package partition

import (
	"crypto/sha256"

	"cairn/fsm"
)

// Queries change nothing, not even a cache: any number may run together, under
// a read lock that excludes Apply and Freeze. What they return shares nothing
// that changes later.
//
// Where a hunt is not installed here, or another incarnation is, a list, a
// board and statistics are empty, and one team is NotFound. A team of another
// partition is Unavailable, not NotFound: this partition cannot know.

// Info returns what the partition knows of itself.
func (m *Machine) Info() Info { return m.info }

// LogTime is the latest time a leader stamped on a command.
func (m *Machine) LogTime() fsm.Time { return m.now }

// Installed says which incarnation and version of a hunt is judged by here, or
// that its latest known incarnation is deleted; false: nothing is known of it.
func (m *Machine) Installed(id fsm.HuntID) (Installed, bool) {
	h, ok := m.hunts.Get(id)
	switch {
	case !ok:
		return Installed{}, false
	case h.game == nil:
		return Installed{Incarnation: h.deleted, Deleted: true}, true
	}
	return Installed{Incarnation: h.game.incarnation, Version: h.game.version}, true
}

// Team returns a team with its unlocked clues.
func (m *Machine) Team(hunt fsm.HuntID, inc fsm.Incarnation, id fsm.TeamID) (*Team, error) {
	g, t, err := m.lookup(hunt, inc, id)
	if err != nil {
		return nil, err
	}
	view := g.view(t)
	for i, n := range g.clues {
		if !g.accessible(t.solved, i) {
			continue
		}
		p, rule := t.progress(n), &g.rules.Clues[i]
		view.Clues = append(view.Clues, Clue{
			ID: rule.ID, Attempts: p.attempts, Limit: rule.Limit, SolvedAt: p.solvedAt, Ranked: p.ranked,
		})
	}
	return view, nil
}

// Teams returns at most limit teams after a team id (empty: from the first), by
// id, without their clues.
func (m *Machine) Teams(hunt fsm.HuntID, inc fsm.Incarnation, after fsm.TeamID, limit int) []Team {
	g := m.game(hunt, inc)
	if g == nil || limit <= 0 {
		return nil
	}
	var out []Team
	g.teams.Ascend(after, func(id fsm.TeamID, t *team) bool {
		if id != after {
			out = append(out, *g.view(t))
		}
		return len(out) < limit
	})
	return out
}

// Submissions returns at most limit of a team's submissions whose number is
// below (0: any), newest first.
func (m *Machine) Submissions(hunt fsm.HuntID, inc fsm.Incarnation, id fsm.TeamID, below uint32, limit int) ([]Submission, error) {
	g, t, err := m.lookup(hunt, inc, id)
	if err != nil {
		return nil, err
	}
	n := t.history.len()
	if below > 0 {
		n = min(n, int(below)-1)
	}
	var out []Submission
	for ; n > 0 && len(out) < limit; n-- {
		rec := t.history.at(n - 1)
		out = append(out, *g.submission(&rec, n))
	}
	return out, nil
}

// Board returns at most limit rows of a board after a place (nil: from the
// top); division "" is everybody.
func (m *Machine) Board(hunt fsm.HuntID, inc fsm.Incarnation, division string, after *Place, limit int) Page {
	if g := m.game(hunt, inc); g != nil {
		return g.page(division, after, limit)
	}
	return Page{}
}

// Better counts the listed teams whose key is strictly better.
func (m *Machine) Better(hunt fsm.HuntID, inc fsm.Incarnation, key RankKey) int {
	if g := m.game(hunt, inc); g != nil {
		return better(g.boards.all, key)
	}
	return 0
}

// Stats returns a hunt's counts.
func (m *Machine) Stats(hunt fsm.HuntID, inc fsm.Incarnation) Stats {
	if g := m.game(hunt, inc); g != nil {
		return g.stats()
	}
	return Stats{}
}

// CheckGeneration reports whether a token of this generation speaks for a team
// now: Unauthenticated if it is void. Generation 0 is an organiser's and only
// asks for the team.
func (m *Machine) CheckGeneration(hunt fsm.HuntID, inc fsm.Incarnation, id fsm.TeamID, generation uint32) error {
	g, _, err := m.lookup(hunt, inc, id)
	if err != nil {
		return err
	}
	if _, err := g.team(id, generation); err != nil {
		return err
	}
	return nil
}

// Hash is the SHA-256 of the canonical snapshot: equal states, equal hashes. It
// takes as long as writing the snapshot.
func (m *Machine) Hash() [sha256.Size]byte { return m.image().Hash() }

// game returns an installed game, or nil.
func (m *Machine) game(id fsm.HuntID, inc fsm.Incarnation) *game {
	if h, ok := m.hunts.Get(id); ok && h.game != nil && h.game.incarnation == inc {
		return h.game
	}
	return nil
}

func (m *Machine) lookup(hunt fsm.HuntID, inc fsm.Incarnation, id fsm.TeamID) (*game, *team, error) {
	if !m.holds(hunt, id) {
		return nil, nil, m.unavailable()
	}
	g := m.game(hunt, inc)
	if g == nil {
		return nil, nil, fsm.Errorf(fsm.NotFound, "there is no hunt %s", hunt)
	}
	t, err := g.team(id, 0)
	if err != nil {
		return nil, nil, err
	}
	return g, t, nil
}
