//go:build linux

package faulttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cairn/httpapi/faulttest/mutant"
)

// root is the module's.
const root = "../.."

// programs are the builds of a test process.
type programs struct {
	dir     string
	current string // this tree's
	clock   string // with a clock that can be moved, if it was asked for
	old     string // of an older commit; empty: there is none
	once    sync.Once
	err     error
}

var builds programs

// make builds what every run needs, in dir.
func (p *programs) make(dir string) error {
	p.dir, p.current, p.clock = dir, filepath.Join(dir, "cairn"), filepath.Join(dir, "cairn-clock")
	if err := mutant.Build(context.Background(), root, p.current, nil); err != nil {
		return err
	}
	if asked := os.Getenv("NEMESIS"); asked != "every" && !strings.Contains(asked, "mixed") {
		return nil
	}
	return p.makeOld()
}

// program is what nodes run at first.
func (p *programs) program(t *testing.T, needs need) string {
	t.Helper()
	switch {
	case needs&older != 0:
		return p.old
	case needs&clocks == 0:
		return p.current
	}
	p.once.Do(func() { p.err = mutant.Build(t.Context(), root, p.clock, clockMutations) })
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.clock
}

// makeOld builds the commit that CAIRN_OLD_COMMIT names, or else the newest tag.
func (p *programs) makeOld() error {
	commit := os.Getenv("CAIRN_OLD_COMMIT")
	if commit == "" {
		tag, err := git("describe", "--tags", "--abbrev=0")
		if err != nil {
			return nil // there is none: probe says so
		}
		commit = tag
	}
	tree := filepath.Join(p.dir, "old")
	if err := os.Mkdir(tree, 0o700); err != nil {
		return err
	}
	archive := exec.Command("git", "archive", "--format=tar", commit)
	archive.Dir = root
	extract := exec.Command("tar", "-x", "-C", tree)
	var err error
	if extract.Stdin, err = archive.StdoutPipe(); err != nil {
		return err
	}
	if err := errors.Join(extract.Start(), archive.Run(), extract.Wait()); err != nil {
		return fmt.Errorf("get commit %s: %w", commit, err)
	}
	old := filepath.Join(p.dir, "cairn-old")
	if err := mutant.Build(context.Background(), tree, old, nil); err != nil {
		return err
	}
	p.old = old
	return nil
}

func git(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// dirty ends the name of a commit if the tree has changes.
const dirty = "-dirty"

// commit is what the results are about.
func commit() string {
	head, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "unknown"
	}
	if changes, err := git("status", "--porcelain", "--untracked-files=no"); err != nil || changes != "" {
		head += dirty
	}
	return head
}

// TestClockMutations: what they replace is still there.
func TestClockMutations(t *testing.T) {
	if testing.Short() || os.Getenv("NEMESIS") == "" {
		t.Skip("builds the standard library: NEMESIS=clock-jump (make jepsen) runs it")
	}
	builds.program(t, clocks)
}
