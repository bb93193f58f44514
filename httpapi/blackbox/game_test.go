package blackbox

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// document is a hunt as an organizer writes it.
type document map[string]any

// right solves every clue of a quiz.
const right = "right"

// quiz is a hunt of n clues, "c1" and on, 10 points each.
func quiz(id fsm.HuntID, n int) document {
	clues := make([]map[string]any, n)
	for i := range clues {
		clues[i] = map[string]any{"id": fmt.Sprintf("c%d", i+1), "points": 10, "answers": []string{right}}
	}
	return document{"id": id, "title": "A quiz", "clues": clues}
}

// with returns a copy that differs in one field.
func (d document) with(field string, value any) document {
	other := maps.Clone(d)
	other[field] = value
	return other
}

func (d document) json() []byte {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err) // strings, numbers and lists always encode
	}
	return b
}

func (d document) id() fsm.HuntID { return d["id"].(fsm.HuntID) }

// open creates a hunt with n teams, "t1" and on, and returns their ids and their
// tokens.
func (c *cluster) open(doc document, n int) ([]fsm.TeamID, map[fsm.TeamID]string) {
	c.t.Helper()
	cl, ctx := c.admin(), c.t.Context()
	if _, _, err := cl.CreateHunt(ctx, doc.json()); err != nil {
		c.t.Fatal(err)
	}
	ids := make([]fsm.TeamID, n)
	made := make([]rest.NewTeam, n)
	for i := range n {
		ids[i] = fsm.TeamID(fmt.Sprintf("t%d", i+1))
		made[i] = rest.NewTeam{ID: ids[i], Name: string(ids[i])}
	}
	tokens := map[fsm.TeamID]string{}
	err := cl.CreateTeams(ctx, doc.id(), slices.Values(made), func(l rest.TeamLine) error {
		if l.Error != nil {
			return client.ProblemError(l.Error)
		}
		tokens[l.Team.ID] = l.Token
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return ids, tokens
}

// books are what a client was told about its submissions, to be held against
// what the cluster remembers.
type books struct {
	hunt fsm.HuntID

	mu    sync.Mutex
	told  map[fsm.TeamID]map[string]rest.Submission // by key
	doubt map[fsm.TeamID]map[string]rest.NewSubmission
}

func newBooks(hunt fsm.HuntID) *books {
	return &books{
		hunt: hunt, told: map[fsm.TeamID]map[string]rest.Submission{}, doubt: map[fsm.TeamID]map[string]rest.NewSubmission{},
	}
}

// submit sends a submission and notes what became of it: told, in doubt, or
// nothing when the cluster says that nothing was done.
func (b *books) submit(ctx context.Context, cl *client.Client, team fsm.TeamID, in rest.NewSubmission, key string) error {
	s, err := cl.Submit(ctx, b.hunt, team, in, key)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		set(b.told, team, key, *s)
		delete(b.doubt[team], key)
	case fsm.KindOf(err) == fsm.OutcomeUnknown:
		set(b.doubt, team, key, in)
	}
	return err
}

func set[V any](m map[fsm.TeamID]map[string]V, team fsm.TeamID, key string, v V) {
	if m[team] == nil {
		m[team] = map[string]V{}
	}
	m[team][key] = v
}

// resolve sends everything that is in doubt again, until nothing is.
func (b *books) resolve(t *testing.T, cl *client.Client) {
	t.Helper()
	for team, keys := range b.doubt {
		for key, in := range maps.Clone(keys) {
			eventually(t, electWithin, "a definite result of "+key, func() error { return b.submit(t.Context(), cl, team, in, key) })
		}
	}
}

// audit reads every team's history through one node: it must hold what was told,
// each once and as it was told, and beside that only what is in doubt.
func (b *books) audit(t *testing.T, cl *client.Client, cons client.Consistency) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, team := range slices.Sorted(maps.Keys(b.told)) {
		got, err := history(t.Context(), cl, b.hunt, team, cons)
		if err != nil {
			t.Errorf("through %v: %v", cl.Addrs, err)
			continue
		}
		if err := b.compare(team, got); err != nil {
			t.Errorf("through %v: team %s: %v", cl.Addrs, team, err)
		}
	}
}

func (b *books) compare(team fsm.TeamID, got []rest.Submission) error {
	seen := map[string]bool{}
	for i, s := range got {
		if want := fmt.Sprint(len(got) - i); s.Submission != want {
			return fmt.Errorf("number %s stands where %s should", s.Submission, want)
		}
		if seen[s.Key] {
			return fmt.Errorf("key %s is there twice", s.Key)
		}
		seen[s.Key] = true
		told, ok := b.told[team][s.Key]
		if _, doubted := b.doubt[team][s.Key]; !ok && !doubted {
			return fmt.Errorf("nobody sent %s", show(s))
		}
		if ok && !sameResult(told, s) {
			return fmt.Errorf("the history has %s, told was %s", show(s), show(told))
		}
	}
	for key, told := range b.told[team] {
		if !seen[key] {
			return fmt.Errorf("acknowledged and lost: %s", show(told))
		}
	}
	return nil
}

// sameResult compares two answers to one submission. A replay says that it is
// one; the history repeats what was sent.
func sameResult(a, b rest.Submission) bool {
	a.Replayed, a.Answer, a.Player = b.Replayed, b.Answer, b.Player
	return show(a) == show(b)
}
