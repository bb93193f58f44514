package crashfs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"cairn/store"
	"cairn/store/journal"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// machine is a disk with a directory.
func machine(t *testing.T) (f *FS, path string) {
	t.Helper()
	trash := t.TempDir()
	return New(trash), t.TempDir()
}

func open(t *testing.T, f *FS, name string, flag int) journal.File {
	t.Helper()
	o, err := f.OpenFile(name, flag, 0o600)
	must(t, err)
	t.Cleanup(func() { o.Close() })
	return o
}

const create = os.O_RDWR | os.O_CREATE

func write(t *testing.T, o journal.File, s string, at int64) {
	t.Helper()
	_, err := o.WriteAt([]byte(s), at)
	must(t, err)
}

// cuts are changes of a directory with a file "old", and the files that are there after
// a power cut, with their content.
var cuts = []struct {
	name string
	do   func(t *testing.T, f *FS, in func(string) string)
	want map[string]string
}{
	{"nothing synced", func(t *testing.T, f *FS, in func(string) string) {
		write(t, open(t, f, in("a"), create), "new", 0)
	}, map[string]string{"old": "content"}},
	{"a name without its content", func(t *testing.T, f *FS, in func(string) string) {
		write(t, open(t, f, in("a"), create), "new", 0)
		must(t, f.SyncDir(in("")))
	}, map[string]string{"old": "content", "a": ""}},
	{"both", func(t *testing.T, f *FS, in func(string) string) {
		a := open(t, f, in("a"), create)
		write(t, a, "new", 0)
		must(t, a.Sync())
		must(t, f.SyncDir(in("")))
		write(t, a, "lost", 3)
	}, map[string]string{"old": "content", "a": "new"}},
	{"written over, cut short, removed", func(t *testing.T, f *FS, in func(string) string) {
		old := open(t, f, in("old"), os.O_RDWR)
		write(t, old, "CONTENTS", 0)
		must(t, old.Truncate(2))
		must(t, f.Remove(in("old")))
	}, map[string]string{"old": "content"}},
	{"begun anew", func(t *testing.T, f *FS, in func(string) string) {
		write(t, open(t, f, in("old"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC), "x", 0)
	}, map[string]string{"old": "content"}},
	{"replaced, and the name not synced", func(t *testing.T, f *FS, in func(string) string) {
		a := open(t, f, in("a"), create)
		write(t, a, "new", 0)
		must(t, a.Sync())
		must(t, f.SyncDir(in("")))
		must(t, f.Rename(in("a"), in("old")))
	}, map[string]string{"old": "content", "a": "new"}},
	{"replaced", func(t *testing.T, f *FS, in func(string) string) {
		a := open(t, f, in("a"), create)
		write(t, a, "new", 0)
		must(t, f.Rename(in("a"), in("old")))
		must(t, a.Sync())
		must(t, f.SyncDir(in("")))
	}, map[string]string{"old": "new"}},
	{"a directory", func(t *testing.T, f *FS, in func(string) string) {
		must(t, f.Mkdir(in("d.tmp"), 0o700))
		a := open(t, f, in("d.tmp/a"), create)
		write(t, a, "new", 0)
		must(t, a.Sync())
		b := open(t, f, in("d.tmp/b"), create)
		must(t, f.SyncDir(in("d.tmp")))
		must(t, f.Rename(in("d.tmp"), in("d")))
		must(t, f.SyncDir(in("")))
		write(t, b, "lost", 0)
		open(t, f, in("d/c"), create)
	}, map[string]string{"old": "content", "d/a": "new", "d/b": ""}},
	{"after the cut", func(t *testing.T, f *FS, in func(string) string) {
		f.Cut()
		old := open(t, f, in("old"), os.O_RDWR)
		write(t, old, "CONTENTS", 0)
		must(t, old.Sync())
		must(t, f.RemoveAll(in("old")))
		must(t, f.SyncDir(in("")))
	}, map[string]string{"old": "content"}},
}

// TestCut: what is there after a power cut is what was synced, name by name and
// file by file.
func TestCut(t *testing.T) {
	for _, tt := range cuts {
		t.Run(tt.name, func(t *testing.T) {
			f, path := machine(t)
			in := func(name string) string { return filepath.Join(path, name) }
			must(t, os.WriteFile(in("old"), []byte("content"), 0o600))
			tt.do(t, f, in)
			f.Cut()
			_, err := f.Restore(false, nil)
			must(t, err)
			got := map[string]string{}
			must(t, filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				b, err := os.ReadFile(p)
				got[p[len(path)+1:]] = string(b)
				return err
			}))
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

// TestTear: of what was not synced, each sector is there or is not.
func TestTear(t *testing.T) {
	f, path := machine(t)
	name := filepath.Join(path, "a")
	must(t, os.WriteFile(name, make([]byte, 8*sector), 0o600))
	_, err := open(t, f, name, os.O_RDWR).WriteAt(bytes.Repeat([]byte{1}, 8*sector), 0)
	must(t, err)
	f.Cut()
	_, err = f.Restore(true, rand.New(rand.NewPCG(1, 1)))
	must(t, err)
	b, err := os.ReadFile(name)
	must(t, err)
	kept := 0
	for at := 0; at < len(b); at += sector {
		switch s := b[at : at+sector]; {
		case bytes.Equal(s, bytes.Repeat([]byte{1}, sector)):
			kept++
		case !bytes.Equal(s, make([]byte, sector)):
			t.Error("a sector is of neither time")
		}
	}
	if kept == 0 || kept == 8 {
		t.Errorf("%d of 8 sectors were kept", kept)
	}
}

// TestWriteback: what a kernel has had for long enough lasts without a sync.
func TestWriteback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, path := machine(t)
		name := filepath.Join(path, "a")
		must(t, os.WriteFile(name, nil, 0o600))
		a := open(t, f, name, os.O_RDWR)
		_, err := a.WriteAt([]byte("old"), 0)
		must(t, err)
		time.Sleep(2 * Writeback)
		_, err = a.WriteAt([]byte("new"), 3)
		must(t, err)
		f.Cut()
		_, err = f.Restore(false, nil)
		must(t, err)
		if b, _ := os.ReadFile(name); string(b) != "old" {
			t.Errorf("found %q", b)
		}
	})
}

// TestStore cuts the power of a data directory at any moment, torn or not, over and
// over: what was acknowledged is there, and nothing passes for damaged.
func TestStore(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			f, path := machine(t)
			rng := rand.New(rand.NewPCG(seed, 0))
			acked := uint64(0)
			for life := 0; life < 12; life++ {
				last := work(t, f, path, rng, acked)
				unsynced, err := f.Restore(rng.IntN(2) == 0, rng)
				must(t, err)
				if unsynced > 20 {
					t.Errorf("%d changes had not been synced", unsynced)
				}
				acked = last
			}
		})
	}
}

// work opens the store, which has at least acked entries, appends some, takes
// snapshots, and is without power from a random moment on. It returns what was
// acknowledged before.
func work(t *testing.T, f *FS, path string, rng *rand.Rand, acked uint64) uint64 {
	t.Helper()
	d, err := store.Open(path, store.Options{FS: f, Segment: 16 << 10, OnFatal: func(err error) { t.Error(err) }})
	must(t, err)
	defer d.Close()
	l, err := d.Logs()
	must(t, err)
	g, err := l.Open(1, "node.1")
	if err != nil && acked == 0 {
		g, err = l.Create(1, "node.1")
	}
	must(t, err)
	last, err := g.LastIndex()
	must(t, err)
	if last < acked {
		t.Fatalf("entry %d was acknowledged, and the log ends with %d", acked, last)
	}
	snaps, err := d.Snapshots("p0000")
	must(t, err)
	first, err := g.FirstIndex()
	must(t, err)
	must(t, snaps.Verify(first, last))
	cut := rng.IntN(120)
	for step := 0; step < 120; step++ {
		if step == cut {
			f.Cut()
		}
		last++
		must(t, g.StoreLog(&raft.Log{Index: last, Term: 1, Data: make([]byte, rng.IntN(3000))}))
		if step < cut {
			acked = last
		}
		if rng.IntN(30) == 0 {
			sink, err := snaps.Create(raft.SnapshotVersionMax, last, 1, raft.Configuration{}, 0, nil)
			must(t, err)
			_, err = sink.Write(make([]byte, rng.IntN(9000)))
			must(t, err)
			must(t, sink.Close())
			must(t, g.DeleteRange(0, last-min(last, 20)))
		}
		if rng.IntN(20) == 0 {
			must(t, d.WriteFile("some", fmt.Append(nil, step)))
		}
	}
	return max(acked, 1)
}
