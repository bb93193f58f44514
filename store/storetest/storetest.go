// Package storetest is the contract of a Raft log and stable store as a test
// suite. Whatever takes the place of a store has to pass it.
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// Store is what is tested.
type Store interface {
	raft.LogStore
	raft.StableStore
}

// Disk is where stores are opened: the same one each time, with what the last
// one left there.
type Disk interface {
	// Open opens the store, and closes it first if it is open.
	Open(t testing.TB) Store
}

// Options say what a kind of store is not asked to do.
type Options struct {
	// Volatile stores forget everything when they are opened again.
	Volatile bool
	// Gaps are kept by a store that does not treat a gap as a new beginning.
	Gaps bool
	// ZeroForMissing numbers: GetUint64 of a missing key is 0 and no error.
	ZeroForMissing bool
}

// RunLogStore runs the suite; each test gets a disk of its own.
func RunLogStore(t *testing.T, newDisk func(testing.TB) Disk, o Options) {
	tests := []struct {
		name string
		run  func(*testing.T, Disk, Options)
	}{
		{"Empty", testEmpty},
		{"AppendAndGet", testAppendAndGet},
		{"Fields", testFields},
		{"DeleteFront", testDeleteFront},
		{"DeleteBack", testDeleteBack},
		{"DeleteAll", testDeleteAll},
		{"Overwrite", testOverwrite},
		{"Gap", testGap},
		{"LargeEntries", testLargeEntries},
		{"OwnsItsMemory", testOwnsItsMemory},
		{"Stable", testStable},
		{"Concurrency", testConcurrency},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, newDisk(t), o) })
	}
}

// entry makes an entry whose content follows from its place.
func entry(index, term uint64) *raft.Log {
	return &raft.Log{
		Index: index, Term: term, Type: raft.LogCommand,
		Data:       fmt.Appendf(nil, "entry %d of term %d", index, term),
		AppendedAt: time.Date(2026, 1, 2, 3, 4, 5, int(index), time.UTC),
	}
}

func entries(first, last, term uint64) (logs []*raft.Log) {
	for i := first; i <= last; i++ {
		logs = append(logs, entry(i, term))
	}
	return logs
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantRange checks that the log is exactly first..last with entry's content, and
// that nothing stands around it.
func wantRange(t testing.TB, s Store, first, last, term uint64) {
	t.Helper()
	gotFirst, err := s.FirstIndex()
	must(t, err)
	gotLast, err := s.LastIndex()
	must(t, err)
	if gotFirst != first || gotLast != last {
		t.Fatalf("the log is %d..%d, want %d..%d", gotFirst, gotLast, first, last)
	}
	for i := first; i <= last && i > 0; i++ {
		wantEntry(t, s, entry(i, term))
	}
	for _, i := range []uint64{0, first - 1, last + 1, last + 1000} {
		if first <= i && i <= last && i != 0 {
			continue
		}
		if err := s.GetLog(i, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
			t.Fatalf("entry %d beside %d..%d: %v, want ErrLogNotFound", i, first, last, err)
		}
	}
}

func wantEntry(t testing.TB, s Store, want *raft.Log) {
	t.Helper()
	var got raft.Log
	if err := s.GetLog(want.Index, &got); err != nil {
		t.Fatalf("entry %d: %v", want.Index, err)
	}
	if got.Index != want.Index || got.Term != want.Term || got.Type != want.Type ||
		!bytes.Equal(got.Data, want.Data) || !bytes.Equal(got.Extensions, want.Extensions) ||
		!got.AppendedAt.Equal(want.AppendedAt) {
		t.Fatalf("entry %d:\ngot  %+v\nwant %+v", want.Index, got, want)
	}
}

// reopened runs check now, and again on a store opened anew.
func reopened(t testing.TB, d Disk, s Store, o Options, check func(Store)) {
	t.Helper()
	check(s)
	if !o.Volatile {
		check(d.Open(t))
	}
}

func testEmpty(t *testing.T, d Disk, o Options) {
	reopened(t, d, d.Open(t), o, func(s Store) { wantRange(t, s, 0, 0, 0) })
}

func testAppendAndGet(t *testing.T, d Disk, o Options) {
	s := d.Open(t)
	must(t, s.StoreLog(entry(1, 1)))
	must(t, s.StoreLogs(nil))
	must(t, s.StoreLogs(entries(2, 300, 1)))
	reopened(t, d, s, o, func(s Store) { wantRange(t, s, 1, 300, 1) })
}

func testFields(t *testing.T, d Disk, o Options) {
	s := d.Open(t)
	logs := []*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogNoop},
		{Index: 2, Term: 1<<63 + 7, Type: raft.LogConfiguration, Data: []byte{0}, Extensions: []byte("ext")},
		{Index: 3, Term: 2, Type: raft.LogBarrier, Extensions: []byte{1, 2, 3}},
		{Index: 4, Term: 2, Data: bytes.Repeat([]byte{0xff}, 100), AppendedAt: time.Unix(1, 999999999)},
		{Index: 5, Term: 2, Data: []byte("x"), AppendedAt: time.Now().In(time.FixedZone("there", 3600))},
	}
	must(t, s.StoreLogs(logs))
	reopened(t, d, s, o, func(s Store) {
		for _, l := range logs {
			wantEntry(t, s, l)
		}
		var l raft.Log
		must(t, s.GetLog(1, &l))
		if !l.AppendedAt.IsZero() || l.Data != nil || l.Extensions != nil {
			t.Fatalf("nothing came back as %+v", l)
		}
	})
}

func testDeleteFront(t *testing.T, d Disk, o Options) {
	s := d.Open(t)
	must(t, s.StoreLogs(entries(1, 2000, 1)))
	must(t, s.DeleteRange(1, 1500))
	reopened(t, d, s, o, func(s Store) { wantRange(t, s, 1501, 2000, 1) })
	s = d2(t, d, s, o)
	must(t, s.StoreLogs(entries(2001, 2010, 1)))
	reopened(t, d, s, o, func(s Store) { wantRange(t, s, 1501, 2010, 1) })
}

func testDeleteBack(t *testing.T, d Disk, o Options) {
	s := d.Open(t)
	must(t, s.StoreLogs(entries(1, 2000, 1)))
	must(t, s.DeleteRange(101, 2000))
	reopened(t, d, s, o, func(s Store) { wantRange(t, s, 1, 100, 1) })
	s = d2(t, d, s, o)
	must(t, s.StoreLogs(entries(101, 110, 2)))
	reopened(t, d, s, o, func(s Store) {
		wantEntry(t, s, entry(100, 1))
		wantEntry(t, s, entry(101, 2))
		wantEntry(t, s, entry(110, 2))
	})
}

func testDeleteAll(t *testing.T, d Disk, o Options) {
	s := d.Open(t)
	must(t, s.DeleteRange(1, 10)) // of nothing
	must(t, s.StoreLogs(entries(5, 2000, 1)))
	must(t, s.DeleteRange(5, 2000))
	reopened(t, d, s, o, func(s Store) { wantRange(t, s, 0, 0, 0) })
	s = d2(t, d, s, o)
	must(t, s.StoreLogs(entries(7000, 7010, 2)))
	reopened(t, d, s, o, func(s Store) { wantRange(t, s, 7000, 7010, 2) })
}

// d2 is the store to go on with after reopened.
func d2(t testing.TB, d Disk, s Store, o Options) Store {
	if o.Volatile {
		return s
	}
	return d.Open(t)
}

// testOverwrite stores the last entry again: the new one counts.
func testOverwrite(t *testing.T, d Disk, o Options) {
	s := d.Open(t)
	must(t, s.StoreLogs(entries(1, 10, 1)))
	must(t, s.StoreLogs([]*raft.Log{entry(10, 2), entry(11, 2)}))
	reopened(t, d, s, o, func(s Store) {
		wantEntry(t, s, entry(9, 1))
		wantEntry(t, s, entry(10, 2))
		wantEntry(t, s, entry(11, 2))
	})
}

// testGap stores entries beyond the end, as raft does behind a snapshot.
func testGap(t *testing.T, d Disk, o Options) {
	if o.Gaps {
		t.Skip("this store keeps what is before a gap")
	}
	s := d.Open(t)
	must(t, s.StoreLogs(entries(1, 1000, 1)))
	must(t, s.StoreLogs(entries(5001, 5010, 1)))
	reopened(t, d, s, o, func(s Store) { wantRange(t, s, 5001, 5010, 1) })
	if err := s.StoreLogs([]*raft.Log{entry(5011, 1), entry(5013, 1)}); err == nil && !o.Volatile {
		t.Fatal("entries with a gap between them were stored")
	}
}

func testLargeEntries(t *testing.T, d Disk, o Options) {
	s := d.Open(t)
	var logs []*raft.Log
	for i := range uint64(24) {
		l := entry(i+1, 1)
		l.Data = bytes.Repeat([]byte{byte(i)}, 256<<10)
		logs = append(logs, l)
	}
	for i := 0; i < len(logs); i += 8 {
		must(t, s.StoreLogs(logs[i:i+8]))
	}
	reopened(t, d, s, o, func(s Store) {
		for _, l := range logs {
			wantEntry(t, s, l)
		}
	})
}

// testOwnsItsMemory changes what was stored after it was stored.
func testOwnsItsMemory(t *testing.T, d Disk, o Options) {
	if o.Volatile {
		t.Skip("this store shares memory with its caller")
	}
	s := d.Open(t)
	l := entry(1, 1)
	must(t, s.StoreLog(l))
	copy(l.Data, "overwritten")
	value := []byte("value")
	must(t, s.Set([]byte("key"), value))
	copy(value, "wrong")
	reopened(t, d, s, o, func(s Store) {
		wantEntry(t, s, entry(1, 1))
		got, err := s.Get([]byte("key"))
		must(t, err)
		if string(got) != "value" {
			t.Fatalf("the value became %q", got)
		}
	})
}

func testStable(t *testing.T, d Disk, o Options) {
	s := d.Open(t)
	if _, err := s.Get([]byte("missing")); err == nil || err.Error() != "not found" {
		t.Fatalf("a missing key: %v, want exactly \"not found\"", err)
	}
	if n, err := s.GetUint64([]byte("missing")); !o.ZeroForMissing && (err == nil || err.Error() != "not found") {
		t.Fatalf("a missing number: %d, %v, want exactly \"not found\"", n, err)
	}
	must(t, s.Set([]byte("LastVoteCand"), []byte("a")))
	must(t, s.Set([]byte("LastVoteCand"), []byte("node7.3")))
	must(t, s.SetUint64([]byte("CurrentTerm"), 1<<60))
	must(t, s.StoreLogs(entries(1, 10, 1)))
	must(t, s.SetUint64([]byte("LastVoteTerm"), 9))
	must(t, s.DeleteRange(1, 10))
	reopened(t, d, s, o, func(s Store) {
		got, err := s.Get([]byte("LastVoteCand"))
		must(t, err)
		term, err := s.GetUint64([]byte("CurrentTerm"))
		must(t, err)
		vote, err := s.GetUint64([]byte("LastVoteTerm"))
		must(t, err)
		if string(got) != "node7.3" || term != 1<<60 || vote != 9 {
			t.Fatalf("got %q, %d, %d", got, term, vote)
		}
	})
}

// testConcurrency does what raft does at the same time: one goroutine appends,
// one votes, one compacts, several read.
func testConcurrency(t *testing.T, d Disk, o Options) {
	const last, batch, keep = 600, 3, 50
	s := d.Open(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := uint64(1); i <= last; i += batch {
			if err := s.StoreLogs(entries(i, i+batch-1, 1)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		for i := range uint64(50) {
			if err := s.SetUint64([]byte("CurrentTerm"), i); err != nil {
				t.Error(err)
			}
		}
	})
	reachedEnd := func() bool {
		l, err := s.LastIndex()
		if err != nil {
			t.Error(err)
		}
		return l >= last || t.Failed()
	}
	wg.Go(func() {
		for !reachedEnd() {
			first, _ := s.FirstIndex()
			if l, _ := s.LastIndex(); l > first+2*keep {
				if err := s.DeleteRange(first, l-keep); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 3 {
		wg.Go(func() {
			for !reachedEnd() {
				l, _ := s.LastIndex()
				first, _ := s.FirstIndex()
				for _, i := range []uint64{first, l, (first + l) / 2} {
					var got raft.Log
					err := s.GetLog(i, &got)
					if err == nil && !bytes.Equal(got.Data, entry(i, 1).Data) {
						t.Errorf("entry %d reads %q", i, got.Data)
					} else if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	reopened(t, d, s, o, func(s Store) {
		first, err := s.FirstIndex()
		must(t, err)
		wantRange(t, s, first, last, 1)
	})
}
