package store

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/raft"
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
	s := &state{replica: "node.1", first: 5, last: 9, tail: 0x1234, commit: 8, stable: map[string][]byte{
		"CurrentTerm": {0, 0, 0, 0, 0, 0, 0, 3}, "LastVoteCand": []byte("node.2"),
	}}
	snapshot, err := encodeSnapshotHeader(&raft.SnapshotMeta{
		ID: snapshotID(7, 3, 1), Index: 7, Term: 3, ConfigurationIndex: 2,
		Configuration: raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Nonvoter, ID: "node.1", Address: "addr"}}},
	})
	must(t, err)
	for name, got := range map[string][]byte{
		"entry":    entry,
		"record":   encodeRecord(7, s),
		"head":     encodeHead(99, []line{{7, 0xaabbccdd}, {8, 1}}),
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

// FuzzHead: an accepted head is exactly what is written for what it says.
func FuzzHead(f *testing.F) {
	f.Add(encodeHead(7, []line{{1, 2}, {3, 4}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if txid, lines, err := decodeHead(b); err == nil && !bytes.Equal(encodeHead(txid, lines), b) {
			t.Fatalf("%x says %d, %v", b, txid, lines)
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
