// Package crashfs is a file system for tests that forgets what was not synced when
// the power is cut. It needs no rights and no child process, and a cut costs
// microseconds: thousands of them fit into a test.
//
// Files are real ones, in a real directory. What is changed and does not last yet is
// noted with what was there before; a sync forgets the note, and a power cut undoes
// what is noted. So a build that syncs pays almost nothing, and what is read is
// always what a process would read.
//
// The rules are those of POSIX and no more:
//
//   - what is written lasts after a sync of its file, or at once if the file was opened
//     for writing through; or when it is older than Writeback, as kernels do;
//   - making, renaming and removing a name lasts after a sync of its directory;
//     a cut undoes a number of the newest of them, in order;
//   - with tear, each unsynced sector is on the disk or is not.
//
// Cut is the moment, Restore what is found when the power is back: between them the
// process, which does not know yet that it is dead, may do what it likes.
//
// What the operating system is asked for directly (bbolt, which maps its file) lasts
// at once: for that there is lazyfs.
package crashfs

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"cairn/store"
	"cairn/store/journal"
)

const (
	// sector is what a disk writes whole or not at all.
	sector = 512
	// Writeback is after how long a kernel writes by itself.
	Writeback = 10 * time.Second
)

// FS is the disk of one machine, under one directory. Use it for as long as the
// machine lives, through any number of processes.
type FS struct {
	trash string // a directory for what was removed, and may come back

	mu    sync.Mutex
	nodes map[string]*node
	notes []*note // oldest first
	cut   bool    // the power is off: nothing lasts any more
	bin   int     // number of the next thing in trash
	slow  time.Duration
}

var _ store.FS = (*FS)(nil)

// node is a file or a directory. Its path changes when it, or one above it, is
// renamed.
type node struct{ path string }

// note is a change that does not last yet.
type note struct {
	at    time.Time
	after bool  // made without power
	file  *node // whose content it changes; nil: it changes names
	dir   *node // with these names
	undo  func(keep func() bool) error
}

// New returns the disk for a directory; trash is an empty directory beside it.
func New(trash string) *FS { return &FS{trash: trash, nodes: map[string]*node{}} }

// Slow makes every sync, and write through, of the partitions' log take that long.
func (f *FS) Slow(by time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slow = by
}

// Cut is the power cut.
func (f *FS) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.age()
	f.cut = true
}

// Restore brings back what the disk had at the cut. The process must have ended.
// Without tear it is what was synced and nothing else; with it, some of the rest. It
// returns how many unsynced changes there were at the cut.
func (f *FS) Restore(tear bool, rng *rand.Rand) (unsynced int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := 0
	for _, n := range f.notes {
		if n.after {
			continue
		}
		if unsynced++; n.file == nil {
			names++
		}
	}
	lost := names // of the newest changes of names
	if tear && names > 0 {
		lost = rng.IntN(names + 1)
	}
	for i := len(f.notes) - 1; i >= 0; i-- {
		n, keep := f.notes[i], func() bool { return false }
		switch {
		case n.after:
		case n.file == nil:
			if lost == 0 {
				continue
			}
			lost--
		case tear:
			keep = func() bool { return rng.IntN(2) == 0 }
		}
		err = errors.Join(err, n.undo(keep))
	}
	f.notes, f.cut, f.nodes = nil, false, map[string]*node{}
	return unsynced, errors.Join(err, empty(f.trash))
}

func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// age forgets what the kernel has written by itself. The caller holds mu.
func (f *FS) age() {
	now := time.Now()
	f.forget(func(n *note) bool { return n.file != nil && now.Sub(n.at) > Writeback })
}

// forget is what makes changes last. The caller holds mu.
func (f *FS) forget(lasts func(*note) bool) {
	if f.cut {
		return
	}
	kept := f.notes[:0]
	for _, n := range f.notes {
		if !lasts(n) {
			kept = append(kept, n)
		}
	}
	clear(f.notes[len(kept):])
	f.notes = kept
	if len(kept) == 0 && f.bin > 0 {
		f.bin = 0
		_ = empty(f.trash) // what stays there is only in the way
	}
}

// note adds a change. The caller holds mu.
func (f *FS) note(file, dir *node, undo func(keep func() bool) error) {
	f.notes = append(f.notes, &note{at: time.Now(), after: f.cut, file: file, dir: dir, undo: undo})
}

// node returns the node at a path. The caller holds mu.
func (f *FS) node(path string) *node {
	path = filepath.Clean(path)
	n := f.nodes[path]
	if n == nil {
		n = &node{path: path}
		f.nodes[path] = n
	}
	return n
}

func (f *FS) parent(path string) *node { return f.node(filepath.Dir(filepath.Clean(path))) }

// move renames on the real file system, and the nodes with it. The caller holds mu.
func (f *FS) move(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	moved := map[string]*node{}
	for path, n := range f.nodes {
		if rest, under := strings.CutPrefix(path, from+"/"); under {
			n.path = to + "/" + rest
		} else if path == from {
			n.path = to
		} else {
			continue
		}
		moved[n.path] = n
		delete(f.nodes, path)
	}
	for path, n := range moved {
		f.nodes[path] = n
	}
	return nil
}

// discard moves what is at a path to the trash. The caller holds mu.
func (f *FS) discard(path string) (restore func() error, err error) {
	path = filepath.Clean(path)
	bin := filepath.Join(f.trash, strconv.Itoa(f.bin))
	f.bin++
	if err := f.move(path, bin); err != nil {
		return nil, err
	}
	dir, name := f.parent(path), filepath.Base(path)
	return func() error { return f.move(bin, filepath.Join(dir.path, name)) }, nil
}

// Rename renames, in place of what has the name.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, to = filepath.Clean(from), filepath.Clean(to)
	if _, err := os.Lstat(from); err != nil {
		return err
	}
	restore := func() error { return nil }
	if _, err := os.Lstat(to); err == nil {
		if restore, err = f.discard(to); err != nil {
			return err
		}
	}
	if err := f.move(from, to); err != nil {
		return errors.Join(err, restore())
	}
	source, target := f.parent(from), f.parent(to)
	f.note(nil, target, func(func() bool) error {
		err := f.move(filepath.Join(target.path, filepath.Base(to)), filepath.Join(source.path, filepath.Base(from)))
		return errors.Join(err, restore())
	})
	return nil
}

// Remove removes a file.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.remove(name)
}

func (f *FS) remove(name string) error {
	restore, err := f.discard(name)
	if err != nil {
		return err
	}
	f.note(nil, f.parent(name), func(func() bool) error { return restore() })
	return nil
}

// RemoveAll removes whatever is there, all at once.
func (f *FS) RemoveAll(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return f.remove(name)
}

// Mkdir makes a directory.
func (f *FS) Mkdir(name string, perm fs.FileMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := os.Mkdir(name, perm); err != nil {
		return err
	}
	f.made(name)
	return nil
}

// made notes that there is a new name. The caller holds mu.
func (f *FS) made(name string) {
	dir, base := f.parent(name), filepath.Base(name)
	f.note(nil, dir, func(func() bool) error { return os.RemoveAll(filepath.Join(dir.path, base)) })
}

// MkdirAll makes a directory with those above it. It lasts at once: only the first
// start needs it.
func (f *FS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }

// SyncDir makes the names in a directory last.
func (f *FS) SyncDir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir := f.node(name)
	f.forget(func(n *note) bool { return n.file == nil && n.dir == dir })
	return nil
}

// OpenFile opens a file for writing.
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (journal.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	_, statErr := os.Lstat(name)
	through := throughOf(flag)
	truncate := flag&os.O_TRUNC != 0
	flag = flag&^(os.O_TRUNC|os.O_WRONLY|through) | os.O_RDWR // what was there before is read
	o, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	if errors.Is(statErr, fs.ErrNotExist) {
		delete(f.nodes, name) // what had the name before is another file
		f.made(name)
	}
	file := &file{fs: f, f: o, node: f.node(name), through: through != 0, log: strings.HasPrefix(filepath.Base(filepath.Dir(name)), "logs")}
	if truncate {
		err = file.truncate(0)
	}
	return file, err
}
