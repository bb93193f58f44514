package partition

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// TestRestoreRefuses breaks one thing in a state at a time, behind Apply's
// back: its snapshot must not restore. Bit rot is the store's to find; this is
// about a snapshot that a faulty release wrote.
func TestRestoreRefuses(t *testing.T) {
	good := record{key: "new", verdict: VerdictIncorrect, ranked: true, clue: 9, at: epoch, version: 1, score: 10, solves: 1, attempts: 1}
	tamper := func(change func(*record)) func(*Machine, *game, *team) {
		return func(_ *Machine, _ *game, team *team) {
			rec := good
			change(&rec)
			var w wire.Writer
			rec.append(&w)
			team.history.log = append(team.history.log, w.B...)
		}
	}
	for _, tc := range []struct {
		name   string
		change func(*Machine, *game, *team)
	}{
		{"", tamper(func(*record) {})}, // the tampering itself is sound
		{"its time", tamper(func(r *record) { r.at-- })},
		{"its time", tamper(func(r *record) { r.at++ })},
		{"solved before", tamper(func(r *record) { r.verdict, r.clue, r.attempts, r.solves = VerdictCorrect, 0, 3, 2 })},
		{"points without", tamper(func(r *record) { r.points, r.score = 5, 15 })},
		{"make 10, 1, 1", tamper(func(r *record) { r.score = 11 })},
		{"make 10, 1, 1", tamper(func(r *record) { r.solves = 0 })},
		{"make 10, 1, 1", tamper(func(r *record) { r.attempts = 2 })},
		{"no number", tamper(func(r *record) { r.clue = 10 })},
		{"no number", tamper(func(r *record) { r.unlocked = []uint32{10} })},
		{"unknown verdict", tamper(func(r *record) { r.verdict = verdictEnd })},
		{"key that is none", tamper(func(r *record) { r.key = "" })},
		{"not of this partition", func(m *Machine, _ *game, _ *team) { m.info.Range = fsm.Range{First: 1, Last: 1} }},
		{"without a range", func(m *Machine, _ *game, _ *team) { m.info.Range = fsm.Range{First: 2, Last: 1} }},
		{"without a range", func(m *Machine, _ *game, _ *team) { m.info.Initialised = false }},
		{"stands behind", func(_ *Machine, g *game, tm *team) { g.teams.Set("zzz", tm) }},
		{"unknown kind", func(_ *Machine, _ *game, tm *team) { tm.kind = Test + 1 }},
		{"unknown kind", func(_ *Machine, _ *game, tm *team) { tm.generation = 0 }},
		{"two numbers", func(_ *Machine, g *game, _ *team) { g.dict[1] = g.dict[0] }},
		{"has no number", func(_ *Machine, g *game, _ *team) { g.dict[1] = "other" }},
		{"is installed", func(m *Machine, _ *game, _ *team) { h, _ := m.hunts.Get("h"); h.deleted = 1 }},
		{"neither", func(m *Machine, _ *game, _ *team) { m.hunts.Set("i", &hunt{}) }},
		{"rules", func(_ *Machine, g *game, _ *team) { g.packed = nil }},
	} {
		m := populated(t, 1, 4) // three wrong answers and a right one
		g := m.game("h", 1)
		team, _ := g.teams.Get(benchTeam(0))
		tc.change(m, g, team)
		_, err := Restore(bytes.NewReader(snapshot(t, m.image())))
		switch {
		case tc.name == "" && err != nil:
			t.Error(err)
		case tc.name != "" && (err == nil || !strings.Contains(err.Error(), tc.name)):
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// TestRestoreOrder: hunts out of order would make two encodings of one state.
func TestRestoreOrder(t *testing.T) {
	m := populated(t, 1, 0)
	applyOne(t, m, &DeleteHunt{"i", 1})
	f := m.Freeze()
	slices.Reverse(f.hunts)
	if _, err := Restore(bytes.NewReader(snapshot(t, f))); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

// TestRestoreTruncated: no prefix of a snapshot is a snapshot, and nothing may
// follow one.
func TestRestoreTruncated(t *testing.T) {
	image := snapshot(t, populated(t, 2, 3).Freeze())
	for n := range image {
		if _, err := Restore(bytes.NewReader(image[:n])); err == nil {
			t.Errorf("%d of %d bytes restore", n, len(image))
		}
	}
	if _, err := Restore(bytes.NewReader(append(image, 0))); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a byte more: %v", err)
	}
}

// TestApplyKeepsNothingOfTheEntry: the log may reuse an entry's memory.
func TestApplyKeepsNothingOfTheEntry(t *testing.T) {
	var b Batch
	for _, c := range goldenCommands(goldenVersion, goldenRules().Encode()) {
		b.Add(c.Now, c.Command)
	}
	m := New()
	entry := bytes.Clone(b.Bytes())
	apply(t, m, &b)
	other := New()
	if _, err := other.Apply(entry); err != nil {
		t.Fatal(err)
	}
	clear(entry)
	if other.Hash() != m.Hash() {
		t.Error("the state changed with the entry")
	}
}

// TestWriteToFails: the writer's error comes back.
func TestWriteToFails(t *testing.T) {
	f := populated(t, 100, 20).Freeze()
	full := errors.New("disk full")
	if _, err := f.WriteTo(writerFunc(func([]byte) (int, error) { return 0, full })); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
