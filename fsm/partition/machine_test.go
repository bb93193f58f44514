package partition

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cairn/fsm"
	"cairn/fsm/wire"
)

var (
	long   = flag.Bool("long", os.Getenv("CAIRN_LONG") != "", "run the long form of TestSameBytes: a million commands")
	replay = flag.Uint64("seed", 0, "run TestSameBytes with the seed that it printed")
)

// TestTwin plays random histories against the naive twin: every result, and
// afterwards every query, must agree, and the invariants hold.
func TestTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gen := newGenerator(func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }, 2, 5, 12, 1)
		m, naive := New(), &twin{}
		for range rapid.IntRange(1, 12).Draw(t, "entries") {
			var b Batch
			for range rapid.IntRange(0, 12).Draw(t, "commands") {
				b.Add(gen.next())
			}
			cmds, err := Decode(b.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			results, err := m.Apply(b.Bytes())
			if err != nil || len(results) != len(cmds) {
				t.Fatalf("%d results of %d commands, %v", len(results), len(cmds), err)
			}
			for i, c := range cmds {
				if want := naive.apply(c.Now, c.Command); !same(results[i], want) {
					t.Fatalf("%T %+v:\n got %s want %s", c.Command, c.Command, describe(&results[i]), describe(&want))
				}
			}
			if rapid.IntRange(0, 3).Draw(t, "freeze") == 0 {
				m.Freeze() // so that the next writes go to clones
			}
		}
		if err := m.check(); err != nil {
			t.Fatal(err)
		}
		compareQueries(t, m, naive)
	})
}

// same compares results, of refusals only the kind.
func same(got, want Result) bool {
	if got.Err != nil && want.Err != nil {
		return got.Err.Kind == want.Err.Kind
	}
	return reflect.DeepEqual(got, want)
}

func compareQueries(t *rapid.T, m *Machine, naive *twin) {
	if m.LogTime() != naive.now {
		t.Fatalf("log time %v, want %v", m.LogTime(), naive.now)
	}
	for id, h := range naive.hunts {
		if h.inc == 0 {
			continue
		}
		if got, want := m.Stats(id, h.inc), h.stats(); !reflect.DeepEqual(got, want) {
			t.Fatalf("stats %+v, want %+v", got, want)
		}
		var teams []Team
		for _, team := range h.sorted() {
			teams = append(teams, h.view(team))
			compareTeam(t, m, id, h, team)
		}
		if got := m.Teams(id, h.inc, "", len(teams)+1); !reflect.DeepEqual(got, teams) {
			t.Fatalf("teams %+v, want %+v", got, teams)
		}
		for _, division := range []string{"", "north", "south"} {
			compareBoard(t, m, id, h, division)
		}
	}
}

func compareTeam(t *rapid.T, m *Machine, id fsm.HuntID, h *twinHunt, team *twinTeam) {
	want := h.view(team)
	for i, rule := range h.rules.Clues {
		if h.open(team, i) {
			c := Clue{ID: rule.ID, Attempts: team.attempts(rule.ID), Limit: rule.Limit}
			if s := team.solve(rule.ID); s != nil {
				c.SolvedAt, c.Ranked = s.At, s.Ranked
			}
			want.Clues = append(want.Clues, c)
		}
	}
	if got, err := m.Team(id, h.inc, team.ID); err != nil || !reflect.DeepEqual(*got, want) {
		t.Fatalf("team %+v, %v, want %+v", got, err, want)
	}
	history := slices.Clone(team.subs)
	slices.Reverse(history)
	if got, err := m.Submissions(id, h.inc, team.ID, 0, len(history)+1); err != nil || !reflect.DeepEqual(got, history) && len(got)+len(history) > 0 {
		t.Fatalf("history %+v, %v, want %+v", got, err, history)
	}
}

// compareBoard reads the board in pages of every size up to 3.
func compareBoard(t *rapid.T, m *Machine, id fsm.HuntID, h *twinHunt, division string) {
	want := h.board(division)
	for limit := 1; limit <= 3; limit++ {
		var after *Place
		for at := 0; ; {
			got := m.Board(id, h.inc, division, after, limit)
			rows := want.Rows[at:min(at+limit, len(want.Rows))]
			beats := 0
			for _, r := range want.Rows {
				if after != nil && r.Key.Less(after.Key) {
					beats++
				}
			}
			if got.Total != want.Total || got.AsOf != want.AsOf || got.Before != at || got.Better != beats || !slices.Equal(got.Rows, rows) {
				t.Fatalf("division %q after %v: %+v, want %+v", division, after, got, rows)
			}
			if len(rows) == 0 {
				break
			}
			at += len(rows)
			after = &rows[len(rows)-1].Place
		}
	}
	for _, row := range want.Rows {
		beats := 0
		for _, r := range want.Rows {
			if r.Key.Less(row.Key) {
				beats++
			}
		}
		if got := m.Better(id, h.inc, row.Key); division == "" && got != beats {
			t.Fatalf("better than %v: %d, want %d", row.Key, got, beats)
		}
	}
}

// TestSameBytes applies the same random commands to two machines, one of which
// is thrown away half way and restored from its snapshot: results, hashes at
// checkpoints and final snapshots must be equal, byte for byte.
func TestSameBytes(t *testing.T) {
	commands := 100_000
	if *long {
		commands = 1_000_000
	}
	seed := *replay
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	gen := newGenerator(rng.IntN, 3, 60, 2_000, 30)
	a, b := New(), New()
	outcomes := map[string]int{}
	hashed := 0 // a hash is of everything, so not every checkpoint has one
	for n := 0; n < commands; {
		var batch Batch
		for size := rng.IntN(200); batch.Len() < size && batch.Add(gen.next()); {
			continue
		}
		if n < commands/2 && n+batch.Len() >= commands/2 {
			b = restored(t, b)
		}
		n += batch.Len()
		ra, err := a.Apply(batch.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		rb, err := b.Apply(batch.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encodeResults(ra), encodeResults(rb)) {
			t.Fatalf("seed %d: the machines answer differently after %d commands", seed, n)
		}
		countOutcomes(outcomes, ra)
		if outcomes["checkpoint"] > 0 && n >= hashed*commands/20 {
			if hashed++; a.Freeze().Hash() != b.Freeze().Hash() {
				t.Fatalf("seed %d: the hashes differ after %d commands", seed, n)
			}
		}
	}
	t.Logf("%d commands: %v", commands, outcomes)
	for v := range verdictEnd {
		if outcomes[v.String()] < commands/400 {
			t.Errorf("the history is too poor: only %d times %v", outcomes[v.String()], v)
		}
	}
	if !bytes.Equal(snapshot(t, a.Freeze()), snapshot(t, b.Freeze())) {
		t.Fatalf("seed %d: the snapshots differ", seed)
	}
	if err := b.check(); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
}

func countOutcomes(outcomes map[string]int, results []Result) {
	for _, r := range results {
		switch {
		case r.Err != nil:
			outcomes[r.Err.Kind.String()]++
		case r.Submission != nil && r.Submission.Replayed:
			outcomes["replayed"]++
		case r.Submission != nil:
			outcomes[r.Submission.Verdict.String()]++
		case r.Checkpoint:
			outcomes["checkpoint"]++
		default:
			outcomes["other"]++
		}
	}
}

func encodeResults(list []Result) []byte {
	var w wire.Writer
	for i := range list {
		AppendResult(&w, &list[i])
	}
	return w.B
}

func snapshot(t testing.TB, f *Frozen) []byte {
	t.Helper()
	var buf bytes.Buffer
	n, err := f.WriteTo(&buf)
	if err != nil || n != int64(buf.Len()) {
		t.Fatalf("WriteTo counted %d bytes of %d, %v", n, buf.Len(), err)
	}
	return buf.Bytes()
}

// TestFreezeWhileApplying writes frozen states from other goroutines while the
// machine goes on: under the race detector this convicts a shared write, and
// the bytes convict one that was not shared in time.
func TestFreezeWhileApplying(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	gen := newGenerator(rng.IntN, 2, 50, 500, 5)
	m := New()
	var wg sync.WaitGroup
	errs := make(chan error, 1000)
	for range 60 {
		var b Batch
		for b.Len() < 100 && b.Add(gen.next()) {
			continue
		}
		if _, err := m.Apply(b.Bytes()); err != nil {
			t.Fatal(err)
		}
		frozen, want := m.Freeze(), m.Hash()
		for range 2 { // two readers of one Frozen, and of shared teams
			wg.Go(func() {
				if frozen.Hash() != want {
					errs <- fmt.Errorf("a frozen state changed")
				}
			})
		}
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
}

// TestFreezeIsCheap: a freeze must not copy teams, and a team is cloned once
// after it.
func TestFreezeIsCheap(t *testing.T) {
	m := populated(t, 1_000, 3)
	m.Freeze()
	g := m.game("h", 1)
	before, _ := g.teams.Get(benchTeam(7))
	if once := m.own(g, before); once == before || m.own(g, once) != once {
		t.Error("a team is not cloned, or cloned twice, after a freeze")
	}
	if n := testing.AllocsPerRun(10, func() { m.Freeze() }); n > 20 {
		t.Errorf("freezing 1,000 teams of one hunt allocates %v times", n)
	}
}

// populated returns a machine with one hunt, ten clues, and teams that each
// made some submissions.
func populated(t testing.TB, teams, submissions int) *Machine {
	t.Helper()
	m := New()
	var b Batch
	add := func(c Command) {
		if !b.Add(epoch, c) {
			apply(t, m, &b)
			b.Reset()
			b.Add(epoch, c)
		}
	}
	add(&Init{Range: fsm.Range{Last: fsm.Slots - 1}})
	add(&InstallHunt{"h", 1, 1, tenClues().Encode()})
	for i := range teams {
		add(&CreateTeam{Hunt: "h", Incarnation: 1, Team: benchTeam(i), Name: "A team of some name", Key: "k"})
	}
	for n := range submissions {
		for i := range teams {
			add(benchSubmit(i, n))
		}
	}
	apply(t, m, &b)
	return m
}

func apply(t testing.TB, m *Machine, b *Batch) []Result {
	t.Helper()
	results, err := m.Apply(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	return results
}

func tenClues() *Rules {
	r := &Rules{Ranking: []Criterion{ByPoints, ByLastSolve}}
	for i := range 10 {
		r.Clues = append(r.Clues, ClueRule{ID: fsm.ClueID(fmt.Sprintf("clue-%d", i)), Points: 10})
	}
	return r
}

func benchTeam(i int) fsm.TeamID { return fsm.TeamID(fmt.Sprintf("team-%06d", i)) }

// benchSubmit is the n-th answer of team i: three wrong ones, a right one, and
// so on through the clues.
func benchSubmit(i, n int) *Submit {
	answer := fmt.Sprintf("an answer %d", n)
	c := &Submit{
		Hunt: "h", Incarnation: 1, Version: 1, Team: benchTeam(i), Generation: 1, Answer: answer, Digest: digest(answer),
		Clue: fsm.ClueID(fmt.Sprintf("clue-%d", n/4%10)), Key: fmt.Sprintf("%08d-%08d-0123456789", i, n),
	}
	if n%4 == 3 {
		c.Match = Correct
	}
	return c
}
