package blackbox

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// binary is the program under test; TestMain builds it.
var binary string

// longForm asks for the forms of tests that take minutes.
var longForm = os.Getenv("CAIRN_LONG") == "1"

// form is a size of a test: its short form is part of every run, its long one of
// "make sim".
func form[V any](short, long V) V {
	if longForm {
		return long
	}
	return short
}

// besideAnother lets a test run while another one does, for most of them wait most
// of the time. It is not for tests that give a cluster all it can do, or ask how fast
// it answers. Long forms print how long things took, and the race detector leaves
// nothing of the machine to another cluster: those run alone.
func besideAnother(t *testing.T) {
	t.Helper()
	if !longForm && !raceEnabled {
		t.Parallel()
	}
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	if testing.Short() {
		return m.Run() // everything is skipped, see start
	}
	dir, err := os.MkdirTemp("", "cairn-blackbox-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "cairn")
	if err := build(binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// build makes the program from this tree.
func build(to string) error {
	args := []string{"build", "-buildvcs=false", "-o", to}
	if raceEnabled {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "cairn")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return nil
}

// random is the source of a test's faults. Its seed is printed, and CAIRN_SEED
// sets it.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("CAIRN_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("CAIRN_SEED: %v", err)
		}
	}
	t.Logf("CAIRN_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
