package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cairn/cluster/faulttest"
)

// trial is a test that is to convict a mutant.
type trial struct {
	where string // package, below cluster
	run   string // pattern of tests
	kinds string // for TestFaultSeeds: what harm; see NEMESIS
}

// directed are the stories that convict each mutant, and hunted is what harm the seeds
// are to have that do.
var (
	directed = map[string]trial{
		"no-fsync":         {"", "TestPowerCutOfAll", ""},
		"fast-heartbeats":  {"group", "TestHeartbeatsDoNotLoseEntries", ""},
		"dedup-off":        {"", "TestKeyOutlives", ""},
		"stale-as-strong":  {"", "TestReadBehindEntryUnderWay", ""},
		"no-catch-up":      {"", "TestNewcomerCatchesUpFirst", ""},
		"early-ack":        {"", "TestIsolatedLeaderTellsNothing", ""},
		"answers-deposed":  {"", "TestIsolatedLeaderTellsNothing", ""},
		"apply-order":      {"", "TestPowerCutOfAll", ""},
		"snapshot-forgets": {"", "TestKeyOutlives", ""},
		"verify-leader":    {"", "TestReadBehindEntryUnderWay", ""},
		"read-under-way":   {"", "TestReadBehindEntryUnderWay", ""},
		"name-again":       {"", "TestWipedReplica", ""},
		"nominate-anyone":  {"group", "TestNonVoterStands", ""},
		"time-back":        {"", "TestSkewedLeaders", ""},
		"any-version":      {"", "TestLaggingCatalogue", ""},
		"new-key":          {"", "TestLostAnswer", ""},
	}
	hunted = map[string]string{
		"no-fsync": "power", "dedup-off": "leaders", "stale-as-strong": "partition", "early-ack": "partition,crash",
		"answers-deposed": "leaders,partition", "apply-order": "leaders", "snapshot-forgets": "leaders,power",
		"verify-leader": "leaders", "read-under-way": "leaders", "time-back": "clock,leaders",
		"any-version": "leaders", "new-key": "delay,partition",
	}
)

// TestMutants requires that every mutant is convicted by its story. The long form
// (CAIRN_LONG=1 or TIME, which is how long each is hunted) lets random seeds look for
// those as well that they can find, and says which they did: a survivor of the seeds is
// a finding about the seeds.
func TestMutants(t *testing.T) {
	if os.Getenv(faulttest.MutantVariable) != "" {
		t.Skip("this is a mutant")
	}
	b := buildMutants(t)
	stories := "TestReadBehind|TestIsolatedLeader|TestPowerCutOfAll|TestKeyOutlives|TestSkewed|TestLostAnswer|TestNewcomer|TestLagging|TestWiped"
	if by, out := b.try(t, "", trial{run: stories}, 0); by != "" {
		t.Fatalf("without a mutation the stories fail: %s\n%s", by, out)
	}
	hunt := time.Duration(0)
	if os.Getenv("CAIRN_LONG") == "1" {
		hunt = 2 * time.Minute
	}
	if s := os.Getenv("TIME"); s != "" {
		hunt = duration(t, s)
	}
	fmt.Printf("%-18s %-8s %-50s %s\n", "mutant", "after", "caught by", "how")
	for _, m := range faulttest.Mutants {
		tr, known := directed[m.Name]
		if !known {
			t.Errorf("no story is to convict the mutant %s", m.Name)
			continue
		}
		b.convict(t, m, tr, 0)
		if kinds := hunted[m.Name]; kinds != "" && hunt > 0 {
			b.convict(t, m, trial{run: "TestFaultSeeds", kinds: kinds}, hunt)
		}
	}
}

// mostTries is how often a story is told to a mutant. Goroutines interleave as they
// like, and raft draws its timeouts: a story may end well for a mutant by luck. (For the
// product it must end well each time.)
const mostTries = 6

// convict has a mutant tried, and prints a line of the table.
func (b builtMutants) convict(t *testing.T, m faulttest.Mutant, tr trial, limit time.Duration) {
	t.Helper()
	begin := time.Now()
	by, out, tries := "", "", 0
	for by == "" && tries < mostTries && (tries == 0 || limit == 0) {
		by, out = b.try(t, m.Name, tr, limit)
		tries++
	}
	name := tr.run
	if tries > 1 {
		name += fmt.Sprintf(", told %d times", tries)
	}
	if tr.kinds != "" {
		name += " (" + tr.kinds + ")"
	}
	if by == "" {
		by = "SURVIVED"
		if limit == 0 {
			t.Errorf("%s (%s) survived %s, told %d times:\n%s", m.Name, m.Does, tr.run, tries, out)
		}
	}
	fmt.Printf("%-18s %-8s %-50s %.200s\n", m.Name, time.Since(begin).Round(100*time.Millisecond), name, by)
}

// builtMutants are the test programs of packages, with all mutants in them.
type builtMutants struct{ dir string }

func buildMutants(t *testing.T) builtMutants {
	t.Helper()
	b := builtMutants{t.TempDir()}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := faulttest.Overlay(root, b.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{"", "group"} {
		cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", b.program(pkg), "./"+filepath.Join("cluster", pkg))
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build the mutants: %v\n%s", err, out)
		}
	}
	return b
}

func (b builtMutants) program(pkg string) string { return filepath.Join(b.dir, "test-"+pkg) }

// findingLine is what a test says when it fails; the seed stands before it.
var (
	findingLine = regexp.MustCompile(`^\s*(\w+_test\.go:\d+: .*|panic: .*)`)
	seedLine    = regexp.MustCompile(`^CAIRN_SEED=\d+`)
)

// try runs a test of a mutant, and returns the first thing that it found.
func (b builtMutants) try(t *testing.T, mutant string, tr trial, limit time.Duration) (by, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit+2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.program(tr.where), "-test.run", "^("+tr.run+")", "-test.failfast")
	cmd.Dir = filepath.Join(".", tr.where)
	cmd.Env = append(os.Environ(), faulttest.MutantVariable+"="+mutant, "CAIRN_LONG=", "CAIRN_SEED=", "TIME="+limit.String(), "NEMESIS="+tr.kinds)
	raw, err := cmd.CombinedOutput()
	if err == nil {
		return "", string(raw)
	}
	seed := ""
	for _, line := range strings.Split(string(bytes.ToValidUTF8(raw, nil)), "\n") {
		if s := seedLine.FindString(line); s != "" {
			seed = s + " "
		}
		if strings.Contains(line, "this shows nothing") { // the stage could not be set
			return "", string(raw)
		}
		if m := findingLine.FindStringSubmatch(line); m != nil {
			return seed + m[1], string(raw)
		}
	}
	t.Errorf("the mutant %q ended, and not by a finding: %v\n%s", mutant, err, raw)
	return "", string(raw)
}
