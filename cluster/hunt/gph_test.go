package hunt

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"cairn/fsm"
	"cairn/fsm/partition"
)

const gph = "../../testdata/gph/"

// gphTeam is what the submissions make of a team.
type gphTeam struct {
	id                 string
	solves             int
	last, finish       fsm.Time
	correct, incorrect int
}

// TestRealHunt judges the excerpt of a real hunt with the Matcher and ranks its
// teams in the plainest way: the published ranks must come out. It keeps the
// excerpt fit for the tests that play it through a cluster.
func TestRealHunt(t *testing.T) {
	d, err := parseFile(t, gph+"hunt.json")
	if err != nil {
		t.Fatal(err)
	}
	teams := map[string]*gphTeam{}
	for _, row := range readTSV(t, gph+"teams.tsv") {
		if err := CheckName(row[1]); err != nil {
			t.Errorf("team %s: %v", row[0], err)
		}
		teams[row[0]] = &gphTeam{id: row[0]}
	}
	m := NewMatcher(d)
	for _, line := range readGzip(t, gph+"submissions.ndjson.gz") {
		var in struct {
			Team, Answer string
			Clue         fsm.ClueID
			At           fsm.Time
		}
		if err := json.Unmarshal([]byte(line), &in); err != nil {
			t.Fatal(err)
		}
		by := teams[in.Team]
		match, _, _, ok := m.Match(in.Clue, in.Answer)
		if by == nil || !ok || CheckAnswer(in.Answer) != nil {
			t.Fatalf("an unknown team or clue, or a bad answer: %s", line)
		}
		if match != partition.Correct {
			by.incorrect++
			continue
		}
		by.correct++
		if in.At < d.EndsAt {
			by.solves++
			by.last = max(by.last, in.At)
			if in.Clue == d.FinishClue {
				by.finish = in.At
			}
		}
	}

	compareRanks(t, teams)
}

// compareRanks ranks the teams by finish, solves and last solve.
func compareRanks(t *testing.T, teams map[string]*gphTeam) {
	t.Helper()
	var listed []*gphTeam
	correct, incorrect := 0, 0
	for _, by := range teams {
		correct, incorrect = correct+by.correct, incorrect+by.incorrect
		if by.solves > 0 {
			listed = append(listed, by)
		}
	}
	if correct != 626 || incorrect != 2270 {
		t.Errorf("%d correct and %d incorrect answers, want 626 and 2270", correct, incorrect)
	}
	never := fsm.Time(1 << 62)
	slices.SortFunc(listed, func(a, b *gphTeam) int {
		return cmp.Or(cmp.Compare(cmp.Or(a.finish, never), cmp.Or(b.finish, never)), cmp.Compare(b.solves, a.solves), cmp.Compare(a.last, b.last))
	})
	want := readTSV(t, gph+"expected_ranks.tsv")
	if len(listed) != len(want) {
		t.Fatalf("%d teams are ranked, want %d", len(listed), len(want))
	}
	for i, by := range listed {
		finish := ""
		if by.finish != 0 {
			finish = by.finish.String()
		}
		got := fmt.Sprint([]string{fmt.Sprint(i + 1), by.id, fmt.Sprint(by.solves), by.last.String(), finish})
		if got != fmt.Sprint(want[i]) {
			t.Errorf("got %s, want %s", got, want[i])
		}
	}
}

// readTSV returns the rows below the header.
func readTSV(t *testing.T, path string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows[1:]
}

func readGzip(t *testing.T, path string) (lines []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(z)
	for in.Scan() {
		lines = append(lines, in.Text())
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}
