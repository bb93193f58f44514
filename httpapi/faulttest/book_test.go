//go:build linux

package faulttest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"cairn/cluster/faulttest"
)

// row is what came of one run: a line of the results file.
type row struct {
	Commit    string            `json:"commit"`
	Nemesis   string            `json:"nemesis"`
	Mutant    string            `json:"mutant,omitempty"`
	Seed      uint64            `json:"seed"`
	Time      string            `json:"time"`
	Date      string            `json:"date"`
	Wall      string            `json:"wall"`
	Healed    string            `json:"healed"` // how long it took to be whole at the end
	Summary   faulttest.Summary `json:"summary"`
	Counts    map[string]int    `json:"counts"`
	Anomalies map[string]int    `json:"anomalies"` // by checker
	Findings  []string          `json:"findings,omitempty"`
	Without   []string          `json:"without,omitempty"` // what the machine could not do
}

// book is the results file and the directories of runs beside it.
type book struct {
	root, path string
	rows       []row
	resume     bool // runs that are in it are not run again
}

// openBook reads the results so far. Runs are skipped only if every nemesis is asked
// for: who names one wants it to run.
func openBook(t *testing.T) *book {
	t.Helper()
	root := os.Getenv("CAIRN_FAULTS_DIR")
	if root == "" {
		root = filepath.Join(os.TempDir(), "cairn-faults")
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := sweep(root); err != nil {
		t.Log(err)
	}
	b := &book{root: root, path: filepath.Join(root, "results.ndjson"), resume: os.Getenv("NEMESIS") == "every"}
	file, err := os.Open(b.path)
	if os.IsNotExist(err) {
		return b
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s := bufio.NewScanner(file)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		var r row
		if json.Unmarshal(s.Bytes(), &r) == nil { // one that was cut off is run again
			b.rows = append(b.rows, r)
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return b
}

// has reports whether the results have a run of this commit that found nothing. Those
// of a tree with changes do not count: they may be of other changes.
func (b *book) has(p *plan) bool {
	if !b.resume || strings.HasSuffix(commit(), dirty) {
		return false
	}
	for _, r := range b.rows {
		if r.Commit == commit() && r.Nemesis == p.name && r.Mutant == p.mutant && r.Time == p.lasts.String() && len(r.Findings) == 0 {
			return true
		}
	}
	return false
}

// dir makes the directory of a run.
func (b *book) dir(t *testing.T, p *plan) string {
	t.Helper()
	dir := filepath.Join(b.root, fmt.Sprintf("%s-%d-%s", p.name, p.seed, time.Now().UTC().Format("150405")))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// add appends a row.
func (b *book) add(t *testing.T, r *row) {
	t.Helper()
	b.rows = append(b.rows, *r)
	line, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(b.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
}

// print shows the rows of this commit, oldest first.
func (b *book) print(t *testing.T) {
	t.Helper()
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "nemesis\ttime\tfaults\toperations\tacknowledged\tunder faults\tunknown\trefused\tnothing done\tleader changes\tdropped\thealed\tanomalies\t")
	for _, r := range b.rows {
		if r.Commit != commit() {
			continue
		}
		s := r.Summary
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t\n",
			strings.TrimSuffix(r.Nemesis+" "+r.Mutant, " "), r.Time, s.Faults, s.Ops, s.Acked, s.Under, s.Unknown, s.Refused,
			s.None, r.Counts["leader changes"], r.Counts[dropped], r.Healed, anomalies(r.Anomalies))
	}
	w.Flush()
	t.Logf("%s at commit %s:\n%s", b.path, commit(), out.String())
}

// anomalies are the counts of all checkers that found something.
func anomalies(by map[string]int) string {
	var list []string
	for _, name := range append(faulttest.Checkers(), "heals", "alive", "logs", "leave", "history", "floors") {
		if n := by[name]; n > 0 {
			list = append(list, fmt.Sprintf("%s %d", name, n))
		}
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
