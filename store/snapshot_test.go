package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

func snapshots(t testing.TB, path string) *Snapshots {
	t.Helper()
	s, err := open(t, path, Options{}).Snapshots("p0001")
	must(t, err)
	return s
}

// newest reads the snapshot that raft is offered: its index and content.
func newest(t testing.TB, s *Snapshots) (uint64, string) {
	t.Helper()
	metas, err := s.List()
	must(t, err)
	if len(metas) != 1 {
		t.Fatalf("raft is offered %d snapshots", len(metas))
	}
	meta, content, err := s.Open(metas[0].ID)
	must(t, err)
	data, err := io.ReadAll(content)
	must(t, err)
	must(t, content.Close())
	if int64(len(data)) != meta.Size || !reflect.DeepEqual(meta, metas[0]) {
		t.Fatalf("%d bytes with %+v and %+v", len(data), meta, metas[0])
	}
	return meta.Index, string(data)
}

func TestSnapshots(t *testing.T) {
	path := ramDir(t)
	s := snapshots(t, path)
	if metas, err := s.List(); err != nil || len(metas) != 0 {
		t.Fatalf("at first: %v, %v", metas, err)
	}
	must(t, s.Verify(0, 0))
	configuration := raft.Configuration{Servers: []raft.Server{
		{Suffrage: raft.Voter, ID: "a.1", Address: "a.1"},
		{Suffrage: raft.Nonvoter, ID: "b.22", Address: "b.22"},
	}}
	big := strings.Repeat("0123456789", 100_000)
	for i, content := range []string{"", "one", big} {
		sink, err := s.Create(1, uint64(10*i+10), 4, configuration, 9, nil)
		must(t, err)
		for rest := content; rest != ""; {
			n := min(len(rest), 33_333)
			_, err := io.WriteString(sink, rest[:n])
			must(t, err)
			rest = rest[n:]
		}
		if metas, _ := s.List(); len(metas) > 0 && metas[0].ID == sink.ID() {
			t.Fatal("a snapshot is visible before it is closed")
		}
		must(t, sink.Close())
		must(t, sink.Close())
		must(t, sink.Cancel())
		index, got := newest(t, s)
		if index != uint64(10*i+10) || got != content {
			t.Fatalf("snapshot %d came back as one of %d with %d bytes", i, index, len(got))
		}
	}
	metas, err := s.List()
	must(t, err)
	want := &raft.SnapshotMeta{
		Version: 1, ID: metas[0].ID, Index: 30, Term: 4, Configuration: configuration,
		ConfigurationIndex: 9, Size: int64(len(big)),
	}
	if !reflect.DeepEqual(metas[0], want) {
		t.Fatalf("got %+v, want %+v", metas[0], want)
	}
	if ids, err := s.ids(); err != nil || len(ids) != retain {
		t.Fatalf("%v are kept, %v", ids, err)
	}
	must(t, s.dir.Close())
	s = snapshots(t, path)
	if index, got := newest(t, s); index != 30 || got != big {
		t.Fatalf("after a restart it is of %d with %d bytes", index, len(got))
	}
	must(t, s.dir.DropSnapshots("p0001"))
	must(t, s.dir.DropSnapshots("p0001"))
	s, err = s.dir.Snapshots("p0001")
	must(t, err)
	if metas, err := s.List(); err != nil || len(metas) != 0 {
		t.Fatalf("after the drop: %v, %v", metas, err)
	}
}

// TestSnapshotGivenUp: neither Cancel nor a crash leaves anything.
func TestSnapshotGivenUp(t *testing.T) {
	path := ramDir(t)
	s := snapshots(t, path)
	writeSnapshot(t, s, 5, "good")
	for _, end := range []func(raft.SnapshotSink){
		func(k raft.SnapshotSink) { must(t, k.Cancel()) },
		func(k raft.SnapshotSink) { must(t, k.(*sink).w.Flush()); must(t, k.(*sink).f.Close()) }, // the power goes
	} {
		sink, err := s.Create(1, 50, 3, raft.Configuration{}, 0, nil)
		must(t, err)
		_, err = io.WriteString(sink, "bad")
		must(t, err)
		end(sink)
	}
	must(t, s.dir.Close())
	s = snapshots(t, path)
	if index, got := newest(t, s); index != 5 || got != "good" {
		t.Fatalf("the newest is of %d, %q", index, got)
	}
	entries, err := os.ReadDir(s.path)
	must(t, err)
	if len(entries) != 1 {
		t.Fatalf("left behind: %v", entries)
	}
}

// TestSnapshotOrder: what counts is the index; the one just made is never
// deleted, because raft is about to open it.
func TestSnapshotOrder(t *testing.T) {
	s := snapshots(t, ramDir(t))
	for _, index := range []uint64{200, 300, 1 << 40} {
		writeSnapshot(t, s, index, fmt.Sprint(index))
	}
	sink, err := s.Create(1, 150, 3, raft.Configuration{}, 0, nil)
	must(t, err)
	must(t, sink.Close())
	_, content, err := s.Open(sink.ID())
	must(t, err)
	must(t, content.Close())
	if index, _ := newest(t, s); index != 1<<40 {
		t.Fatalf("the newest is of %d", index)
	}
	if _, _, err := s.Open(snapshotID(200, 3, 1)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the oldest: %v, want ErrNotExist", err)
	}
}

// TestSnapshotRefuses what it could not give back.
func TestSnapshotRefuses(t *testing.T) {
	s := snapshots(t, ramDir(t))
	long := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(strings.Repeat("x", 256))}}}
	many := raft.Configuration{Servers: make([]raft.Server, maxServers+1)}
	for name, err := range map[string]error{
		"version 0":       errOf(s.Create(0, 1, 1, raft.Configuration{}, 0, nil)),
		"a long id":       errOf(s.Create(1, 1, 1, long, 0, nil)),
		"many members":    errOf(s.Create(1, 1, 1, many, 0, nil)),
		"a name with a /": errOf(s.dir.Snapshots("p/1")),
	} {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	sink, err := s.Create(1, 1, 1, raft.Configuration{}, 0, nil)
	must(t, err)
	must(t, sink.Cancel())
	if _, err := sink.Write([]byte("late")); err == nil {
		t.Error("a write after Cancel was accepted")
	}
}

// TestSnapshotVerify: a log must go on where the snapshot ends, and a damaged
// snapshot is never passed over for an older one.
func TestSnapshotVerify(t *testing.T) {
	path := ramDir(t)
	s := snapshots(t, path)
	writeSnapshot(t, s, 50, "old")
	writeSnapshot(t, s, 100, "new")
	for _, test := range []struct {
		first, last uint64
		ok          bool
	}{{0, 0, true}, {1, 30, true}, {1, 200, true}, {100, 200, true}, {101, 200, true}, {102, 200, false}} {
		if err := s.Verify(test.first, test.last); (err == nil) != test.ok || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("a log %d..%d behind a snapshot of 100: %v", test.first, test.last, err)
		}
	}
	ids, err := s.ids()
	must(t, err)
	file := filepath.Join(s.path, ids[0]+snapshotSuffix)
	b, err := os.ReadFile(file)
	must(t, err)
	for name, bad := range map[string][]byte{
		"content": bytes.Replace(b, []byte("new"), []byte("nww"), 1), "header": append([]byte("x"), b[1:]...),
		"cut": b[:len(b)-1], "longer": append(bytes.Clone(b), 0), "empty": nil,
	} {
		must(t, os.WriteFile(file, bad, 0o600))
		if err := s.Verify(0, 0); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: Verify says %v, want ErrDamaged", name, err)
		}
		if _, _, err := s.Open(ids[0]); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: Open says %v, want ErrDamaged", name, err)
		}
		if metas, err := s.List(); err == nil && metas[0].Index != 100 {
			t.Errorf("%s: raft is offered a snapshot of %d", name, metas[0].Index)
		}
	}
	// Rot between Open's check and the last read gives an error, not an end.
	must(t, os.WriteFile(file, b, 0o600))
	_, content, err := s.Open(ids[0])
	must(t, err)
	must(t, os.WriteFile(file, bytes.Replace(b, []byte("new"), []byte("nww"), 1), 0o600))
	if _, err := io.ReadAll(content); !errors.Is(err, ErrDamaged) {
		t.Errorf("content that changed while it was read: %v, want ErrDamaged", err)
	}
	must(t, content.Close())
}

// FuzzSnapshotHeader: no header makes it panic or allocate beyond its limits,
// and an accepted one is exactly what is written for what it says.
func FuzzSnapshotHeader(f *testing.F) {
	id := snapshotID(7, 3, 1)
	head, err := encodeSnapshotHeader(&raft.SnapshotMeta{ID: id, Index: 7, Term: 3, Configuration: raft.Configuration{
		Servers: []raft.Server{{ID: "a", Address: "b"}},
	}})
	must(f, err)
	f.Add(head)
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(b); n >= 4 { // a right checksum, to get past it
			b = append(bytes.Clone(b[:n-4]), 0, 0, 0, 0)
			sum := snapshotSum(id, b[:n-4])
			b[n-4], b[n-3], b[n-2], b[n-1] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
		}
		meta, n, err := decodeSnapshotHeader(bytes.NewReader(b), id, int64(len(b)+snapshotTrailer))
		if err != nil {
			return
		}
		if again, err := encodeSnapshotHeader(meta); err != nil || !bytes.Equal(again, b[:n]) {
			t.Fatalf("%x is written as %x, %v", b[:n], again, err)
		}
	})
}
