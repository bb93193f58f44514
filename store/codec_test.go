package store

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cairn/store/journal"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden pins the formats. A change of one needs a new Format and a reader
// for the old one.
func TestGolden(t *testing.T) {
	entry, err := newEntry(&raft.Log{
		Index: 5, Term: 3, Type: raft.LogConfiguration, Data: []byte("data"), Extensions: []byte("ext"),
		AppendedAt: time.Unix(1_700_000_000, 123_456_789),
	})
	must(t, err)
	sealEntry(entry, 7, 5, 0xdecafbad)
	s := &state{replica: "node.1", first: 5, last: 5, tail: entrySumOf(entry), stable: map[string][]byte{
		"CurrentTerm": {0, 0, 0, 0, 0, 0, 0, 3}, "LastVoteCand": []byte("node.2"),
	}}
	snapshot, err := encodeSnapshotHeader(&raft.SnapshotMeta{
		ID: snapshotID(7, 3, 1), Index: 7, Term: 3, ConfigurationIndex: 2,
		Configuration: raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Nonvoter, ID: "node.1", Address: "addr"}}},
	})
	must(t, err)
	for name, got := range map[string][]byte{
		"entry":  entry,
		"record": appendState(nil, s),
		"batch": appendBatch(nil, []*change{
			{group: &GroupLog{group: 7}, state: s, entries: []stored{{index: 5, value: entry}}},
			{group: &GroupLog{group: 3}}, // dropped
		}),
		"segments": encodeSegments([]journal.Segment{{Number: 7, Size: 16 << 20}, {Number: 9, Size: 512}}),
		"witness":  witness(s).Data,
		"snapshot": snapshot,
		"file":     seal("name", []byte("content\n")),
		"register": register{
			7: {Group: 7, Replica: "node.1"}, 3: {Group: 3, Replica: "node.2", Quarantined: true},
		}.encode(),
	} {
		path := filepath.Join("testdata", name+".hex")
		dump := []byte(hex.Dump(got))
		if *update {
			must(t, os.MkdirAll("testdata", 0o700))
			must(t, os.WriteFile(path, dump, 0o600))
		}
		want, err := os.ReadFile(path)
		must(t, err)
		if !bytes.Equal(dump, want) {
			t.Errorf("%s is now\n%swant\n%s", name, dump, want)
		}
	}
}

// FuzzEntry: a stored entry is refused, or is the encoding of what it decodes to.
func FuzzEntry(f *testing.F) {
	v, err := newEntry(&raft.Log{Term: 3, Data: []byte("data"), Extensions: []byte("ext")})
	must(f, err)
	f.Add(v)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, v []byte) {
		if _, _, err := checkEntry(v, 7, 5); err == nil {
			return // the fuzzer found a right checksum, which is fine
		}
		if len(v) < entryHeader {
			return
		}
		v = bytes.Clone(v)
		prev := sealEntry(v, 7, 5, 42)
		sum, link, err := checkEntry(v, 7, 5)
		if err != nil {
			return // a length out of bounds
		}
		if sum != prev || link != 42 {
			t.Fatalf("sums %x, %x", sum, link)
		}
		var l raft.Log
		openEntry(v, 5, &l)
		again, err := newEntry(&l)
		if err != nil || !bytes.Equal(again[8:], v[8:]) {
			t.Fatalf("%x is encoded as %x, %v", v, again, err)
		}
		for _, place := range []struct {
			group uint32
			index uint64
		}{{8, 5}, {7, 6}} {
			if _, _, err := checkEntry(v, place.group, place.index); err == nil {
				t.Fatalf("entry 5 of group 7 passes for entry %d of group %d", place.index, place.group)
			}
		}
	})
}

// FuzzState: decodeState and appendState are inverse, but for the order of keys.
func FuzzState(f *testing.F) {
	f.Add(appendState(nil, &state{replica: "node.1", first: 1, last: 2, stable: map[string][]byte{"k": []byte("v")}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			return
		}
		again, err := decodeState(appendState(nil, s))
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}

// FuzzBatch: whatever a batch is, also one with holes, reading it ends. What is
// accepted and has no holes is written and read back the same.
func FuzzBatch(f *testing.F) {
	s := &state{replica: "node.1", first: 1, last: 2, stable: map[string][]byte{"k": []byte("v")}}
	whole := appendBatch(nil, []*change{
		{group: &GroupLog{group: 7}, state: s, entries: []stored{{index: 1, value: []byte("one")}, {index: 2}}},
		{group: &GroupLog{group: 8}},
	})
	f.Add(whole, 0, 0)
	f.Add(whole, 30, 40)
	f.Add([]byte{}, 0, 0)
	f.Fuzz(func(t *testing.T, b []byte, from, to int) {
		batch := &journal.Batch{Data: b}
		if 0 <= from && from < to && to <= len(b) {
			batch.Holes = []journal.Hole{{From: from, To: to}}
		}
		found, ok := parts(batch)
		if !ok {
			return
		}
		var changes []*change
		for _, p := range found {
			if p.from < 0 || p.from > p.to || p.to > len(b) {
				t.Fatalf("a part %+v in %d bytes", p, len(b))
			}
			if !batch.Intact(p.from, p.to) {
				return
			}
			s, entries, err := openPart(b[p.from:p.to])
			if err != nil {
				return
			}
			for _, e := range entries {
				if at := p.from + e.at; !bytes.Equal(b[at:at+len(e.value)], e.value) {
					t.Fatalf("entry %d is not at %d", e.index, at)
				}
			}
			changes = append(changes, &change{group: &GroupLog{group: p.group}, state: s, entries: entries})
		}
		again := appendBatch(nil, changes)
		found, ok = parts(&journal.Batch{Data: again})
		if !ok || len(found) != len(changes) {
			t.Fatalf("%x was written as %x, which is refused", b, again)
		}
		for i, p := range found {
			s, entries, err := openPart(again[p.from:p.to])
			if err != nil || p.group != changes[i].group.group || !reflect.DeepEqual(s, changes[i].state) || len(entries) != len(changes[i].entries) {
				t.Fatalf("group %d became group %d with %+v, %v", changes[i].group.group, p.group, s, err)
			}
			for k, e := range entries {
				if was := changes[i].entries[k]; e.index != was.index || !bytes.Equal(e.value, was.value) {
					t.Fatalf("entry %d became entry %d", was.index, e.index)
				}
			}
		}
	})
}

// FuzzSegments: what is accepted is written and read back the same.
func FuzzSegments(f *testing.F) {
	f.Add([]byte("1 512\n3 16777216\n"))
	f.Add([]byte("3 512\n1 512\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := decodeSegments(b)
		if err != nil {
			return
		}
		again, err := decodeSegments(encodeSegments(list))
		if err != nil || !slices.Equal(list, again) {
			t.Fatalf("%v became %v, %v", list, again, err)
		}
		for i, s := range list {
			if s.Number == 0 || i > 0 && s.Number <= list[i-1].Number || s.Size <= 0 || s.Size%journal.SectorSize != 0 {
				t.Fatalf("%v was accepted", list)
			}
		}
	})
}

// FuzzRegister: what is accepted is written and read back the same.
func FuzzRegister(f *testing.F) {
	f.Add([]byte("7 node.1 live\n8 node.2 quarantined\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRegister(b)
		if err != nil {
			return
		}
		again, err := decodeRegister(r.encode())
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Fatalf("%v became %v, %v", r, again, err)
		}
	})
}
