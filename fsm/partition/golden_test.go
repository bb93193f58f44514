package partition

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// goldenVersion is the version of the encodings that this release writes. When
// one changes, raise it: the new files go beside the old ones, which must be
// read for ever and are never rewritten.
const goldenVersion = 2

// golden reads testdata/golden/partition/v<version>/<name>.hex; with -update it
// writes the file of this release's version first.
func golden(t *testing.T, version int, name string, now []byte) []byte {
	t.Helper()
	path := filepath.Join("../../testdata/golden/partition", fmt.Sprintf("v%d", version), name+".hex")
	if *update && version == goldenVersion {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var lines strings.Builder
		for b := now; len(b) > 0; b = b[min(32, len(b)):] {
			fmt.Fprintf(&lines, "%x\n", b[:min(32, len(b))])
		}
		if err := os.WriteFile(path, []byte(lines.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func goldenRules() *Rules {
	return &Rules{
		State: Open, Starts: epoch, Ends: epoch + 3_600_000_000, Unranked: true, Registration: true,
		Ranking: []Criterion{ByFinish, BySolves, ByPoints, ByLastSolve}, Finish: "gate",
		Clues: []ClueRule{
			{ID: "start", Round: "one", Points: 10, Limit: 3},
			{ID: "gate", Points: 1_000_000, Unlock: Cond{Op: All, Of: []Cond{
				{Op: Solved, Clue: 0},
				{Op: Any, Of: []Cond{{Op: Solved, Clue: 0}, {Op: Always}}},
				{Op: AtLeast, K: 1, Of: []Cond{{Op: Solved, Clue: 1}, {Op: Solved, Clue: 0}}},
			}}},
		},
	}
}

// goldenCommands has every kind of command, with every field, that a version of
// the encodings has.
func goldenCommands(version int, rules []byte) []Timed {
	sub := Submit{
		Hunt: "h", Incarnation: 300, Version: 2, Team: "red", Generation: 2, Clue: "start", Match: Nudged,
		Digest: 0x0123456789abcdef, Answer: "almøst", Reply: "warm", Key: "k1", Player: "ann", At: epoch + 1,
	}
	right := sub
	right.Match, right.Key, right.Answer, right.At = Correct, "k2", "yes", 0
	all := []Timed{
		{epoch, &Init{Partition: 7, Range: fsm.Range{First: 0, Last: fsm.Slots - 1}, Epoch: 5}},
		{epoch, &InstallHunt{Hunt: "h", Incarnation: 300, Version: 2, Rules: rules}},
		{epoch, &CreateTeam{
			Hunt: "h", Incarnation: 300, Public: true, Team: "red", Name: "Röd", Kind: Normal, Division: "north", Key: "make",
		}},
		{epoch + 1, &RotateToken{Hunt: "h", Incarnation: 300, Team: "red", Key: "turn"}},
		{epoch + 1, &sub},
		{epoch + 2_000_000, &right},
		{epoch + 2_000_000, &PatchTeam{
			Hunt: "h", Incarnation: 300, Team: "red", Name: new("Red"), Kind: new(Test), Status: new(Hidden),
			Division: new("south"), Meta: new(`{"a":1}`), Reason: "because",
		}},
		{epoch + 2_000_000, &PatchTeam{Hunt: "h", Incarnation: 300, Team: "red", Kind: new(Normal)}},
		{epoch + 2_000_001, &DeleteHunt{Hunt: "gone", Incarnation: 4}},
	}
	if version >= 2 {
		all = append(all, Timed{epoch + 2_000_002, &Checkpoint{}})
	}
	return all
}

// TestGolden: what any release wrote is read as what it meant then, and this
// release writes exactly what its version says.
func TestGolden(t *testing.T) {
	for version := 1; version <= goldenVersion; version++ {
		// Packed rules may be packed otherwise by the next release of Go, so the
		// commands around them are made with the file's bytes.
		packed := golden(t, version, "rules", goldenRules().Encode())
		if rules, err := DecodeRules(packed); err != nil || !reflect.DeepEqual(rules, goldenRules()) {
			t.Errorf("v%d: rules are %+v, %v", version, rules, err)
		}
		var batch Batch
		for _, c := range goldenCommands(version, packed) {
			batch.Add(c.Now, c.Command)
		}
		entry := golden(t, version, "entry", batch.Bytes())
		if cmds, err := Decode(entry); err != nil || !reflect.DeepEqual(cmds, goldenCommands(version, packed)) {
			t.Errorf("v%d: commands are %+v, %v", version, cmds, err)
		}
		m := New()
		results := apply(t, m, &batch)
		image := golden(t, version, "snapshot", snapshot(t, m.Freeze()))
		if back, err := Restore(bytes.NewReader(image)); err != nil || back.Hash() != m.Hash() {
			t.Errorf("v%d: the snapshot restores to another state (%v)", version, err)
		}
		answers := golden(t, version, "answers", goldenAnswers(t, m, results))
		if version == goldenVersion {
			if !bytes.Equal(entry, batch.Bytes()) {
				t.Errorf("entry is written as %x", batch.Bytes())
			}
			if now := snapshot(t, m.Freeze()); !bytes.Equal(image, now) {
				t.Errorf("snapshot is written as %x", now)
			}
			if now := goldenAnswers(t, m, results); !bytes.Equal(answers, now) {
				t.Errorf("answers are written as %x", now)
			}
		}
	}
}

// goldenAnswers are results and every kind of answer, one behind the other.
func goldenAnswers(t *testing.T, m *Machine, results []Result) []byte {
	t.Helper()
	w := wire.Writer{B: encodeResults(results)}
	AppendResult(&w, &Result{Err: &fsm.Error{Kind: fsm.Overloaded, Msg: "wait", After: 5}})
	team, err := m.Team("h", 300, "red")
	if err != nil {
		t.Fatal(err)
	}
	AppendTeam(&w, team)
	list, err := m.Submissions("h", 300, "red", 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	AppendSubmissions(&w, list)
	page, stats := m.Board("h", 300, "", nil, 10), m.Stats("h", 300)
	AppendPage(&w, &page)
	AppendStats(&w, &stats)
	AppendPlace(&w, &Place{RankKey{-1, 2, 3, 4}, "red"})
	AppendTeams(&w, m.Teams("h", 300, "", 10))
	return w.B
}
