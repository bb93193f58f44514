package store

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"cairn/store/journal"
)

// TestParts: a batch is read as it was written, and what is not quite a batch is
// none.
func TestParts(t *testing.T) {
	s := &state{replica: "node.1", first: 1, last: 1}
	whole := appendBatch(nil, []*change{
		{group: &GroupLog{group: 7}, state: s, entries: []stored{{index: 1, value: []byte("entry")}}},
		{group: &GroupLog{group: 8}},
	})
	if found, ok := parts(&journal.Batch{Data: whole}); !ok || len(found) != 2 || found[0].group != 7 || found[1].group != 8 {
		t.Fatalf("parts %+v, %v", found, ok)
	}
	many := bytes.Clone(whole)
	binary.BigEndian.PutUint32(many, 3)
	long := bytes.Clone(whole)
	binary.BigEndian.PutUint32(long[batchFixed+4:], 1<<31)
	for name, b := range map[string]*journal.Batch{
		"lost":            {},
		"empty":           {Data: []byte{}},
		"cut":             {Data: whole[:len(whole)-1]},
		"with a rest":     {Data: append(bytes.Clone(whole), 0)},
		"more parts":      {Data: many},
		"a long part":     {Data: long},
		"a hole in front": {Data: whole, Holes: []journal.Hole{{From: 6, To: 7}}},
	} {
		if found, ok := parts(b); ok {
			t.Errorf("%s: parts %+v", name, found)
		}
	}
	if found, ok := parts(&journal.Batch{Data: whole, Holes: []journal.Hole{{From: 30, To: 31}}}); !ok || len(found) != 2 {
		t.Errorf("a hole in a part hides the other: %+v", found)
	}
}

// TestOneCommit: whatever goes into one commit has the effect that it would have
// one after the other, entries that are moved at the same time included.
func TestOneCommit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		path := ramDir(t)
		o := Options{Segment: tinySegment}
		d := open(t, path, o)
		l, err := d.Logs()
		must(t, err)
		g, err := l.Create(1, "node.1")
		must(t, err)
		w := &twin{log: g, first: 1, term: 1}
		for range rapid.IntRange(1, 4).Draw(rt, "commits") {
			must(t, l.commit(&request{apply: func(txn *txn) error {
				for range rapid.IntRange(1, 6).Draw(rt, "requests") {
					drawRequest(rt, t, txn, w)
				}
				return nil
			}}))
			w.check(t)
			g.index.recent.keep(1, 0)
			w.check(t)
		}
		must(t, d.Close())
		d = open(t, path, o)
		l, err = d.Logs()
		must(t, err)
		w.log, err = l.Open(1, "node.1")
		must(t, err)
		w.check(t)
		must(t, d.Close())
	})
}

// drawRequest adds a request to a commit under way.
func drawRequest(rt *rapid.T, t testing.TB, txn *txn, w *twin) {
	kind := rapid.SampledFrom([]string{"append", "append", "cut front", "cut back", "move"}).Draw(rt, "kind")
	if len(w.terms) == 0 {
		kind = "append"
	}
	switch kind {
	case "append":
		w.term++
		var values [][]byte
		first := w.last() + 1
		for range rapid.IntRange(1, 5).Draw(rt, "n") {
			v, err := newEntry(logEntry(w.last()+1, w.term))
			must(t, err)
			values, w.terms = append(values, v), append(w.terms, w.term)
		}
		must(t, txn.append(w.log, first, values))
	case "cut front":
		n := rapid.IntRange(1, len(w.terms)).Draw(rt, "n")
		must(t, txn.cutFront(w.log, w.first+uint64(n)-1))
		w.first, w.terms = w.first+uint64(n), w.terms[n:]
	case "cut back":
		n := rapid.IntRange(1, len(w.terms)).Draw(rt, "n")
		must(t, txn.cutBack(w.log, w.last()-uint64(n)+1))
		w.terms = w.terms[:len(w.terms)-n]
	case "move": // what was read of a segment before the commit began
		segment := rapid.SampledFrom(w.log.logs.journal.Segments()).Draw(rt, "segment").Number
		found, _ := w.log.index.in(segment, 1, 1<<20)
		var entries []stored
		for _, i := range found {
			v := w.log.copyOf(i, segment)
			entries = append(entries, stored{index: i, sum: entrySumOf(v), moved: true, value: v})
		}
		txn.move(w.log, segment, entries)
	}
}

// TestMoveIsLate: entries that were read to be moved, and were moved, replaced or
// dropped before they are written, stay as they are.
func TestMoveIsLate(t *testing.T) {
	d := open(t, ramDir(t), Options{})
	l, err := d.Logs()
	must(t, err)
	g, err := l.Create(1, "node.1")
	must(t, err)
	gone, err := l.Create(2, "node.1")
	must(t, err)
	must(t, g.StoreLogs(logEntries(1, 9, 2)))
	must(t, gone.StoreLogs(logEntries(1, 9, 2)))
	segment := l.journal.Newest().Number
	var step []moving
	for _, g := range []*GroupLog{g, gone} {
		m := moving{group: g}
		for i := uint64(1); i <= 9; i++ {
			v := g.copyOf(i, segment)
			m.entries = append(m.entries, stored{index: i, sum: entrySumOf(v), moved: true, value: v})
		}
		step = append(step, m)
	}
	must(t, l.commit(&request{apply: func(*txn) error { return l.roll(0) }})) // so that they are in an old one
	must(t, g.DeleteRange(1, 3))
	must(t, g.StoreLogs(logEntries(7, 9, 3)))
	must(t, l.Drop(2))
	again, err := l.Create(2, "node.2")
	must(t, err)
	if !l.move(segment, step) {
		t.Fatal("the log is closed")
	}
	for i := uint64(4); i <= 9; i++ {
		var got raft.Log
		term := uint64(2)
		if i >= 7 {
			term = 3
		}
		g.index.recent.keep(1, 0)
		if err := g.GetLog(i, &got); err != nil || got.Term != term {
			t.Errorf("entry %d is of term %d, %v, want %d", i, got.Term, err, term)
		}
		if at, _ := g.index.place(i); at.segment == segment {
			t.Errorf("entry %d was not moved", i)
		}
	}
	if first, err := g.FirstIndex(); err != nil || first != 4 {
		t.Errorf("the log begins at %d, %v", first, err)
	}
	if last, err := again.LastIndex(); err != nil || last != 0 || l.used[segment] != 0 {
		t.Errorf("the new log of group 2 ends at %d, %v; %d bytes are left", last, err, l.used[segment])
	}
	if !l.move(segment, step) { // once more, of nothing
		t.Fatal("the log is closed")
	}
}
