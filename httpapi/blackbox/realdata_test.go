package blackbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"cairn/fsm"
	"cairn/httpapi/cli/replay"
	"cairn/httpapi/rest"
)

const (
	// wholeHunt is where the real hunt's data lies unless CAIRN_GPH_DATA says.
	wholeHunt = "../../../shared/data/gph2022"
	// excerpt is a part of it that is always here.
	excerpt = "../../testdata/gph"
)

// What the whole data is known to hold, from its published statistics.
const (
	wholeTeams     = 919
	wholeCorrect   = 9963
	wholeIncorrect = 31686
	wholeRanked    = 682
)

// realHunt is a hunt as it was in life: what was sent, and what came of it.
type realHunt struct {
	dir                string
	id                 fsm.HuntID
	lines              map[fsm.TeamID][]rest.BatchLine // each team's, in their order
	teams              int
	correct, incorrect int
	board              []rest.Row // without names and scores
	checks             int        // how often a cluster was held against it
}

func (h *realHunt) total() int               { return h.correct + h.incorrect }
func (h *realHunt) file(name string) string  { return filepath.Join(h.dir, name) }
func (h *realHunt) path(under string) string { return "/v1/hunts/" + string(h.id) + under }

// loadRealHunt reads the whole data if it is on this machine. If it is not, it
// says so, even to who does not ask for a test's log, and reads the excerpt.
func loadRealHunt(t *testing.T) *realHunt {
	t.Helper()
	dir := os.Getenv("CAIRN_GPH_DATA")
	if dir == "" {
		dir = wholeHunt
	}
	if _, err := os.Stat(filepath.Join(dir, "hunt.json")); errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(os.Stderr, "\n*** %s: THE REAL HUNT IS NOT TESTED: there is no data at %s.\n*** Only the excerpt is played. CAIRN_GPH_DATA=DIR names the data.\n\n", t.Name(), dir)
		return readRealHunt(t, excerpt)
	}
	h := readRealHunt(t, dir)
	if h.teams != wholeTeams || h.correct != wholeCorrect || h.incorrect != wholeIncorrect || len(h.board) != wholeRanked {
		t.Fatalf("%s holds %d teams, %d correct and %d incorrect answers, %d ranks: this is not the whole data",
			dir, h.teams, h.correct, h.incorrect, len(h.board))
	}
	return h
}

func readRealHunt(t *testing.T, dir string) *realHunt {
	t.Helper()
	h := &realHunt{dir: dir, lines: map[fsm.TeamID][]rest.BatchLine{}}
	right, err := h.readDocument()
	if err == nil {
		err = h.readLines(right)
	}
	if err == nil {
		err = h.readRanks()
	}
	if err != nil {
		t.Fatalf("the real hunt's data: %v", err)
	}
	teams, err := os.ReadFile(h.file("teams.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	h.teams = strings.Count(strings.TrimSpace(string(teams)), "\n")
	return h
}

// readDocument returns the right answers by clue.
func (h *realHunt) readDocument() (map[fsm.ClueID]string, error) {
	raw, err := os.ReadFile(h.file("hunt.json"))
	if err != nil {
		return nil, err
	}
	var doc struct {
		ID    fsm.HuntID `json:"id"`
		Clues []struct {
			ID      fsm.ClueID `json:"id"`
			Answers []struct {
				Value string `json:"value"`
			} `json:"answers"`
		} `json:"clues"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	h.id = doc.ID
	right := map[fsm.ClueID]string{}
	for _, clue := range doc.Clues {
		right[clue.ID] = clue.Answers[0].Value
	}
	return right, nil
}

func (h *realHunt) readLines(right map[fsm.ClueID]string) error {
	f, err := os.Open(h.file("submissions.ndjson.gz"))
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := replay.NewReader(f)
	if err != nil {
		return err
	}
	for {
		line, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		h.lines[line.Team] = append(h.lines[line.Team], line.BatchLine)
		if strings.EqualFold(line.Answer, right[line.Clue]) {
			h.correct++
		} else {
			h.incorrect++
		}
	}
}

// readRanks reads rank, team, solves, last solve and finish; the last is empty
// for a team that did not finish in time.
func (h *realHunt) readRanks() error {
	raw, err := os.ReadFile(h.file("expected_ranks.tsv"))
	if err != nil {
		return err
	}
	for n, line := range strings.Split(strings.TrimRight(string(raw), "\n"), "\n")[1:] {
		f := strings.Split(line, "\t")
		for len(f) < 5 {
			f = append(f, "")
		}
		rank, err1 := strconv.Atoi(f[0])
		solves, err2 := strconv.ParseUint(f[2], 10, 32)
		row := rest.Row{Rank: rank, Team: fsm.TeamID(f[1]), Solves: uint32(solves)}
		var err3, err4 error
		row.LastSolve, err3 = parseTime(f[3])
		row.FinishedAt, err4 = parseTime(f[4])
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return fmt.Errorf("rank %d: %w", n+1, err)
		}
		h.board = append(h.board, row)
	}
	return nil
}

func parseTime(s string) (*fsm.Time, error) {
	if s == "" {
		return nil, nil
	}
	t := new(fsm.Time)
	return t, t.UnmarshalText([]byte(s))
}

// sameRow compares what expected ranks tell.
func sameRow(a, b rest.Row) bool {
	return a.Rank == b.Rank && a.Team == b.Team && a.Solves == b.Solves &&
		sameTime(a.LastSolve, b.LastSolve) && sameTime(a.FinishedAt, b.FinishedAt)
}

func sameTime(a, b *fsm.Time) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

// diffBoard returns the first difference between two boards; empty: none.
func diffBoard(got, want []rest.Row) string {
	for i := range min(len(got), len(want)) {
		if !sameRow(got[i], want[i]) {
			return fmt.Sprintf("row %d is %s, want %s", i+1, show(got[i]), show(want[i]))
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d rows, want %d", len(got), len(want))
	}
	return ""
}

func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
