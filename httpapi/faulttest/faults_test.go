//go:build linux

package faulttest

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cairn/cluster/faulttest"
	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

const (
	// shortTime is how long the run lasts that "go test" has.
	shortTime = 36 * time.Second
	// auditWithin bounds the reading of everything at the end, auditTimeout one call.
	auditWithin  = 3 * time.Minute
	auditTimeout = 30 * time.Second
	// logTail is how much of a node's log is shown of what it should not say.
	logTail = 4 << 10
)

func TestMain(m *testing.M) {
	if path := os.Getenv(playVariable); path != "" {
		if err := playPart(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	flag.Parse()
	if testing.Short() {
		return m.Run() // what needs programs is skipped
	}
	dir, err := os.MkdirTemp("", "cairn-faulttest-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = builds.make(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	commit()
	probe()
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// TestFaults has one run for each nemesis that NEMESIS names (separated by commas, or
// "every"), of TIME each, with SEED; without it, one short run.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	for _, line := range machine.without {
		t.Log(line)
	}
	names, lasts := []string{"short"}, shortTime
	if asked := os.Getenv("NEMESIS"); asked == "every" {
		names = nil
		for _, n := range nemeses() {
			if n.name != "short" {
				names = append(names, n.name)
			}
		}
	} else if asked != "" {
		names = strings.Split(asked, ",")
	}
	if text := os.Getenv("TIME"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("TIME: %v", err)
		}
	}
	var plans []*plan
	for _, name := range names {
		n, known := nemesisNamed(name)
		if !known {
			t.Fatalf("NEMESIS: there is no %q", name)
		}
		plans = append(plans, &plan{nemesis: n, seed: seed(t), lasts: lasts, mutant: os.Getenv("MUTANT")})
	}
	book := openBook(t)
	for _, p := range plans {
		t.Run(p.name, func(t *testing.T) { faults(t, p, book) })
	}
	book.print(t)
}

// seed is SEED, or else drawn.
func seed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("SEED")
	if text == "" {
		return rand.Uint64() >> 1
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("SEED: %v", err)
	}
	return n
}

// faults is one run. What it found is in its row, and fails the test.
func faults(t *testing.T, p *plan, book *book) {
	if book.has(p) {
		t.Skip("the results have it: " + book.path)
	}
	if lacking := p.needs &^ machine.has; lacking != 0 && !p.mix {
		t.Skip("THIS MACHINE CANNOT: " + strings.Join(machine.without, "; "))
	}
	dir := book.dir(t, p)
	t.Logf("NEMESIS=%s SEED=%d TIME=%v, files in %s", p.name, p.seed, p.lasts, dir)
	w := workloadOf(p.seed, p.lasts)
	begun, begin := time.Now(), monotonic()
	file, err := os.Create(filepath.Join(dir, "history-rig.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := newRig(t, p, dir, faulttest.NewLog(begun, file))
	r.open(w)
	r.say("%s begin to play", w)
	r.meter.begin()
	until := r.log.Now() + w.For()
	played := r.play(w, begin)
	r.haunt(p, until)
	if err := played(); err != nil {
		t.Error(err)
	}
	row := r.judge(p, w)
	row.Wall = time.Since(begun).Round(time.Second).String()
	book.add(t, row)
	if p.mutant != "" {
		r.convict(row)
	} else if len(row.Findings) > 0 {
		t.Fatalf("%d findings, see %s:\n%s", len(row.Findings), dir, strings.Join(row.Findings, "\n"))
	}
	r.worthless = !t.Failed() && os.Getenv("CAIRN_FAULTS_KEEP") == ""
}

// convict fails if a program with a deliberate fault was not found guilty. That too
// little happened convicts nobody.
func (r *rig) convict(row *row) {
	r.t.Logf("the mutant %s:\n%s", row.Mutant, strings.Join(row.Findings, "\n"))
	if len(row.Findings) == row.Anomalies["floors"] {
		r.t.Errorf("the mutant %s was not convicted", row.Mutant)
	}
}

// open makes the hunt and all teams.
func (r *rig) open(w faulttest.Workload) {
	r.t.Helper()
	cl, ctx := r.admin(50, r.wanted()...), r.ctx
	if _, _, err := cl.CreateHunt(ctx, faulttest.Document(0)); err != nil {
		r.t.Fatal(err)
	}
	_, etag, err := cl.Hunt(ctx, faulttest.HuntID)
	if err != nil {
		r.t.Fatal(err)
	}
	var version uint64
	if _, err := fmt.Sscanf(etag, `"v%d-%d"`, &version, &r.known.Hunt); err != nil {
		r.t.Fatalf("the ETag %s: %v", etag, err)
	}
	teams := make([]rest.NewTeam, w.Teams())
	for i := range teams {
		teams[i] = rest.NewTeam{ID: faulttest.TeamID(i), Name: fmt.Sprint("Team ", i)}
	}
	cl.Timeout = startWithin / 2
	r.known.Tokens = map[fsm.TeamID]string{}
	err = cl.CreateTeams(ctx, faulttest.HuntID, slices.Values(teams), func(l rest.TeamLine) error {
		if l.Error != nil {
			return client.ProblemError(l.Error)
		}
		r.known.Tokens[l.Team.ID] = l.Token
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// judge waits until the cluster is whole, asks it for everything, and holds the
// histories against its promises.
func (r *rig) judge(p *plan, w faulttest.Workload) *row {
	row := &row{
		Commit: commit(), Nemesis: p.name, Mutant: p.mutant, Seed: p.seed, Time: p.lasts.String(),
		Date: time.Now().UTC().Format(time.RFC3339), Without: machine.without,
		Counts: map[string]int{}, Anomalies: map[string]int{},
	}
	say := func(checker, format string, args ...any) {
		row.Findings = append(row.Findings, checker+": "+fmt.Sprintf(format, args...))
		row.Anomalies[checker]++
	}
	begun, patience := time.Now(), auditWithin
	if err := r.poll(healWithin, r.whole); err != nil {
		patience = 10 * callTimeout // it is convicted already
		say("heals", "nothing is wrong any more for %v, and the cluster is not whole: %v", healWithin, err)
	}
	row.Healed = time.Since(begun).Round(100 * time.Millisecond).String()
	r.say("whole after %s", row.Healed)
	r.audit(p, w, patience)
	ops, err := r.histories()
	if err != nil {
		say("history", "%v", err)
	}
	r.finish(p, row, say)
	verdicts := faulttest.Check(ops, r.dir)
	for _, v := range verdicts {
		for _, f := range v.Findings {
			say(v.Checker, "%s", f)
		}
	}
	row.Summary = faulttest.Summarize(ops)
	for _, f := range r.floors(p, w).Missing(row.Summary) {
		say("floors", "%s", f)
	}
	if len(row.Findings) > 0 {
		r.draw(p, ops, verdicts)
	}
	return row
}

// audit asks every node that should run for everything.
func (r *rig) audit(p *plan, w faulttest.Workload, within time.Duration) {
	ctx, cancel := context.WithTimeout(r.ctx, within)
	defer cancel()
	w.Timeout = auditTimeout
	c := &remote{known: r.known, http: r.http, asked: auditTimeout / 2, replicas: r.wanted(), old: r.has&p.needs&older != 0}
	w.Audit(ctx, c, r.log, r.wanted())
	r.say("the audit is through")
}

// floors are what a run must have had.
func (r *rig) floors(p *plan, w faulttest.Workload) faulttest.Floors {
	seconds := int(w.For().Seconds())
	f := faulttest.Floors{Acked: 10 * seconds, Under: seconds, Faults: max(1, seconds/30), Replayed: seconds / 4}
	if p.dark {
		f.Acked, f.Under = 2*seconds, 0
	}
	return f
}

// finish counts what was done, ends the nodes, and reads what they said.
func (r *rig) finish(p *plan, row *row, say func(checker, format string, args ...any)) {
	for _, what := range []string{"leader changes", dropped, delayed, "packets passed"} {
		row.Counts[what] = r.counted(what)
	}
	r.count.mu.Lock()
	for what, n := range r.count.m {
		row.Counts[what] = n
	}
	r.count.mu.Unlock()
	if r.counted(p.proof) == 0 {
		say("floors", "%s was to show in %q, and there is none: this run proves nothing", p.name, p.proof)
	}
	if strings.HasSuffix(p.name, "-leader") && r.meter.total() == 0 {
		say("floors", "%s, and no leadership changed: this run proves nothing", p.name)
	}
	if n := r.count.of("not left"); n > 0 && !p.mix {
		say("leave", "%d times the new node could not leave", n)
	}
	for _, d := range r.deaths() {
		row.Counts["ended by themselves"]++
		if !slices.ContainsFunc(p.excuses, func(how string) bool { return strings.HasSuffix(d, how) }) {
			say("alive", "%s", d)
		}
	}
	for i := range r.Nodes() {
		text, err := os.ReadFile(r.Log(i))
		if err != nil {
			say("logs", "%v", err)
		}
		for _, sign := range []string{"WARNING: DATA RACE", "\npanic: ", "\nfatal error: "} {
			if at := bytes.Index(text, []byte(sign)); at >= 0 {
				say("logs", "%s says %q:\n%s", r.Name(i), sign, text[at:min(len(text), at+logTail)])
			}
		}
	}
}

// draw leaves a picture of a run that found something.
func (r *rig) draw(p *plan, ops []faulttest.Op, verdicts []faulttest.Verdict) {
	path := filepath.Join(r.dir, "timeline.html")
	file, err := os.Create(path)
	if err == nil {
		err = faulttest.WriteTimeline(file, fmt.Sprintf("%s, seed %d", p.name, p.seed), ops, verdicts)
		file.Close()
	}
	if err != nil {
		r.t.Error(err)
	}
}
