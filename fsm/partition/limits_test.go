package partition

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cairn/fsm"
	"cairn/fsm/wire"
)

func applyOne(t testing.TB, m *Machine, c Command) Result {
	t.Helper()
	var b Batch
	if !b.Add(epoch, c) {
		t.Fatalf("%T does not fit an entry", c)
	}
	results, err := m.Apply(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return results[0]
}

// TestFieldLimits changes one field of a good command at a time; the refused
// key must stay free.
func TestFieldLimits(t *testing.T) {
	m := populated(t, 1, 0)
	long := func(n int) string { return strings.Repeat("x", n) }
	for i, tc := range []struct {
		change func(*Submit)
		want   fsm.Kind
	}{
		{func(c *Submit) { c.Key = "" }, fsm.Invalid},
		{func(c *Submit) { c.Key = long(MaxKey + 1) }, fsm.Invalid},
		{func(c *Submit) { c.Match = Nudged + 1 }, fsm.Invalid},
		{func(c *Submit) { c.At = -1 }, fsm.Invalid},
		{func(c *Submit) { c.Answer = long(MaxAnswer + 1) }, fsm.TooLarge},
		{func(c *Submit) { c.Reply = long(MaxReply + 1) }, fsm.TooLarge},
		{func(c *Submit) { c.Player = long(MaxName + 1) }, fsm.TooLarge},
		{func(c *Submit) { c.Clue = fsm.ClueID(long(9_000)) }, fsm.NotFound},
		{func(c *Submit) { c.Team = fsm.TeamID(long(9_000)) }, fsm.Unavailable},
		{func(c *Submit) { c.Hunt = fsm.HuntID(long(9_000)) }, fsm.Unavailable},
	} {
		c := benchSubmit(0, 0)
		tc.change(c)
		if r := applyOne(t, m, c); r.Err == nil || r.Err.Kind != tc.want || len(r.Err.Msg) > 300 {
			t.Errorf("case %d: %+v, want %v", i, r, tc.want)
		}
	}
	c := benchSubmit(0, 0)
	c.Key, c.Answer, c.Player = long(MaxKey), long(MaxAnswer), long(MaxName)
	if r := applyOne(t, m, c); r.Err != nil || r.Submission.Number != 1 {
		t.Errorf("at every limit: %+v", r)
	}
	for i, c := range []Command{
		&CreateTeam{Hunt: "h", Incarnation: 1, Team: "new", Key: "k", Name: long(MaxName + 1)},
		&CreateTeam{Hunt: "h", Incarnation: 1, Team: "new", Key: "k", Division: long(MaxName + 1)},
		&PatchTeam{Hunt: "h", Incarnation: 1, Team: benchTeam(0), Name: new(long(MaxName + 1))},
		&PatchTeam{Hunt: "h", Incarnation: 1, Team: benchTeam(0), Division: new(long(MaxName + 1))},
		&PatchTeam{Hunt: "h", Incarnation: 1, Team: benchTeam(0), Meta: new(long(MaxMeta + 1))},
		&RotateToken{Hunt: "h", Incarnation: 1, Team: benchTeam(0), Key: long(MaxKey + 1)},
	} {
		if r := applyOne(t, m, c); r.Err == nil || r.Err.Kind != fsm.TooLarge {
			t.Errorf("long text %d: %+v", i, r)
		}
	}
	for i, c := range []Command{
		&CreateTeam{Hunt: "h", Incarnation: 1, Team: "new", Key: "k", Kind: Test + 1},
		&CreateTeam{Hunt: "h", Incarnation: 1, Team: "new", Key: long(MaxKey + 1)},
		&PatchTeam{Hunt: "h", Incarnation: 1, Team: benchTeam(0), Kind: new(Test + 1)},
		&PatchTeam{Hunt: "h", Incarnation: 1, Team: benchTeam(0), Status: new(Disqualified + 1)},
		&InstallHunt{Hunt: "h", Incarnation: 1, Version: 2, Rules: []byte{rulesVersion, 0xff}},
	} {
		if r := applyOne(t, m, c); r.Err == nil || r.Err.Kind != fsm.Invalid {
			t.Errorf("bad value %d: %+v", i, r)
		}
	}
	if err := m.check(); err != nil {
		t.Error(err)
	}
}

// TestFullHistory: a team with all the records it may have, or all the bytes,
// is refused by that name, and its keys still answer.
func TestFullHistory(t *testing.T) {
	m := populated(t, 1, MaxSubmissions)
	r := applyOne(t, m, benchSubmit(0, MaxSubmissions))
	if r.Err == nil || r.Err.Kind != fsm.AttemptsExhausted || !strings.Contains(r.Err.Msg, "10000") {
		t.Errorf("submission %d: %+v", MaxSubmissions+1, r)
	}
	if r := applyOne(t, m, benchSubmit(0, MaxSubmissions-1)); r.Err != nil || !r.Submission.Replayed {
		t.Errorf("replay of the last: %+v", r)
	}

	m = populated(t, 1, 0)
	for n := range MaxSubmissions {
		c := benchSubmit(0, n)
		c.Answer = strings.Repeat(fmt.Sprint(n%10), MaxAnswer)
		if r = applyOne(t, m, c); r.Err != nil {
			break
		}
	}
	g := m.game("h", 1)
	team, _ := g.teams.Get(benchTeam(0))
	if r.Err == nil || r.Err.Kind != fsm.AttemptsExhausted || len(team.history.log) > MaxHistory ||
		len(team.history.log) < MaxHistory-2*MaxAnswer {
		t.Errorf("a history of %d bytes: %+v", len(team.history.log), r)
	}
	restored(t, m)
}

// TestDictionaryLimit: versions that together name too many clues are refused,
// and the version before goes on.
func TestDictionaryLimit(t *testing.T) {
	m := populated(t, 1, 0)
	for version := uint64(2); ; version++ {
		r := &Rules{}
		for i := range MaxClues {
			r.Clues = append(r.Clues, ClueRule{ID: fsm.ClueID(fmt.Sprintf("v%d-%d", version, i))})
		}
		res := applyOne(t, m, &InstallHunt{"h", 1, version, r.Encode()})
		if res.Err == nil {
			if version*MaxClues > MaxClueIDs+2*MaxClues {
				t.Fatalf("version %d was installed", version)
			}
			continue
		}
		is, _ := m.Installed("h")
		if res.Err.Kind != fsm.TooLarge || is.Version != version-1 || len(m.game("h", 1).dict) > MaxClueIDs {
			t.Errorf("%+v with version %d installed", res, is.Version)
		}
		if err := m.check(); err != nil {
			t.Error(err)
		}
		return
	}
}

func TestBatchLimits(t *testing.T) {
	var b Batch
	for b.Add(epoch, &RotateToken{}) {
		continue
	}
	if b.Len() != MaxBatch {
		t.Errorf("%d commands fit, want %d", b.Len(), MaxBatch)
	}
	b.Reset()
	big := &InstallHunt{Hunt: fsm.HuntID(strings.Repeat("h", fsm.MaxID)), Rules: make([]byte, MaxPacked)}
	if !b.Add(epoch, big) {
		t.Error("the largest rules do not fit an entry")
	}
	before := bytes.Clone(b.Bytes())
	if b.Add(epoch, big) || b.Len() != 1 || !bytes.Equal(b.Bytes(), before) {
		t.Error("what does not fit left a trace")
	}
	kept := b.Bytes()
	b.Reset()
	b.Add(epoch, &DeleteHunt{"other", 1})
	if !bytes.Equal(kept, before) {
		t.Error("Reset reused the bytes it had handed out")
	}
	if cmds, err := Decode(new(Batch).Bytes()); err != nil || len(cmds) != 0 {
		t.Errorf("the empty entry decodes to %v, %v", cmds, err)
	}
	b.Reset()
	for _, now := range []fsm.Time{-5, 7, 3, 9} {
		b.Add(now, &RotateToken{})
	}
	cmds, err := Decode(b.Bytes())
	if err != nil || cmds[0].Now != 0 || cmds[1].Now != 7 || cmds[2].Now != 7 || cmds[3].Now != 9 {
		t.Errorf("times %v, %v", cmds, err)
	}
}

// TestStops: what this release cannot understand stops the replica, and changes
// nothing.
func TestStops(t *testing.T) {
	later := []byte{entryVersion + 1}
	unknown := []byte{entryVersion, 0, 99}
	var rules Batch
	rules.Add(epoch, &InstallHunt{"h", 1, 2, []byte{rulesVersion + 1}})
	var huge, more Batch
	huge.Add(epoch, &InstallHunt{"h", 1, 2, make([]byte, MaxEntry-20)})
	more.Add(0, &InstallHunt{"h", 1, 2, tenClues().Encode()})
	patch := EncodeCommand(&PatchTeam{})
	patch[len(patch)-2] |= patchEnd // the field says which others are present
	for name, entry := range map[string][]byte{
		"nothing": nil, "later version": later, "unknown kind": unknown, "later rules": rules.Bytes(),
		"cut": rules.Bytes()[:4], "over the limit": append(huge.Bytes(), more.Bytes()[1:]...),
		"later field":   append([]byte{entryVersion, 0}, patch[1:]...),
		"time overflow": {entryVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, kindInit, 0, 0, 0, 0},
	} {
		m := populated(t, 1, 1)
		before, _ := m.Installed("h")
		if results, err := m.Apply(entry); err == nil {
			t.Errorf("%s: %+v", name, results)
		}
		if after, _ := m.Installed("h"); after != before {
			t.Errorf("%s: %+v became %+v", name, before, after)
		}
	}
}

// TestNoCommandStops: whatever values a command is filled with, it is proposed
// and decoded as it was, and at worst refused: no request of a user can stop
// the replicas.
func TestNoCommandStops(t *testing.T) {
	base := snapshot(t, populated(t, 3, 2).Freeze())
	rapid.Check(t, func(t *rapid.T) {
		m, err := Restore(bytes.NewReader(base))
		if err != nil {
			t.Fatal(err)
		}
		commands := rapid.OneOf(
			command[Init](), command[DeleteHunt](), command[CreateTeam](), command[PatchTeam](), command[RotateToken](),
			command[Submit](),
		)
		for _, c := range rapid.SliceOfN(commands, 1, 20).Draw(t, "commands") {
			var b Batch
			if !b.Add(fsm.Time(rapid.Int64().Draw(t, "now")), c) {
				t.Skip("too long")
			}
			if _, err := m.Apply(b.Bytes()); err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
		}
		if err := m.check(); err != nil {
			t.Fatal(err)
		}
	})
}

// command makes commands of any values, aimed at the existing hunt and teams
// half of the time.
func command[T any, P interface {
	*T
	Command
}]() *rapid.Generator[Command] {
	return rapid.Custom(func(t *rapid.T) Command {
		v := rapid.Make[T]().Draw(t, "command")
		c := Command(P(&v))
		if rapid.Bool().Draw(t, "aimed") {
			team := benchTeam(rapid.IntRange(0, 2).Draw(t, "team"))
			switch c := c.(type) {
			case *CreateTeam:
				c.Hunt, c.Incarnation, c.Team = "h", 1, team+"x"
			case *PatchTeam:
				c.Hunt, c.Incarnation, c.Team = "h", 1, team
			case *RotateToken:
				c.Hunt, c.Incarnation, c.Team = "h", 1, team
			case *Submit:
				c.Hunt, c.Incarnation, c.Team, c.Version, c.Generation, c.Clue = "h", 1, team, 1, 0, "clue-1"
			}
		}
		return c
	})
}

func TestValidateRules(t *testing.T) {
	deep := Cond{Op: Always}
	for range MaxDepth {
		deep = Cond{Op: All, Of: []Cond{deep}}
	}
	wide := Cond{Op: Any, Of: make([]Cond, MaxConds)}
	for name, change := range map[string]func(*Rules){
		"state":          func(r *Rules) { r.State = Closed + 1 },
		"too many clues": func(r *Rules) { r.Clues = make([]ClueRule, MaxClues+1) },
		"criterion":      func(r *Rules) { r.Ranking = []Criterion{ByLastSolve + 1} },
		"ranked twice":   func(r *Rules) { r.Ranking = []Criterion{ByPoints, ByPoints} },
		"finish":         func(r *Rules) { r.Finish = "No" },
		"clue id":        func(r *Rules) { r.Clues[1].ID = "" },
		"clue twice":     func(r *Rules) { r.Clues[1].ID = r.Clues[0].ID },
		"round":          func(r *Rules) { r.Clues[1].Round = "Å" },
		"points":         func(r *Rules) { r.Clues[1].Points = MaxPoints + 1 },
		"negative":       func(r *Rules) { r.Clues[1].Points = -1 },
		"operator":       func(r *Rules) { r.Clues[1].Unlock.Op = AtLeast + 1 },
		"no such clue":   func(r *Rules) { r.Clues[1].Unlock = Cond{Op: Solved, Clue: 10} },
		"k over n":       func(r *Rules) { r.Clues[1].Unlock = Cond{Op: AtLeast, K: 1} },
		"negative k":     func(r *Rules) { r.Clues[1].Unlock = Cond{Op: AtLeast, K: -1} },
		"too deep":       func(r *Rules) { r.Clues[1].Unlock = deep },
		"too many conds": func(r *Rules) { r.Clues[1].Unlock = wide },
	} {
		r := tenClues()
		change(r)
		if err := r.Validate(); fsm.KindOf(err) != fsm.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		if name == "negative" || name == "negative k" {
			continue // these have no encoding
		}
		if _, err := DecodeRules(r.Encode()); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: decoded with %v", name, err)
		}
	}
	if err := tenClues().Validate(); err != nil {
		t.Error(err)
	}
}

// TestRulesBomb: a small packing of more than MaxRules bytes is refused, as are
// bytes behind the packing.
func TestRulesBomb(t *testing.T) {
	bomb := bytes.NewBuffer([]byte{rulesVersion})
	z, err := flate.NewWriter(bomb, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(make([]byte, MaxRules+1)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, packed := range map[string][]byte{
		"bomb": bomb.Bytes(), "tail": append(tenClues().Encode(), 0), "too long": append([]byte{rulesVersion}, make([]byte, MaxPacked)...),
	} {
		if _, err := DecodeRules(packed); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCollisions: equal hashes are not equal keys, nor equal answers.
func TestCollisions(t *testing.T) {
	byHash := map[uint32]string{}
	var one, two string
	for i := 0; two == ""; i++ {
		key := fmt.Sprint("key-", i)
		if other, ok := byHash[hashKey(key)]; ok {
			one, two = other, key
		}
		byHash[hashKey(key)] = key
	}
	m := populated(t, 1, 0)
	submit := func(key string, digest uint64, answer string) *Submission {
		t.Helper()
		c := benchSubmit(0, 0)
		c.Key, c.Digest, c.Answer = key, digest, answer
		r := applyOne(t, m, c)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		return r.Submission
	}
	if hashWrong(0, 1<<32) != hashWrong(0, 1) {
		t.Fatal("the digests do not collide")
	}
	submit(one, 1<<32, "a")
	if s := submit(two, 1, "b"); s.Replayed || s.Verdict != VerdictIncorrect {
		t.Errorf("%+v", s)
	}
	if s := submit(two, 1, "b"); !s.Replayed || s.Number != 2 {
		t.Errorf("%+v", s)
	}
	if s := submit("third", 1<<32, "c"); s.Verdict != VerdictDuplicate {
		t.Errorf("%+v", s)
	}
}
