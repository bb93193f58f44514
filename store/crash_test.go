//go:build linux

package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cairn/store/lazyfs"
)

// Crash tests: a child process works on a file system that forgets what was not
// synced, and says on a pipe what was acknowledged to it. Then it is killed, the
// power is cut, and what is left must contain all of that.

const (
	childDir    = "CAIRN_STORE_TEST_DIR"    // set: this process is the child
	childNoSync = "CAIRN_STORE_TEST_NOSYNC" // set: it does not sync its log
	childFatal  = 70                        // its exit code after OnFatal
	childHung   = 500 * time.Millisecond

	childGroups = 3
	// childSegment is so small that every power cut finds segments begun, given up
	// and emptied.
	childSegment = 64 << 10
)

func init() {
	child = func() bool {
		dir := os.Getenv(childDir)
		if dir != "" {
			childMain(dir)
		}
		return dir != ""
	}
}

// childMain works until it is killed. It writes a line for each thing that was
// acknowledged: "log GROUP INDEX", "term GROUP TERM", "snapshot INDEX", "file N";
// group "c" is the controller.
func childMain(dir string) {
	fatal := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(childFatal)
	}
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
	}
	d, err := Open(dir, Options{OnFatal: fatal, HungAfter: childHung, Segment: childSegment, NoSync: os.Getenv(childNoSync) != ""})
	check(err)
	l, err := d.Logs()
	check(err)
	c, err := d.OpenController("node.1")
	check(err)
	s, err := d.Snapshots("p0001")
	check(err)
	var out sync.Mutex
	say := func(format string, args ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	var wg sync.WaitGroup
	wg.Go(func() { childWork("c", c, say, check) })
	for group := range uint32(childGroups) {
		g, err := l.Open(group, "node.1")
		if err != nil {
			g, err = l.Create(group, "node.1")
		}
		check(err)
		wg.Go(func() { childWork(fmt.Sprint(group), g, say, check) })
	}
	wg.Go(func() {
		done := uint64(0) // by a child before this one
		if data, err := d.ReadFile("counter"); err == nil {
			_, err = fmt.Sscan(string(data), &done)
			check(err)
		}
		for i := done + 1; ; i++ {
			sink, err := s.Create(1, i, 1, raft.Configuration{}, 0, nil)
			check(err)
			_, err = io.WriteString(sink, strings.Repeat(fmt.Sprint("state ", i), 5000))
			check(err)
			check(sink.Close())
			say("snapshot %d", i)
			check(d.WriteFile("counter", fmt.Append(nil, i)))
			say("file %d", i)
		}
	})
	wg.Wait()
}

// childWork appends, votes, compacts and overwrites.
func childWork(name string, s logStore, say func(string, ...any), check func(error)) {
	for {
		first, err := s.FirstIndex()
		check(err)
		last, err := s.LastIndex()
		check(err)
		n := 1 + last%5
		check(s.StoreLogs(logEntries(last+1, last+n, 1)))
		say("log %s %d", name, last+n)
		if last%4 == 0 {
			check(s.SetUint64([]byte("CurrentTerm"), last+1))
			say("term %s %d", name, last+1)
		}
		if last > first+600 {
			check(s.DeleteRange(first, last-200))
		}
	}
}

// rig is a lossy file system with a child on it.
type rig struct {
	t       *testing.T
	backing string
	mnt     string
	env     []string
	fs      *lazyfs.FS
}

// newRig mounts, or skips the test if that is not possible here.
func newRig(t *testing.T, env ...string) *rig {
	t.Helper()
	root := t.TempDir()
	r := &rig{t: t, backing: filepath.Join(root, "backing"), mnt: filepath.Join(root, "mnt"), env: env}
	must(t, os.Mkdir(r.backing, 0o700))
	must(t, os.Mkdir(r.mnt, 0o700))
	if err := r.mount(1); err != nil {
		t.Skipf("NO CRASH TEST: it needs /dev/fuse and the right to mount: %v", err)
	}
	t.Cleanup(func() { must(t, r.fs.Unmount()) })
	return r
}

func (r *rig) mount(seed uint64) error {
	mounted, err := lazyfs.Mount(r.backing, r.mnt, seed)
	if err == nil {
		r.fs = mounted
	}
	return err
}

// acked is what a child was told lasts: the highest number of each kind.
type acked map[string]uint64

// run starts a child, and calls stop when it has had enough acknowledgements. It
// returns what the child knows, and how it ended.
func (r *rig) run(enough int, stop func(*os.Process)) (acked, *os.ProcessState, string) {
	r.t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(append(os.Environ(), childDir+"="+filepath.Join(r.mnt, "data")), r.env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	must(r.t, err)
	must(r.t, cmd.Start())
	deadline := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer deadline.Stop()
	known := acked{}
	lines := bufio.NewScanner(out)
	for n := 1; lines.Scan(); n++ {
		what, number := lines.Text(), uint64(0)
		space := strings.LastIndexByte(what, ' ')
		if _, err := fmt.Sscan(what[space+1:], &number); err != nil {
			r.t.Fatalf("the child says %q", what)
		}
		known[what[:space]] = max(known[what[:space]], number)
		if n == enough {
			stop(cmd.Process)
		}
	}
	_ = cmd.Wait() // how it ended is in its state
	return known, cmd.ProcessState, stderr.String()
}

// lost opens what is on disk and says what of known is not there.
func (r *rig) lost(known acked) error {
	d, err := Open(filepath.Join(r.backing, "data"), Options{Segment: childSegment})
	if err != nil {
		return err
	}
	defer d.Close()
	l, err := d.Logs()
	if err != nil {
		return err
	}
	c, err := d.OpenController("node.1")
	if err != nil {
		return err
	}
	errs := []error{lostOfLog("c", c, known)}
	for group := range uint32(childGroups) {
		g, err := l.Open(group, "node.1")
		if errors.Is(err, fs.ErrNotExist) && known[fmt.Sprint("log ", group)] == 0 {
			continue // the cut came before it was made
		}
		if err != nil {
			return err
		}
		errs = append(errs, lostOfLog(fmt.Sprint(group), g, known))
	}
	if want := known["snapshot"]; want > 0 {
		s, err := d.Snapshots("p0001")
		if err != nil {
			return err
		}
		metas, err := s.List()
		if err = errors.Join(err, s.Verify(0, 0)); err != nil || len(metas) == 0 || metas[0].Index < want {
			errs = append(errs, fmt.Errorf("snapshot %d: the newest is %v, %w", want, metas, err))
		}
	}
	if want := known["file"]; want > 0 {
		got := uint64(0)
		data, err := d.ReadFile("counter")
		_, scanErr := fmt.Sscan(string(data), &got)
		if err = errors.Join(err, scanErr); err != nil || got < want {
			errs = append(errs, fmt.Errorf("file %d: it says %q, %w", want, data, err))
		}
	}
	return errors.Join(errs...)
}

func lostOfLog(name string, s logStore, known acked) error {
	first, err := s.FirstIndex()
	last, err2 := s.LastIndex()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if want := known["log "+name]; last < want {
		return fmt.Errorf("log %s ends at %d, acknowledged was %d", name, last, want)
	}
	for i := first; i <= last && i > 0; i++ {
		var got raft.Log
		if err := s.GetLog(i, &got); err != nil || string(got.Data) != string(logEntry(i, 1).Data) {
			return fmt.Errorf("log %s: entry %d reads %q, %w", name, i, got.Data, err)
		}
	}
	if want := known["term "+name]; want > 0 {
		if term, err := s.GetUint64([]byte("CurrentTerm")); err != nil || term < want {
			return fmt.Errorf("log %s: term %d, acknowledged was %d, %w", name, term, want, err)
		}
	}
	return nil
}

func kill(p *os.Process) { _ = p.Kill() }

// cuts cuts the power n times in a row, on the same directory, and says what was
// lost each time.
func cuts(t *testing.T, n int, tear bool, env ...string) (lost []error) {
	r := newRig(t, env...)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	total := 0
	for i := range n {
		known := acked{}
		// With the power on, a child that starts after another was killed sees what
		// the kernel has not written yet, and builds on it.
		for range 1 + rng.IntN(2) {
			enough := 30 + rng.IntN(400)
			more, state, stderr := r.run(enough, kill)
			if state.ExitCode() != -1 {
				t.Fatalf("cut %d: the child ended by itself: %v\n%s", i, state, stderr)
			}
			for what, number := range more {
				known[what] = max(known[what], number)
			}
			total += enough
		}
		dropped, kept, err := r.fs.Crash(tear)
		must(t, err)
		if err := r.lost(known); err != nil {
			lost = append(lost, fmt.Errorf("cut %d (%d pages dropped, %d written): %w", i, dropped, kept, err))
			must(t, os.RemoveAll(filepath.Join(r.backing, "data")))
		}
		must(t, r.mount(seed+uint64(i)))
	}
	t.Logf("%d power cuts, %d acknowledgements, %d cuts lost something", n, total, len(lost))
	return lost
}

func cutsPerTest() int {
	if *long {
		return 50
	}
	return 3
}

func TestPowerCut(t *testing.T) {
	for _, tear := range []bool{false, true} {
		t.Run(fmt.Sprintf("tear=%v", tear), func(t *testing.T) {
			if lost := cuts(t, cutsPerTest(), tear); len(lost) > 0 {
				t.Fatal(errors.Join(lost...))
			}
		})
	}
}

// TestPowerCutControl: without syncs something is lost, so the rig can tell.
func TestPowerCutControl(t *testing.T) {
	if lost := cuts(t, cutsPerTest(), true, childNoSync+"=1"); len(lost) == 0 {
		t.Fatal("a store that does not sync lost nothing: the rig proves nothing")
	}
}

// TestDiskErrors: the process ends, and what it acknowledged is there.
func TestDiskErrors(t *testing.T) {
	tests := []struct {
		name  string
		fault func(*lazyfs.FS)
		says  string
	}{
		{"sync fails", func(l *lazyfs.FS) { l.FailSyncs(syscall.EIO) }, "input/output error"},
		{"disk full", func(l *lazyfs.FS) { l.FailWrites(syscall.ENOSPC) }, "no space left"},
		{"disk hangs", func(l *lazyfs.FS) { l.DelaySyncs(3 * childHung) }, "the disk hangs"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			known, state, stderr := r.run(200, func(*os.Process) { test.fault(r.fs) })
			if state.ExitCode() != childFatal || !strings.Contains(stderr, test.says) {
				t.Fatalf("the child ended with %v and said %q, want %d and %q", state, stderr, childFatal, test.says)
			}
			_, _, err := r.fs.Crash(false)
			must(t, err)
			must(t, r.lost(known))
		})
	}
}
