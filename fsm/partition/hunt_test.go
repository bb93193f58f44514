package partition

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"cairn/fsm"
)

// TestRealHunt plays a whole real hunt through one machine, as an import after
// the fact, and expects the published result: every verdict, and the rank of
// every team that solved something in time. CAIRN_GPH_DATA names the data.
func TestRealHunt(t *testing.T) {
	dir := os.Getenv("CAIRN_GPH_DATA")
	if dir == "" {
		dir = "../../../shared/data/gph2022"
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("SKIPPED: the data of the real hunt is not there: %v", err)
	}
	var doc struct {
		ID     fsm.HuntID `json:"id"`
		Starts fsm.Time   `json:"starts_at"`
		Ends   fsm.Time   `json:"ends_at"`
		Finish fsm.ClueID `json:"finish_clue"`
		Clues  []struct {
			ID     fsm.ClueID `json:"id"`
			Points int64      `json:"points"`
		} `json:"clues"`
	}
	readJSON(t, filepath.Join(dir, "hunt.json"), &doc)
	rules := &Rules{
		Starts: doc.Starts, Ends: doc.Ends, Unranked: true, Finish: doc.Finish,
		Ranking: []Criterion{ByFinish, BySolves, ByLastSolve},
	}
	for _, c := range doc.Clues {
		rules.Clues = append(rules.Clues, ClueRule{ID: c.ID, Points: c.Points})
	}
	m := New()
	applyOne(t, m, &Init{Range: fsm.Range{Last: fsm.Slots - 1}})
	applyOne(t, m, &InstallHunt{doc.ID, 1, 1, rules.Encode()})
	for _, row := range readTSV(t, filepath.Join(dir, "teams.tsv")) {
		applyOne(t, m, &CreateTeam{Hunt: doc.ID, Incarnation: 1, Team: fsm.TeamID(row[0]), Name: row[1], Key: "import"})
	}
	replayHunt(t, m, doc.ID, filepath.Join(dir, "submissions.ndjson.gz"))

	st := m.Stats(doc.ID, 1)
	if st.Teams != 919 || st.Submissions != [Verdicts]int{VerdictCorrect: 9_963, VerdictIncorrect: 31_686} {
		t.Errorf("%d teams, submissions %v", st.Teams, st.Submissions)
	}
	page := m.Board(doc.ID, 1, "", nil, 1_000)
	want := readTSV(t, filepath.Join(dir, "expected_ranks.tsv"))
	if len(page.Rows) != len(want) || len(want) != 682 {
		t.Fatalf("%d rows, want %d", len(page.Rows), len(want))
	}
	for i, row := range page.Rows {
		rank := m.Better(doc.ID, 1, row.Key) + 1
		if strconv.Itoa(rank) != want[i][0] || string(row.Team) != want[i][1] || strconv.Itoa(int(row.Solves)) != want[i][2] {
			t.Errorf("row %d is %d %s with %d, want %v", i, rank, row.Team, row.Solves, want[i])
		}
	}
	if err := m.check(); err != nil {
		t.Error(err)
	}
}

// replayHunt imports the submissions in the file's order, in full batches.
func replayHunt(t *testing.T, m *Machine, hunt fsm.HuntID, path string) {
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
	var b Batch
	for lines := bufio.NewScanner(z); lines.Scan(); {
		var s struct {
			Key, Answer string
			Team        fsm.TeamID
			Clue        fsm.ClueID
			At          fsm.Time
		}
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		c := &Submit{
			Hunt: hunt, Incarnation: 1, Version: 1, Team: s.Team, Clue: s.Clue, Answer: s.Answer, Digest: digest(s.Answer),
			Key: s.Key, At: s.At,
		}
		if strings.EqualFold(s.Answer, "solution of "+string(s.Clue)) {
			c.Match = Correct
		}
		if !b.Add(epoch, c) {
			apply(t, m, &b)
			b.Reset()
			b.Add(epoch, c)
		}
	}
	apply(t, m, &b)
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// readTSV returns the lines behind the header.
func readTSV(t *testing.T, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes = '\t', true
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows[1:]
}
