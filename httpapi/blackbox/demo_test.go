package blackbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	demoLasts, demoLastsLong = 4 * time.Second, 8 * time.Second
	// demoWithin bounds a demo's start and end on a busy machine.
	demoWithin = 2 * time.Minute
)

// TestDemo runs two demos at once: neither is in the other's way, and neither
// leaves anything behind.
func TestDemo(t *testing.T) {
	skipShort(t)
	besideAnother(t)
	var both sync.WaitGroup
	for range 2 {
		d := newDemo(t, "--for", form(demoLasts, demoLastsLong).String())
		both.Go(func() {
			if err := d.finish(); err != nil || !strings.Contains(d.stdout.String(), "RANK") || !strings.Contains(d.stdout.String(), "counted once") {
				t.Errorf("the demo ended with %v and\n%s%s", err, d.stdout.String(), d.stderr.String())
			}
			d.wantNothingLeft()
		})
	}
	both.Wait()
}

// TestDemoInterrupted presses Ctrl-C at once, while nodes start, and while teams
// play.
func TestDemoInterrupted(t *testing.T) {
	skipShort(t)
	besideAnother(t)
	for _, after := range []string{"Starting", "admin token", " top "} {
		t.Run("after"+strings.ReplaceAll(" "+strings.TrimSpace(after), " ", "_"), func(t *testing.T) {
			d := newDemo(t, "--for", "5m")
			eventually(t, demoWithin, "the demo says "+after, func() error {
				if !strings.Contains(d.stderr.String(), after) {
					return errors.New(d.stderr.String())
				}
				return nil
			})
			if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if err := d.finish(); err != nil {
				t.Errorf("the demo ended with %v and\n%s", err, d.stderr.String())
			}
			d.wantNothingLeft()
		})
	}
}

// demo is a running demo whose files lie in a directory of its own.
type demo struct {
	t              *testing.T
	dir            string
	cmd            *exec.Cmd
	stdout, stderr output
}

func newDemo(t *testing.T, flags ...string) *demo {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), demoWithin)
	t.Cleanup(cancel)
	d := &demo{t: t, dir: t.TempDir()}
	d.cmd = exec.CommandContext(ctx, binary, append([]string{"demo"}, flags...)...)
	d.cmd.Cancel = func() error { return d.cmd.Process.Signal(syscall.SIGTERM) }
	d.cmd.WaitDelay = 30 * time.Second
	d.cmd.Env = append(cleanEnv(), "TMPDIR="+d.dir)
	d.cmd.Stdout, d.cmd.Stderr = &d.stdout, &d.stderr
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return d
}

// finish waits for the end, which is good only with exit code 0.
func (d *demo) finish() error { return d.cmd.Wait() }

// wantNothingLeft looks for files, and for processes that name the directory.
func (d *demo) wantNothingLeft() {
	d.t.Helper()
	left, err := os.ReadDir(d.dir)
	if err != nil || len(left) > 0 {
		d.t.Errorf("the demo left %v (%v)", left, err)
	}
	if pids := processesNaming(d.dir); len(pids) > 0 {
		d.t.Errorf("the demo left processes running: %v", pids)
	}
}

// processesNaming lists the processes with a text in their command line. One
// that has ended and was not waited for has none.
func processesNaming(text string) (found []string) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		if line, err := os.ReadFile(path); err == nil && bytes.Contains(line, []byte(text)) {
			found = append(found, fmt.Sprintf("%s: %s", filepath.Base(filepath.Dir(path)), bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// output is a buffer that may be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
