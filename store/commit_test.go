package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// eventually waits for what other goroutines are about to do.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in 10 s", what)
		}
		runtime.Gosched()
	}
}

// goroutine names the goroutine that calls it.
func goroutine() string {
	b := make([]byte, 64)
	b, _, _ = bytes.Cut(b[:runtime.Stack(b, false)], []byte("["))
	return string(b)
}

// TestLoneCaller: one commit for each call, on the caller's own goroutine.
func TestLoneCaller(t *testing.T) {
	type commit struct {
		goroutine                string
		callers, entries, nbytes int
	}
	var commits []commit
	d := open(t, ramDir(t), Options{Metrics: Metrics{Commit: func(took time.Duration, callers, entries, nbytes int) {
		commits = append(commits, commit{goroutine(), callers, entries, nbytes})
		if took <= 0 {
			t.Error("a commit that takes no time")
		}
	}}})
	l, err := d.Logs()
	must(t, err)
	g, err := l.Create(1, "node.1")
	must(t, err)
	commits = nil
	must(t, g.StoreLogs(logEntries(1, 5, 1)))
	must(t, g.SetUint64([]byte("CurrentTerm"), 2))
	me := goroutine()
	if len(commits) != 2 || commits[0].goroutine != me || commits[1].goroutine != me {
		t.Fatalf("commits %+v, want two by %s", commits, me)
	}
	if c := commits[0]; c.callers != 1 || c.entries != 5 || c.nbytes < 5*entryHeader {
		t.Fatalf("the metrics say %+v", c)
	}
}

// TestGroupCommit: whoever comes while somebody writes goes into the next
// commit, all of them into one.
func TestGroupCommit(t *testing.T) {
	const groups = 16
	hold := make(chan struct{})
	var holding atomic.Bool
	var callers []int
	d := open(t, ramDir(t), Options{Metrics: Metrics{Commit: func(_ time.Duration, n, _, _ int) {
		callers = append(callers, n)
		if holding.Load() {
			<-hold
		}
	}}})
	l, err := d.Logs()
	must(t, err)
	var logs []*GroupLog
	for i := range uint32(groups) {
		g, err := l.Create(i, "node.1")
		must(t, err)
		logs = append(logs, g)
	}
	callers = nil
	holding.Store(true)
	var wg sync.WaitGroup
	store := func(g *GroupLog) {
		wg.Go(func() {
			if err := g.StoreLogs(logEntries(1, 3, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	store(logs[0]) // its commit is held until everybody else has come
	for _, g := range logs[1:] {
		store(g)
	}
	eventually(t, "everybody queues", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.queue) == groups-1
	})
	holding.Store(false)
	close(hold)
	wg.Wait()
	if len(callers) != 2 || callers[0] != 1 || callers[1] != groups-1 {
		t.Fatalf("commits with %v callers, want 1 and %d", callers, groups-1)
	}
}

// TestTakeIsBounded: a commit ends where its bytes do, and a request beyond
// the limit gets one of its own.
func TestTakeIsBounded(t *testing.T) {
	l := &Logs{}
	for _, bytes := range []int{1, maxCommitBytes - 1, 1, maxCommitBytes + 1, 1, 1} {
		l.queue = append(l.queue, &request{bytes: bytes})
	}
	var got []int
	for len(l.queue) > 0 {
		got = append(got, len(l.take()))
	}
	want := []int{2, 1, 1, 2}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || got[3] != want[3] {
		t.Fatalf("commits of %v requests, want %v", got, want)
	}
}

// TestRefusalHurtsNobody: a request that is refused leaves those beside it alone.
func TestRefusalHurtsNobody(t *testing.T) {
	d := open(t, ramDir(t), Options{})
	l, err := d.Logs()
	must(t, err)
	g, err := l.Create(1, "node.1")
	must(t, err)
	must(t, g.StoreLogs(logEntries(1, 3, 1)))
	for name, err := range map[string]error{
		"a gap within":            g.StoreLogs([]*raft.Log{logEntry(4, 1), logEntry(6, 1)}),
		"index 0":                 g.StoreLog(&raft.Log{}),
		"too large":               g.StoreLog(&raft.Log{Index: 4, Data: make([]byte, MaxEntry+1)}),
		"a hole":                  g.DeleteRange(2, 2),
		"a long key":              g.Set(bytes.Repeat([]byte("k"), maxStableKey+1), nil),
		"a long value":            g.Set([]byte("k"), make([]byte, maxStableValue+1)),
		"no number":               func() error { must(t, g.Set([]byte("k"), []byte("v"))); _, err := g.GetUint64([]byte("k")); return err }(),
		"the 17th key":            seventeenth(g),
		"a second Create":         errOf(l.Create(1, "node.2")),
		"an invalid name":         errOf(l.Create(2, "a name")),
		"another's log":           errOf(l.Open(1, "node.2")),
		"no such group":           errOf(l.Open(9, "node.1")),
		"a quarantine of nothing": l.Quarantine(9),
	} {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if d.dead.Load() {
		t.Fatal("a refusal was fatal")
	}
	must(t, g.StoreLog(logEntry(4, 1)))
	if last, err := g.LastIndex(); err != nil || last != 4 {
		t.Fatalf("last index %d, %v", last, err)
	}
}

func errOf[T any](_ T, err error) error { return err }

func seventeenth(g *GroupLog) (err error) {
	for i := range maxStable + 1 {
		err = g.Set([]byte{'a' + byte(i)}, nil)
	}
	return err
}

// TestDeleteIsOneCommit: a truncation, however long, costs one write of a few
// bytes, so it holds nobody up.
func TestDeleteIsOneCommit(t *testing.T) {
	const entries = 5_000
	var commits atomic.Int64
	d := open(t, ramDir(t), Options{Metrics: Metrics{Commit: func(time.Duration, int, int, int) { commits.Add(1) }}})
	l, err := d.Logs()
	must(t, err)
	g, err := l.Create(1, "node.1")
	must(t, err)
	must(t, g.StoreLogs(logEntries(1, entries, 1)))
	for _, r := range [][2]uint64{{1, 2_000}, {3_001, entries}, {2_001, 3_000}} {
		commits.Store(0)
		must(t, g.DeleteRange(r[0], r[1]))
		if n := commits.Load(); n != 1 || len(l.payload) > 200 {
			t.Errorf("deleting %v took %d commits, the last of %d bytes", r, n, len(l.payload))
		}
		for _, i := range r {
			if err := g.GetLog(i, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
				t.Errorf("entry %d after deleting %v: %v", i, r, err)
			}
		}
	}
}

// TestWriteErrorIsFatal: after a commit failed nobody is told that one succeeded,
// nobody is told anything before the cause, and nobody is left waiting.
func TestWriteErrorIsFatal(t *testing.T) {
	path := ramDir(t)
	var f fatal
	slowly := func(err error) {
		for range 1000 {
			runtime.Gosched()
		}
		f.on(err)
	}
	d := open(t, path, Options{OnFatal: slowly, Segment: 64 << 10})
	l, err := d.Logs()
	must(t, err)
	var groups []*GroupLog
	for i := range uint32(4) {
		g, err := l.Create(i, "node.1")
		must(t, err)
		groups = append(groups, g)
	}
	awaitTidy(t, l)
	must(t, os.RemoveAll(filepath.Join(path, logsDir))) // the next segment cannot be made
	var wg sync.WaitGroup
	for _, g := range groups {
		wg.Go(func() {
			for i := uint64(1); ; i++ {
				before, published := d.dead.Load(), g.snapshot().last
				err := g.StoreLog(logEntry(i, 1))
				switch {
				case err == nil && (before || g.snapshot().last != i):
					t.Errorf("entry %d of group %d was acknowledged by a store that has failed", i, g.group)
					return
				case err != nil:
					if f.get() == nil {
						t.Errorf("entry %d of group %d: %v, before the cause is known", i, g.group, err)
					}
					if last := g.snapshot().last; last != published {
						t.Errorf("entry %d of group %d was refused, and is there", last, g.group)
					}
					return
				}
			}
		})
	}
	wg.Wait()
	if err := f.get(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("OnFatal got %v", err)
	}
	if groups[0].StoreLog(logEntry(groups[0].snapshot().last+1, 1)) == nil {
		t.Fatal("something was acknowledged by a store that has failed")
	}
}

// TestRotWhileRunning: an entry that changed on disk is never returned.
func TestRotWhileRunning(t *testing.T) {
	path := ramDir(t)
	var f fatal
	d := open(t, path, Options{OnFatal: f.on})
	l, err := d.Logs()
	must(t, err)
	g, err := l.Create(1, "node.1")
	must(t, err)
	needle := []byte("needle in the log")
	must(t, g.StoreLog(&raft.Log{Index: 1, Term: 1, Data: needle}))
	g.index.recent.keep(2, 2) // read it from the file
	files, err := filepath.Glob(filepath.Join(path, logsDir, "*.log"))
	must(t, err)
	rotten := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		must(t, err)
		if i := bytes.Index(b, needle); i >= 0 {
			rot, err := os.OpenFile(file, os.O_WRONLY, 0)
			must(t, err)
			_, err = rot.WriteAt([]byte("N"), int64(i))
			must(t, errors.Join(err, rot.Close()))
			rotten++
		}
	}
	if rotten != 1 {
		t.Fatalf("the entry is in %d files", rotten)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var l raft.Log
		t.Errorf("a changed entry was returned: %v %q", g.GetLog(1, &l), l.Data)
	}()
	<-done
	if err := f.get(); !errors.Is(err, ErrDamaged) {
		t.Fatalf("OnFatal got %v, want ErrDamaged", err)
	}
}

// TestWrongPlace: an entry that is whole, and is another one than was asked for,
// is never returned.
func TestWrongPlace(t *testing.T) {
	for name, wrong := range map[string]func(g *GroupLog, last []place){
		"of another index": func(g *GroupLog, _ []place) { g.index.places[0] = g.index.places[1] },
		"of another term":  func(g *GroupLog, was []place) { g.index.places[0].addr = was[0].addr },
	} {
		t.Run(name, func(t *testing.T) {
			var f fatal
			d := open(t, ramDir(t), Options{OnFatal: f.on})
			l, err := d.Logs()
			must(t, err)
			g, err := l.Create(1, "node.1")
			must(t, err)
			must(t, g.StoreLogs(logEntries(7, 8, 1)))
			was := slices.Clone(g.index.places)
			must(t, g.StoreLogs(logEntries(7, 8, 2)))
			g.index.recent.keep(1, 0) // read it from the file
			must(t, g.GetLog(7, new(raft.Log)))
			wrong(g, was)
			done := make(chan struct{})
			go func() {
				defer close(done)
				t.Errorf("another entry was returned: %v", g.GetLog(7, new(raft.Log)))
			}()
			<-done
			if err := f.get(); !errors.Is(err, ErrDamaged) {
				t.Fatalf("OnFatal got %v, want ErrDamaged", err)
			}
		})
	}
}

// TestRecentIsBounded: what is kept in memory has a limit, and is what was stored.
func TestRecentIsBounded(t *testing.T) {
	var r recent
	entry := func(i uint64) []byte { return bytes.Repeat([]byte{byte(i)}, 10_000) }
	const last = 1000
	for i := uint64(1); i <= last; i++ {
		r.append(i, entry(i))
		if r.bytes > recentBytes {
			t.Fatalf("%d bytes are kept", r.bytes)
		}
	}
	kept := 0
	for i := uint64(0); i <= last+1; i++ {
		if e := r.get(i); e != nil {
			kept++
			if !bytes.Equal(e, entry(i)) {
				t.Fatalf("entry %d is another", i)
			}
		}
	}
	if kept != recentBytes/10_000 || r.get(last) == nil {
		t.Fatalf("%d entries are kept, the last one: %v", kept, r.get(last) != nil)
	}
	r.keep(last-5, last-3)
	if r.get(last-6) != nil || r.get(last-5) == nil || r.get(last-3) == nil || r.get(last-2) != nil || r.bytes != 3*10_000 {
		t.Fatalf("after keep: %d entries from %d, %d bytes", len(r.entries), r.first, r.bytes)
	}
}
