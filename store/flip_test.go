package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// Bit flips: whatever byte of whatever file changes while the node is down, each
// part of the directory reads exactly as before, or is refused as damaged. A part
// is a small file, the register, a group's log with its stable keys, the
// controller's log with its, or the snapshots of a group.

// logEntry makes an entry whose content follows from its place, of 1 to 700 bytes.
func logEntry(index, term uint64) *raft.Log {
	data := fmt.Sprintf("entry %d of term %d ", index, term)
	return &raft.Log{
		Index: index, Term: term, Type: raft.LogType(index % 3),
		Data:       []byte(strings.Repeat(data, int(1+index*7%30))),
		Extensions: []byte(data)[:index%5],
		AppendedAt: time.Unix(int64(index), 5),
	}
}

func logEntries(first, last, term uint64) (logs []*raft.Log) {
	for i := first; i <= last; i++ {
		logs = append(logs, logEntry(i, term))
	}
	return logs
}

type logStore interface {
	raft.LogStore
	raft.StableStore
}

// liveALittle does to a log what raft does: votes, appends in small batches, a
// conflict, a compaction. So the file has pages of the past in it.
func liveALittle(t testing.TB, s logStore, entries uint64) {
	t.Helper()
	for i := uint64(1); i <= entries; i += 7 {
		must(t, s.StoreLogs(logEntries(i, i+6, 1)))
		must(t, s.SetUint64([]byte("CurrentTerm"), i))
	}
	last, err := s.LastIndex()
	must(t, err)
	must(t, s.DeleteRange(1, entries/3))
	must(t, s.DeleteRange(last-10, last))
	must(t, s.StoreLogs(logEntries(last-10, last+2, 2)))
	must(t, s.SetUint64([]byte("LastVoteTerm"), 77))
	must(t, s.Set([]byte("LastVoteCand"), []byte("node9.4")))
	must(t, s.SetUint64([]byte("CurrentTerm"), 78))
}

// flipSegment is the size of a segment here: so small that most of it is in use,
// and that there are several.
const flipSegment = 64 << 10

// furnish fills a directory with some of everything.
func furnish(t testing.TB, path string) {
	t.Helper()
	d, err := Open(path, Options{Segment: flipSegment})
	must(t, err)
	must(t, d.WriteFile("identity", []byte("01JABCDEFGHJKMNPQRSTVWXYZ0")))
	must(t, d.WriteFile("addresses.json", []byte(strings.Repeat(`{"node":"10.0.0.1:7400"}`, 20))))
	l, err := d.Logs()
	must(t, err)
	for g := range uint32(4) {
		log, err := l.Create(g*100, fmt.Sprintf("node.%d", g))
		must(t, err)
		liveALittle(t, log, 60*uint64(g))
	}
	must(t, l.Quarantine(0))
	// The newest segment: the last that one group writes is a batch of several
	// sectors, and of another one there are many small ones.
	large, err := l.Open(200, "node.2")
	must(t, err)
	next, err := large.LastIndex()
	must(t, err)
	must(t, large.StoreLogs(logEntries(next+1, next+40, 3)))
	small, err := l.Open(300, "node.3")
	must(t, err)
	next, err = small.LastIndex()
	must(t, err)
	for i := range uint64(60) {
		must(t, small.StoreLog(logEntry(next+1+i, 3)))
	}
	c, err := d.OpenController("node.1")
	must(t, err)
	liveALittle(t, c, 150)
	for _, name := range []string{"controller", "p0007"} {
		s, err := d.Snapshots(name)
		must(t, err)
		for i := range uint64(3) {
			writeSnapshot(t, s, 100*i+1, strings.Repeat("state ", 300*int(i)))
		}
	}
	must(t, d.Close())
}

func writeSnapshot(t testing.TB, s *Snapshots, index uint64, content string) {
	t.Helper()
	sink, err := s.Create(1, index, 3, raft.Configuration{Servers: []raft.Server{
		{ID: "node.1", Address: "node.1"}, {Suffrage: raft.Nonvoter, ID: "node2.1", Address: "node2.1"},
	}}, index/2, nil)
	must(t, err)
	_, err = io.WriteString(sink, content)
	must(t, err)
	must(t, sink.Close())
}

// observe opens a directory and tells what each part of it says. A part that is
// refused is absent; errors other than ErrDamaged and ErrForeign are told.
func observe(path string) (parts map[string]string) {
	parts = map[string]string{}
	note := func(part, what string, err error) {
		switch {
		case err == nil:
			parts[part] = what
		case !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign):
			parts[part] = "unexpected error: " + err.Error()
		}
	}
	d, err := Open(path, Options{Segment: flipSegment, OnFatal: func(err error) { panic(err) }})
	if err != nil {
		note("directory", "", err)
		return parts
	}
	defer d.Close()
	for _, name := range []string{"identity", "addresses.json"} {
		data, err := d.ReadFile(name)
		note("file "+name, string(data), err)
	}
	infos, err := d.Replicas()
	note("register", fmt.Sprint(infos), err)
	l, err := d.Logs()
	note("logs", "", err)
	if err != nil {
		if err := restartLogs(d); err != nil {
			parts["logs"] = "it cannot begin anew: " + err.Error()
		}
	} else {
		for _, info := range l.Groups() {
			g, err := l.Open(info.Group, info.Replica)
			part := fmt.Sprintf("group %d", info.Group)
			if err == nil {
				note(part, info.Replica+readLog(g), nil)
				continue
			}
			note(part, "", err)
			if err := replaceGroup(l, info.Group); err != nil {
				parts[part] = "it cannot be replaced: " + err.Error()
			}
		}
	}
	c, err := d.OpenController("node.1")
	if err == nil {
		note("controller", readLog(c), nil)
	} else {
		note("controller", "", err)
		if err := restartController(d); err != nil {
			parts["controller"] = "it cannot begin anew: " + err.Error()
		}
	}
	for _, name := range []string{"controller", "p0007"} {
		what, err := readSnapshots(d, name)
		note("snapshots "+name, what, err)
	}
	return parts
}

// restartLogs does what a node does whose log is damaged: it begins anew.
func restartLogs(d *Dir) error {
	if _, err := d.QuarantineLogs(); err != nil {
		return err
	}
	l, err := d.Logs()
	if err != nil {
		return err
	}
	return replaceGroup(l, 100)
}

func restartController(d *Dir) error {
	if err := d.DropController(); err != nil {
		return err
	}
	c, err := d.OpenController("node.2")
	if err != nil {
		return err
	}
	return c.StoreLogs(logEntries(1, 10, 1))
}

// replaceGroup puts a new replica in the place of a damaged one.
func replaceGroup(l *Logs, group uint32) error {
	if err := l.Quarantine(group); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	g, err := l.Create(group, "fresh.1")
	if err != nil {
		return err
	}
	return g.StoreLogs(logEntries(1, 10, 1))
}

// readLog tells everything that a log says.
func readLog(s logStore) string {
	var b strings.Builder
	first, err := s.FirstIndex()
	last, err2 := s.LastIndex()
	fmt.Fprintln(&b, first, last, err, err2)
	for i := first; i <= last && i > 0; i++ {
		var l raft.Log
		err := s.GetLog(i, &l)
		fmt.Fprintf(&b, "%d %d %v %q %q %v %v\n", l.Index, l.Term, l.Type, l.Data, l.Extensions, l.AppendedAt, err)
	}
	for _, key := range []string{"CurrentTerm", "LastVoteTerm", "LastVoteCand"} {
		v, err := s.Get([]byte(key))
		fmt.Fprintf(&b, "%s %q %v\n", key, v, err)
	}
	return b.String()
}

func readSnapshots(d *Dir, name string) (string, error) {
	s, err := d.Snapshots(name)
	if err != nil {
		return "", err
	}
	if err := s.Verify(0, 0); err != nil {
		return "", err
	}
	metas, err := s.List()
	if err != nil || len(metas) == 0 {
		return "", errors.Join(err, errors.New("no snapshots"))
	}
	meta, content, err := s.Open(metas[0].ID)
	if err != nil {
		return "", err
	}
	defer content.Close()
	data, err := io.ReadAll(content)
	return fmt.Sprintf("%+v %s", meta, data), err
}

const pageSize = 4096

// mutation changes something in a directory and says what.
type mutation func(t testing.TB, rng *rand.Rand, dir string) string

func TestBitFlips(t *testing.T) {
	root := ramDir(t)
	original := filepath.Join(root, "original")
	furnish(t, original)
	if list := segmentList(t, original); len(list) < 3 {
		t.Fatalf("there are segments %v only", list)
	}
	want := observe(clone(t, original, filepath.Join(root, "untouched")))
	if len(want) != 2+2+4-1+1+2 { // files, register and logs, groups but the quarantined, controller, snapshots
		t.Fatalf("the untouched directory has parts %v", slices.Sorted(maps.Keys(want)))
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	places := 200
	if *long {
		places = 5_000
	}
	damage := func(name string, change mutation) {
		t.Run(name, func(t *testing.T) {
			refused := 0
			for range places {
				copied := clone(t, original, filepath.Join(root, "changed"))
				what := change(t, rng, copied)
				got := observe(copied)
				if !sameOrRefused(t, want, got) {
					t.Fatalf("after %s (seed %d)", what, seed)
				}
				if len(got) < len(want) {
					refused++
				}
			}
			t.Logf("%d of %d changes were refused, the others changed nothing that is read", refused, places)
			if refused == 0 {
				t.Error("not one change was noticed: the test tests nothing")
			}
		})
	}
	classes := fileClasses(t, original)
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		damage(class, inFile(classes[class], flip))
	}
	damage("references in "+controllerLog, inFile(classes[controllerLog], repoint))
	damage("sectors exchanged", exchangeSectors)
	damage("a sector of zeros", zeroSector)
}

// inFile changes the bytes of one of some files.
func inFile(files []string, edit func(testing.TB, *rand.Rand, []byte) int) mutation {
	return func(t testing.TB, rng *rand.Rand, dir string) string {
		t.Helper()
		file := files[rng.IntN(len(files))]
		b, err := os.ReadFile(filepath.Join(dir, file))
		must(t, err)
		at := edit(t, rng, b)
		must(t, os.WriteFile(filepath.Join(dir, file), b, 0o600))
		return fmt.Sprintf("a change at byte %d of %s", at, file)
	}
}

// sameOrRefused says whether every part that got has reads as in want.
func sameOrRefused(t *testing.T, want, got map[string]string) bool {
	ok := true
	for part, what := range got {
		if was, known := want[part]; !known || was != what {
			t.Errorf("%s reads otherwise:\ngot  %.2000s\nwant %.2000s", part, what, was)
			ok = false
		}
	}
	return ok
}

// fileClasses groups a directory's files by what can be in them.
func fileClasses(t testing.TB, dir string) map[string][]string {
	classes := map[string][]string{}
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if name == lockFile {
			return err // says nothing
		}
		class := strings.Split(name, string(filepath.Separator))[0]
		if class == controllerDir {
			class = e.Name()
		}
		if name == filepath.Join(logsDir, "spare") {
			return err // says nothing
		}
		classes[class] = append(classes[class], name)
		return err
	}))
	return classes
}

// clone copies a directory over to, which it empties first.
func clone(t testing.TB, from, to string) string {
	t.Helper()
	must(t, os.RemoveAll(to))
	must(t, os.CopyFS(to, os.DirFS(from)))
	return to
}

// flip changes one byte of a file: one bit of it, or several.
func flip(t testing.TB, rng *rand.Rand, b []byte) (at int) {
	t.Helper()
	at = rng.IntN(len(b))
	if rng.IntN(2) == 0 {
		b[at] ^= 1 << rng.IntN(8)
	} else {
		b[at] ^= byte(1 + rng.IntN(255))
	}
	return at
}

// repoint takes eight bytes that can be a reference to a page of a bbolt file
// and makes them one to another page: what a flip rarely hits, and what brings
// pages of the past back.
func repoint(t testing.TB, rng *rand.Rand, b []byte) (at int) {
	t.Helper()
	pages := uint64(len(b) / pageSize)
	for range 1_000_000 {
		at = 2*pageSize + rng.IntN(len(b)-2*pageSize-8)
		if ref := binary.LittleEndian.Uint64(b[at:]); 2 <= ref && ref < pages {
			binary.LittleEndian.PutUint64(b[at:], 2+rng.Uint64N(pages-2))
			return at
		}
	}
	t.Fatal("found no reference")
	return 0
}
