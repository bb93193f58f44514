package blackbox

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReadme runs the README's tour, every ```sh block of it in one shell, in a
// copy of the tree and on free ports. What the tour says must come true stands
// here; that its commands succeed, the shell checks. The long form builds the copy.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: the tour runs a cluster, and -short was given")
	}
	besideAnother(t)
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	tour := shellBlocks(string(readme))
	if strings.Count(tour, "\n") < 25 {
		t.Fatalf("the README's tour has shrunk to:\n%s", tour)
	}
	dir := copyTree(t, "../..")
	if !longForm {
		tour = buildHere(t, tour, dir)
	}
	out := runTour(t, dir, freePorts(t, tour))
	for _, want := range []string{
		"is a good hunt",
		`"key":"first-light","verdict":"correct"`,
		`"replayed":true`,
		`"leaderboard":[{"rank":1,"team":"red"`,
		"cairn_partition_leader",
		"score   200 with 2 solves, rank 1",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the tour never says %q; it says:\n%s", want, out)
		}
	}
}

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

func shellBlocks(text string) string {
	var b strings.Builder
	for _, m := range shellBlock.FindAllStringSubmatch(text, -1) {
		b.WriteString(m[1])
	}
	return b.String()
}

// tourBuild is how the tour builds the program.
const tourBuild = "go build -o cairn ."

// buildHere has the tour build this tree rather than its copy in dir, which is the
// same: what the tests have compiled of it is not compiled again.
func buildHere(t *testing.T, tour, dir string) string {
	t.Helper()
	if !strings.Contains(tour, tourBuild+"\n") {
		t.Fatalf("the tour does not build by %q:\n%s", tourBuild, tour)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	here := fmt.Sprintf("go build -C '%s' -buildvcs=false -o '%s' .", root, filepath.Join(dir, "cairn"))
	return strings.Replace(tour, tourBuild, here, 1)
}

var tourPort = regexp.MustCompile(`127\.0\.0\.1:(\d+)`)

// freePorts replaces the tour's ports by ports that nobody listens on. It takes
// them from below those that systems give to who asks for any: until the tour gets
// to them, other tests do.
func freePorts(t *testing.T, tour string) string {
	t.Helper()
	const least, most, tries = 15_000, 30_000, 1000
	free := map[string]string{}
	taken := map[string]bool{}
	return tourPort.ReplaceAllStringFunc(tour, func(addr string) string {
		for n := 0; free[addr] == ""; n++ {
			port := fmt.Sprintf("127.0.0.1:%d", least+rand.IntN(most-least))
			ln, err := net.Listen("tcp", port)
			if err == nil {
				ln.Close()
			}
			if err == nil && !taken[port] {
				free[addr], taken[port] = port, true
			} else if n == tries {
				t.Fatalf("no free port: %v", err)
			}
		}
		return free[addr]
	})
}

// copyTree copies what a clone holds.
func copyTree(t *testing.T, root string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "cairn")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch {
		case rel != "." && d.IsDir() && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), raw, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// runTour runs the script in a session of its own and ends whatever it leaves.
func runTour(t *testing.T, dir, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	// -m: background jobs can be named by %1, as in a terminal.
	cmd := exec.CommandContext(ctx, "bash", "-emc", script)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = 30 * time.Second
	out, err := cmd.CombinedOutput()
	endSession(cmd.Process.Pid)
	if err != nil {
		t.Fatalf("the tour fails: %v\n%s", err, out)
	}
	return string(out)
}

// endSession kills every process of a session: with job control each job is a
// group of its own.
func endSession(session int) {
	procs, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range procs {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		pid, rest, _ := strings.Cut(string(raw), " ")
		_, rest, _ = strings.Cut(rest, ") ")
		f := strings.Fields(rest)
		if len(f) > 3 && f[3] == strconv.Itoa(session) {
			if n, err := strconv.Atoi(pid); err == nil {
				syscall.Kill(n, syscall.SIGKILL)
			}
		}
	}
}
