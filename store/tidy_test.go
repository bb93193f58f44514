package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cairn/store/journal"
)

// compact deletes all but the newest entries.
func compact(t testing.TB, g *GroupLog, keep uint64) {
	t.Helper()
	first, err := g.FirstIndex()
	must(t, err)
	if last, err := g.LastIndex(); err == nil && last >= first+keep {
		must(t, g.DeleteRange(first, last-keep))
	}
}

// wantLog checks that a log is first..last with logEntry's content of term 1.
func wantLog(t testing.TB, g *GroupLog, first, last uint64) {
	t.Helper()
	gotFirst, err := g.FirstIndex()
	must(t, err)
	gotLast, err := g.LastIndex()
	must(t, err)
	if gotFirst != first || gotLast != last {
		t.Fatalf("group %d is %d..%d, want %d..%d", g.group, gotFirst, gotLast, first, last)
	}
	for i := first; i <= last && i > 0; i++ {
		var got raft.Log
		if err := g.GetLog(i, &got); err != nil || !bytes.Equal(got.Data, logEntry(i, 1).Data) {
			t.Fatalf("entry %d of group %d reads %q, %v", i, g.group, got.Data, err)
		}
	}
}

// awaitTidy waits until nobody empties segments.
func awaitTidy(t testing.TB, l *Logs) {
	t.Helper()
	eventually(t, "tidying ends", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return !l.tidy
	})
}

func dirSize(t testing.TB, path string) (size int64) {
	t.Helper()
	files, err := os.ReadDir(path)
	must(t, err)
	for _, f := range files {
		info, err := f.Info()
		must(t, err)
		size += info.Size()
	}
	return size
}

// TestFileStopsGrowing: logs that snapshots keep short keep the directory short,
// also beside groups that get few entries and keep them long: each of their
// entries would hold a segment.
func TestFileStopsGrowing(t *testing.T) {
	for _, test := range []struct {
		name         string
		quiet        uint32
		every, keeps uint64 // a round, and of the entries of a quiet group
	}{
		{"one quiet group", 1, 1, 300},
		{"many quiet groups", 300, 20, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			const busy, rounds, size = 4, 1200, 256 << 10
			path := ramDir(t)
			d := open(t, path, Options{Segment: size})
			l, err := d.Logs()
			must(t, err)
			next := make([]uint64, busy+test.quiet)
			groups := make([]*GroupLog, busy+test.quiet)
			for i := range groups {
				groups[i], err = l.Create(uint32(i), "node.1")
				must(t, err)
			}
			turn := func(i int, n, keep uint64) {
				must(t, groups[i].StoreLogs(logEntries(next[i]+1, next[i]+n, 1)))
				next[i] += n
				compact(t, groups[i], keep)
			}
			var segments []int
			for r := range uint64(rounds) {
				for i := range busy {
					turn(i, 8, 300)
				}
				for k := range test.every {
					turn(busy+int((r*test.every+k)%uint64(test.quiet)), 1, test.keeps)
				}
				awaitTidy(t, l) // one processor may be busy with writing, and leave it behind
				if r%50 != 49 {
					continue
				}
				live := int64(0)
				for _, g := range groups {
					for _, p := range g.index.places {
						live += int64(p.size)
					}
				}
				// The newest one, those that are emptied and not given up yet, and one
				// that was filled while they were.
				most := spareSegments + 2*live/size + 1 + tidyVictims + 1
				n := int64(len(l.journal.Segments()))
				segments = append(segments, int(n))
				if bytes := dirSize(t, filepath.Join(path, logsDir)); n > most || bytes > (n+1)*size+1000 {
					t.Fatalf("after %d rounds: %d segments and %d bytes, at most %d expected", r, n, bytes, most)
				}
			}
			first := l.journal.Segments()[0].Number
			t.Logf("segments %v of %d", segments, l.journal.Newest().Number)
			if turned := l.journal.Newest().Number; int(first) < int(turned)/2 || turned < 30 {
				t.Fatalf("segment %d is still there, and the newest is %d", first, turned)
			}
			for _, g := range groups {
				first, err := g.FirstIndex()
				must(t, err)
				wantLog(t, g, first, next[g.group])
			}
		})
	}
}

// TestVictims: those with the fewest bytes in use are emptied, if there are more
// than twice as many as their entries need, and never the newest.
func TestVictims(t *testing.T) {
	for _, test := range []struct {
		name string
		used []int64 // of each segment of 1,000 bytes, the newest last
		want []uint32
	}{
		{"one", []int64{10}, nil},
		{"few", []int64{10, 20, 0}, nil},
		{"one too many", []int64{30, 10, 20, 0}, []uint32{2, 3}},
		{"the newest is not one", []int64{30, 40, 50, 0}, []uint32{1, 2}},
		{"the oldest of equals", []int64{10, 10, 10, 10, 10}, []uint32{1, 2}},
		{"in use", []int64{500, 500, 500, 500, 500, 500}, nil},
		{"half in use", []int64{200, 200, 100, 200, 200, 200}, []uint32{3, 1}},
		{"nothing in use", []int64{0, 0, 0, 0}, []uint32{1, 2}},
	} {
		l := &Logs{used: usage{}}
		var segments []journal.Segment
		for i, n := range test.used {
			segments = append(segments, journal.Segment{Number: uint32(i + 1), Size: 1000})
			l.used[uint32(i+1)] = n
		}
		if got := l.victims(segments); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// TestMoved: entries that were written again are read as before, now and after
// the next start, and what a log forgot meanwhile does not come back.
func TestMoved(t *testing.T) {
	path := ramDir(t)
	o := Options{Segment: tinySegment}
	d := open(t, path, o)
	l, err := d.Logs()
	must(t, err)
	quiet, err := l.Create(1, "node.1")
	must(t, err)
	dropped, err := l.Create(2, "node.1")
	must(t, err)
	busy, err := l.Create(3, "node.1")
	must(t, err)
	turn := func(from, to uint64) {
		for i := from; i < to; i += 5 {
			must(t, busy.StoreLogs(logEntries(i, i+4, 1)))
			compact(t, busy, 10)
			awaitTidy(t, l)
		}
	}
	var written []place
	for i := uint64(1); i <= 30; i++ { // an entry in each segment, and one that it replaces
		for _, g := range []*GroupLog{quiet, dropped} {
			must(t, g.StoreLogs(logEntries(i, i+1, 2)))
			must(t, g.StoreLog(logEntry(i, 1)))
		}
		written = append(written, quiet.index.places[i-1])
		turn(25*i, 25*i+25)
	}
	must(t, quiet.SetUint64([]byte("CurrentTerm"), 7))
	turn(775, 1500)
	must(t, l.Drop(2))
	must(t, quiet.DeleteRange(1, 5))
	must(t, quiet.DeleteRange(26, 30))
	turn(1500, 2000)
	moved := 0
	for i := uint64(6); i <= 25; i++ {
		if at, _ := quiet.index.place(i); at != written[i-1] {
			moved++
		}
	}
	if segments := l.journal.Segments(); moved < 15 || len(segments) > 7 {
		t.Fatalf("%d entries were moved, segments %v", moved, segments)
	}
	for range 3 {
		wantLog(t, quiet, 6, 25)
		quiet.index.recent.keep(1, 0) // read it from the file
		wantLog(t, quiet, 6, 25)
		if term, err := quiet.GetUint64([]byte("CurrentTerm")); err != nil || term != 7 {
			t.Fatalf("the term became %d, %v", term, err)
		}
		must(t, d.Close())
		d = open(t, path, o)
		l, err = d.Logs()
		must(t, err)
		quiet, err = l.Open(1, "node.1")
		must(t, err)
		if len(l.Groups()) != 2 {
			t.Fatalf("groups %v", l.Groups())
		}
	}
}

// twin is one group's log in a test that does many things at once, and what has
// to be in it. Its entries are logEntry's, of the terms that are here.
type twin struct {
	log   *GroupLog
	first uint64
	terms []uint64 // of the entries from first on
	term  uint64   // the newest, and the value of CurrentTerm
}

func (w *twin) last() uint64 { return w.first + uint64(len(w.terms)) - 1 }

// act does to a log one of the things that raft does.
func (w *twin) act(rng *rand.Rand, keep int) error {
	if len(w.terms) == 0 {
		w.first = max(w.first, 1)
	}
	switch n := rng.IntN(20); {
	case n < 14 || len(w.terms) < 5: // append
		var logs []*raft.Log
		for range 1 + rng.IntN(6) {
			logs = append(logs, logEntry(w.last()+1, w.term))
			w.terms = append(w.terms, w.term)
		}
		return w.log.StoreLogs(logs)
	case n < 17: // compact
		if cut := len(w.terms) - keep; cut > 0 {
			err := w.log.DeleteRange(w.first, w.first+uint64(cut)-1)
			w.first, w.terms = w.first+uint64(cut), w.terms[cut:]
			return err
		}
		return nil
	case n < 19: // another leader
		cut := 1 + rng.IntN(4)
		w.terms = w.terms[:len(w.terms)-cut]
		w.term++
		w.terms = append(w.terms, w.term)
		return w.log.StoreLog(logEntry(w.last(), w.term))
	default:
		w.term++
		return w.log.SetUint64([]byte("CurrentTerm"), w.term)
	}
}

// read reads an entry in the middle, which is in no memory.
func (w *twin) read(rng *rand.Rand) error {
	if len(w.terms) == 0 {
		return nil
	}
	at := rng.IntN(len(w.terms))
	var got raft.Log
	index, term := w.first+uint64(at), w.terms[at]
	if err := w.log.GetLog(index, &got); err != nil {
		return err
	}
	if got.Term != term || !bytes.Equal(got.Data, logEntry(index, term).Data) {
		return fmt.Errorf("entry %d reads %q of term %d, want term %d", index, got.Data, got.Term, term)
	}
	return nil
}

// check compares the whole log.
func (w *twin) check(t testing.TB) {
	t.Helper()
	first, err := w.log.FirstIndex()
	must(t, err)
	last, err := w.log.LastIndex()
	must(t, err)
	if len(w.terms) > 0 && (first != w.first || last != w.last()) {
		t.Fatalf("group %d is %d..%d, want %d..%d", w.log.group, first, last, w.first, w.last())
	}
	for i, term := range w.terms {
		var got raft.Log
		index := w.first + uint64(i)
		if err := w.log.GetLog(index, &got); err != nil || got.Term != term || !bytes.Equal(got.Data, logEntry(index, term).Data) {
			t.Fatalf("entry %d of group %d reads %q of term %d, %v, want term %d", index, w.log.group, got.Data, got.Term, err, term)
		}
	}
}

// TestTidyTwin: groups that append, truncate and compact at once, others that
// come and go, segments that are begun, emptied and given up all the time: every
// log is what its twin is, also after a start.
func TestTidyTwin(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	path := ramDir(t)
	o := Options{Segment: tinySegment}
	const groups, rounds, acts = 6, 4, 400
	var twins []*twin
	for round := range rounds {
		d := open(t, path, o)
		l, err := d.Logs()
		must(t, err)
		for i := range uint32(groups) {
			if round == 0 {
				g, err := l.Create(i, "node.1")
				must(t, err)
				twins = append(twins, &twin{log: g, first: 1, term: 1})
				continue
			}
			twins[i].log, err = l.Open(i, "node.1")
			must(t, err)
			twins[i].check(t)
		}
		var wg sync.WaitGroup
		for i, w := range twins {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(round*groups+i)))
				n := acts / (1 + 10*(i%2)) // every second one is quiet
				for range n {
					if err := w.act(rng, 10+10*i); err != nil {
						t.Error(err)
						return
					}
					if err := w.read(rng); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Go(func() {
			for i := range uint32(20) {
				if err := comeAndGo(l, groups+i%3); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Wait()
		for _, w := range twins {
			w.check(t)
		}
		t.Logf("segments %v", l.journal.Segments())
		must(t, d.Close())
	}
}

// comeAndGo makes a group, gives it something to hold, and drops it.
func comeAndGo(l *Logs, group uint32) error {
	g, err := l.Create(group, "node.1")
	if err != nil {
		return err
	}
	for i := uint64(1); i < 30; i += 3 {
		if err := g.StoreLogs(logEntries(i, i+2, 1)); err != nil {
			return err
		}
	}
	return l.Drop(group)
}
