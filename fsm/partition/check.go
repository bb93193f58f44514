package partition

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"cairn/fsm"
)

// check proves the invariants: it restores a second machine from m's snapshot,
// which derives everything from the records and refuses what contradicts
// itself, and compares what Apply kept up with what Restore derived. The error
// names the first difference.
func (m *Machine) check() error {
	var buf bytes.Buffer
	if _, err := m.image().WriteTo(&buf); err != nil {
		return err
	}
	other, err := Restore(&buf)
	if err != nil {
		return fmt.Errorf("invariants 1 to 5, 8: %w", err)
	}
	if other.info != m.info || other.now != m.now || other.hunts.Len() != m.hunts.Len() {
		return fmt.Errorf("invariant 9: the snapshot is of another state: %+v at %v", other.info, other.now)
	}
	m.hunts.Scan(func(id fsm.HuntID, h *hunt) bool {
		twin, _ := other.hunts.Get(id)
		if h.game != nil && twin.game != nil {
			err = h.game.differs(twin.game)
		} else if h.deleted != twin.deleted || h.game != twin.game {
			err = fmt.Errorf("invariant 8: deleted %d, restored %d", h.deleted, twin.deleted)
		}
		if err != nil {
			err = fmt.Errorf("hunt %s: %w", id, err)
		}
		return err == nil
	})
	return err
}

// differs compares a game with what Restore derived of it.
func (g *game) differs(twin *game) error {
	var err error
	switch {
	case !slices.Equal(g.dict, twin.dict) || !reflect.DeepEqual(g.number, twin.number) || !slices.Equal(g.clues, twin.clues):
		return fmt.Errorf("invariant 5: dictionary %v, restored %v", g.dict, twin.dict)
	case !reflect.DeepEqual(g.tally, twin.tally):
		return fmt.Errorf("invariant 7: %+v, a recount %+v", g.tally, twin.tally)
	case len(g.boards.divisions) != len(twin.boards.divisions) || g.finish != twin.finish:
		return fmt.Errorf("invariant 6: %d divisions, restored %d", len(g.boards.divisions), len(twin.boards.divisions))
	}
	divisions := map[string]bool{"": true}
	g.teams.Scan(func(id fsm.TeamID, t *team) bool {
		divisions[t.division] = true
		other, _ := twin.teams.Get(id)
		if err = t.differs(other); err != nil {
			err = fmt.Errorf("team %s: %w", id, err)
		}
		return err == nil
	})
	for name := range divisions { // the order can only choose which difference is named
		if mine, theirs := g.boards.rows(name), twin.boards.rows(name); err == nil && !slices.Equal(mine, theirs) {
			err = fmt.Errorf("invariant 6: division %q: %v, restored %v", name, mine, theirs)
		}
	}
	return err
}

func (t *team) differs(twin *team) error {
	keys := map[string]bool{}
	for i := range t.history.len() {
		rec := t.history.at(i)
		if keys[rec.key] {
			return fmt.Errorf("invariant 3: key %q twice", rec.key)
		}
		keys[rec.key] = true
	}
	a, b := *t, *twin
	a.gen, b.gen = 0, 0
	if !reflect.DeepEqual(a, b) {
		return fmt.Errorf("invariant 4: %+v, restored %+v", a, b)
	}
	return nil
}

func (b *boards) rows(division string) []Place {
	if of := b.of(division); of != nil {
		return of.Items()
	}
	return nil
}
