//go:build linux

package faulttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"cairn/cluster/faulttest"
	"cairn/httpapi/faulttest/mutant"
)

// root is the module's.
const root = "../.."

// programs are the builds of a test process.
type programs struct {
	dir     string
	current string // this tree's
	old     string // of an older commit; empty: there is none

	overlays []string // of all but the old one: the mutants', if MUTANT names one

	mu   sync.Mutex
	made map[string]string // mutated ones, by the names of their mutations
}

var builds programs

// make builds what every run needs, in dir.
func (p *programs) make(dir string) error {
	p.dir, p.current, p.made = dir, filepath.Join(dir, "cairn"), map[string]string{}
	if os.Getenv("MUTANT") != "" {
		tree, err := filepath.Abs(root)
		if err != nil {
			return err
		}
		overlay, err := faulttest.Overlay(tree, dir)
		if err != nil {
			return err
		}
		p.overlays = []string{overlay}
	}
	if err := mutant.Build(context.Background(), root, p.current, nil, p.overlays...); err != nil {
		return err
	}
	if !askedForOld() {
		return nil
	}
	return p.makeOld()
}

// program is what the nodes of a plan run at first.
func (p *programs) program(t *testing.T, needs need) string {
	t.Helper()
	switch {
	case needs&clocks != 0:
		return p.mutated(t, clockMutations)
	case needs&older != 0:
		return p.old
	}
	return p.current
}

// mutated builds this tree with mutations, once.
func (p *programs) mutated(t *testing.T, list []mutant.Mutation) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	name := ""
	for _, m := range list {
		name += "+" + m.Name
	}
	if p.made[name] == "" {
		to := filepath.Join(p.dir, fmt.Sprintf("cairn-%d", len(p.made)))
		if err := mutant.Build(t.Context(), root, to, list, p.overlays...); err != nil {
			t.Fatal(err)
		}
		p.made[name] = to
	}
	return p.made[name]
}

// askedForOld: it is built only for who needs it.
func askedForOld() bool {
	asked := os.Getenv("NEMESIS")
	return asked == "every" || slices.Contains(strings.Split(asked, ","), "mixed")
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

// commit is what the results are about: the tree as it was when the test began.
var commit = sync.OnceValue(func() string {
	head, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "unknown"
	}
	if changes, err := git("status", "--porcelain", "--untracked-files=no"); err != nil || changes != "" {
		head += dirty
	}
	return head
})

// TestClockMutations: what they replace is still there.
func TestClockMutations(t *testing.T) {
	if testing.Short() || os.Getenv("NEMESIS") == "" {
		t.Skip("builds the standard library: NEMESIS=clock-jump (make jepsen) runs it")
	}
	builds.mutated(t, clockMutations)
}
