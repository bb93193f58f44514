package controller

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// goldenCommands are one command of every kind with every field set.
func goldenCommands() []Command {
	now := fsm.Time(1_770_000_000_000_000)
	hash := [32]byte{0: 0xab, 31: 0xcd}
	member := Member{
		ID: "01NODE", Name: "north", Address: "10.0.0.1:7400", HTTP: "10.0.0.1:8080", Zone: "z", Version: "v1",
		Level: 1, State: Down, Since: now, Duty: Draining, Incarnation: 300, Joined: now - 1,
	}
	token := Token{ID: "k1", Role: "organizer", Hunt: "h", Hash: hash, Created: now, Expires: now + 1, Uses: 2, Limited: true}
	return []Command{
		&Found{"01CLUSTER", now, member, 16, Settings{5_000_000, 30_000_000}, []byte("ca"), []byte("sealed"), []Token{token}},
		&AddMember{now, member, "k1"},
		&RemoveMember{now, "01NODE"},
		&RenewMember{now, "01NODE"},
		&NodeDown{now, []fsm.NodeID{"01NODE", "02NODE"}},
		&SetTargets{[]TargetChange{{7, 3, []Wish{{"01NODE", true}, {"02NODE", false}}, "01NODE", []fsm.NodeID{"02NODE"}}}},
		&MarkFounded{[]fsm.PartitionID{0, 300}},
		&PutChunk{hash, 1 << 20, 200 << 10, []byte("part")},
		&CreateHunt{now, "h", hash, "open"},
		&PutHunt{now, "h", 4, hash},
		&SetHuntState{now, "h", "paused", "rain"},
		&DeleteHunt{now, "h", 9},
		&ForgetDeleted{9},
		&CreateToken{now, token},
		&RevokeToken{now, "k1"},
		&RegisterSnapshots{[]Snapshot{{3, fsm.Replica{Node: "01NODE", Incarnation: 5}, 1000, 2, 4096, now}}},
		&SetFeatureLevel{1},
		&NodeUp{now, []fsm.NodeID{"01NODE"}},
		&SetDuty{now, "01NODE", Leaving},
		&Recover{[]Recovery{{7, 3, fsm.Replica{Node: "01NODE", Incarnation: 5}}}},
		&Resume{now, "01NODE", 1 << 20},
		&Refound{[]Refounding{{7, 3, "01NODE"}}},
		&Refounded{7, fsm.Replica{Node: "01NODE", Incarnation: 5}},
		&GiveBack{[]TargetChange{{7, 3, []Wish{{"01NODE", true}, {"02NODE", false}}, "01NODE", []fsm.NodeID{"02NODE"}}}, []Kept{{7, fsm.Replica{Node: "01NODE", Incarnation: 5}}}},
	}
}

// golden compares lines with testdata/golden/controller_NAME.golden. With
// -update lines that differ are appended and none is taken back: what a
// released version wrote must decode for ever.
func golden(t *testing.T, name string, lines []string) []string {
	t.Helper()
	path := filepath.Join("../../testdata/golden", "controller_"+name+".golden")
	text, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	stored := strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
	for _, l := range lines {
		if strings.Contains("\n"+string(text), "\n"+l+"\n") {
			continue
		}
		if !*update {
			t.Errorf("%s lacks the line %.60s...: what does a node of the last release do with this encoding?", path, l)
			continue
		}
		stored = append(stored, l)
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(stored, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return stored
}

func TestCommandsGolden(t *testing.T) {
	var lines []string
	seen := map[kind]bool{}
	for _, c := range goldenCommands() {
		entry := Encode(c)
		back, err := Decode(entry)
		if err != nil || !reflect.DeepEqual(c, back) {
			t.Errorf("%T comes back as %v: %v", c, back, err)
		}
		seen[c.kind()] = true
		lines = append(lines, fmt.Sprintf("%s %x", strings.TrimPrefix(fmt.Sprintf("%T", c), "*controller."), entry))
	}
	for k := kind(1); k < kindEnd; k++ {
		if !seen[k] || blank[k]().kind() != k {
			t.Errorf("kind %d is not among the golden commands, or is another's", k)
		}
	}
	for _, l := range golden(t, "commands", lines) {
		name, text, _ := strings.Cut(l, " ")
		entry, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Decode(entry)
		if err != nil || !strings.HasSuffix(fmt.Sprintf("%T", c), "."+name) || !bytes.Equal(Encode(c), entry) {
			t.Errorf("the stored %s does not decode to itself any more: %T %v", name, c, err)
		}
	}
}

func goldenResults() []Result {
	return []Result{
		{},
		{Incarnation: 7, Changed: true},
		{Err: &fsm.Error{Kind: fsm.Unavailable, Msg: "later", After: time.Second}},
		{Hunt: &Hunt{"h", 2, 3, 1, "open", "rain", [32]byte{1}, 4, 5}, Created: true, Changed: true},
	}
}

func TestResultsGolden(t *testing.T) {
	var lines []string
	for _, r := range goldenResults() {
		var w wire.Writer
		AppendResult(&w, &r)
		lines = append(lines, fmt.Sprintf("Result %x", w.B))
		rd := wire.NewReader(w.B)
		if back := ReadResult(rd); rd.Done() != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("%+v comes back as %+v: %v", r, back, rd.Err())
		}
	}
	for _, l := range golden(t, "results", lines) {
		b, err := hex.DecodeString(strings.TrimPrefix(l, "Result "))
		if err != nil {
			t.Fatal(err)
		}
		rd := wire.NewReader(b)
		ReadResult(rd)
		if err := rd.Done(); err != nil {
			t.Errorf("a stored result does not decode any more: %v", err)
		}
	}
}

// goldenState is a small state with something in every table.
func goldenState(t testing.TB) *State {
	t.Helper()
	m := founded(t)
	doc := []byte("document")
	hash := sha256.Sum256(doc)
	for _, c := range []Command{
		&AddMember{2, Member{ID: "n1", Name: "one", Address: "b:1"}, "join"},
		&SetTargets{[]TargetChange{{0, 1, []Wish{{"n1", true}, {"n0", false}}, "n1", nil}}},
		&MarkFounded{[]fsm.PartitionID{0}},
		&PutChunk{hash, len(doc), 0, doc},
		&PutChunk{[32]byte{1}, 100, 0, []byte("a part")},
		&CreateHunt{3, "gone", hash, "draft"},
		&CreateHunt{3, "here", hash, "open"},
		&DeleteHunt{4, "gone", 0},
		&Recover{[]Recovery{{0, 3, fsm.Replica{Node: "n1", Incarnation: 7}}}},
		&RegisterSnapshots{[]Snapshot{{0, fsm.Replica{Node: "n1", Incarnation: 8}, 10, 1, 11, 5}}},
	} {
		if res := apply(t, m, c); !res.Changed {
			t.Fatalf("%T: %s", c, describe(res))
		}
	}
	return m.State()
}

func TestSnapshotGolden(t *testing.T) {
	s := goldenState(t)
	for _, l := range golden(t, "snapshot", []string{fmt.Sprintf("State %x", snapshotOf(t, s))}) {
		b, err := hex.DecodeString(strings.TrimPrefix(l, "State "))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(bytes.NewReader(b)); err != nil {
			t.Errorf("a stored snapshot cannot be restored any more: %v", err)
		}
	}
}
