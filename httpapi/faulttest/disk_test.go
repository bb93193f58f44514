//go:build linux

package faulttest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"cairn/store/lazyfs"
)

// disk is a node's, if it can fail.
type disk struct {
	backing, mnt string
	seed         uint64
	fs           *lazyfs.FS // nil: not mounted
}

// mountDisks gives every node a disk that can fail, before it first starts.
func (r *rig) mountDisks(most int, seed uint64) {
	r.t.Helper()
	for i := range most {
		mnt := filepath.Join(r.dir, "nodes", fmt.Sprintf("n%d", i+1))
		d := &disk{backing: mnt + ".disk", mnt: mnt, seed: seed + uint64(i)}
		for _, dir := range []string{d.backing, d.mnt} {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				r.t.Fatal(err)
			}
		}
		if err := d.mount(); err != nil {
			r.t.Fatal(err)
		}
		r.disks = append(r.disks, d)
	}
}

// sweep unmounts what a run left that was ended before its end: mounts below root whose
// server is gone.
func sweep(root string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.HasPrefix(fields[0], "lazyfs") || !strings.HasPrefix(fields[1], root+"/") {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(fields[1], &st); !errors.Is(err, unix.ENOTCONN) {
			continue // it belongs to a run that goes on
		}
		if err := unix.Unmount(fields[1], unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", fields[1], err)
		}
	}
	return nil
}

func (d *disk) mount() (err error) {
	d.fs, err = lazyfs.Mount(d.backing, d.mnt, d.seed)
	return err
}

func (d *disk) unmount() error {
	if d.fs == nil {
		return nil
	}
	return d.fs.Unmount()
}

// powerCut ends nodes that are then without what they had not synced.
func (r *rig) powerCut(tear bool, list ...int) error {
	r.down(list...)
	for _, i := range list {
		d := r.disks[i]
		dropped, kept, err := d.fs.Crash(tear)
		if err != nil {
			return err
		}
		r.say("%s lost %d unsynced pages, %d were written in part or whole", r.Name(i), dropped, kept)
		r.count.add("pages lost", dropped)
		if err := d.mount(); err != nil {
			return err
		}
	}
	r.count.add("power cuts", len(list))
	return nil
}

// damage is a change of a file that can be undone.
type damage struct {
	path string
	at   int64
	old  []byte // from there on
	what string
}

// rot changes a file of a stopped node: one bit, or its end is gone.
func rot(rng *rand.Rand, dir string, truncate bool) (*damage, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if info, err := d.Info(); err != nil || info.Size() == 0 {
			return err
		}
		files = append(files, path)
		return nil
	})
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("find a file to damage in %s: %w", dir, err)
	}
	path := files[rng.IntN(len(files))]
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := &damage{path: path, at: rng.Int64N(int64(len(text)))}
	name, err := filepath.Rel(dir, path)
	if err != nil {
		return nil, err
	}
	if truncate {
		d.old, d.what = text[d.at:], fmt.Sprintf("%s cut off at %d of %d", name, d.at, len(text))
		return d, os.Truncate(path, d.at)
	}
	bit := rng.IntN(8)
	d.old, d.what = text[d.at:d.at+1], fmt.Sprintf("bit %d of byte %d of %s", bit, d.at, name)
	return d, writeAt(path, d.at, []byte{text[d.at] ^ 1<<bit})
}

// undo puts back what was there.
func (d *damage) undo() error { return writeAt(d.path, d.at, d.old) }

func writeAt(path string, at int64, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(b, at)
	return err
}

// TestDamageIsUndone: what rot did to a file is one bit, or its end, and undo puts it
// back.
func TestDamageIsUndone(t *testing.T) {
	dir := t.TempDir()
	path, text := filepath.Join(dir, "file"), []byte("what is written here, and stays")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(50) {
		d, err := rot(rand.New(rand.NewPCG(seed, 0)), dir, seed%2 == 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || bytes.Equal(got, text) || len(got) != len(text) && seed%2 != 0 {
			t.Errorf("seed %d, %s: %q (%v)", seed, d.what, got, err)
		}
		if err := d.undo(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("seed %d, %s, undone: %q (%v)", seed, d.what, got, err)
		}
	}
}
