package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"cairn/store/journal"
)

func openLogs(t testing.TB, path string) (*Dir, *Logs) {
	t.Helper()
	d := open(t, path, Options{})
	l, err := d.Logs()
	must(t, err)
	return d, l
}

// TestRegister: a node knows at start what it runs, and an index of one group
// says nothing of another.
func TestRegister(t *testing.T) {
	path := ramDir(t)
	d, l := openLogs(t, path)
	for _, group := range []uint32{7, 3, 1 << 31} {
		g, err := l.Create(group, fmt.Sprintf("node.%d", group))
		must(t, err)
		must(t, g.StoreLogs(logEntries(uint64(group), uint64(group)+3, 1)))
	}
	if again, err := d.Logs(); err != nil || again != l {
		t.Fatalf("the log was opened twice: %v", err)
	}
	must(t, l.Drop(3))
	must(t, l.Drop(3)) // of nothing
	must(t, d.Close())

	d, l = openLogs(t, path)
	if got := fmt.Sprint(l.Groups()); got != "[{7 node.7 false <nil> } {2147483648 node.2147483648 false <nil> }]" {
		t.Fatalf("the register says %s", got)
	}
	g, err := l.Open(1<<31, "node.2147483648")
	must(t, err)
	if same, err := l.Open(1<<31, "node.2147483648"); err != nil || same != g {
		t.Fatalf("the second Open gave another log: %v", err)
	}
	if first, _ := g.FirstIndex(); first != 1<<31 || g.Replica() != "node.2147483648" {
		t.Fatalf("the log of %s begins at %d", g.Replica(), first)
	}
	if _, err := l.Open(3, "node.3"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a dropped group: %v", err)
	}
	if _, err := l.Create(3, "node.3.2"); err != nil {
		t.Fatalf("a group that was dropped cannot come back: %v", err)
	}
	must(t, d.Close())
}

// TestDropped: a log that was dropped answers nothing any more, and nothing of it
// is left after the next start.
func TestDropped(t *testing.T) {
	path := ramDir(t)
	d, l := openLogs(t, path)
	g, err := l.Create(1, "node.1")
	must(t, err)
	must(t, g.StoreLogs(logEntries(1, 1000, 1)))
	must(t, l.Drop(1))
	_, err1 := g.FirstIndex()
	_, err2 := g.Get([]byte("CurrentTerm"))
	for i, err := range []error{err1, err2, g.GetLog(1, new(raft.Log)), g.StoreLog(logEntry(1, 1)), g.Set([]byte("k"), nil), g.DeleteRange(1, 2)} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("call %d: %v, want ErrClosed", i, err)
		}
	}
	for segment, n := range l.used {
		if n != 0 {
			t.Errorf("segment %d has %d bytes of entries, and there are no groups", segment, n)
		}
	}
	if len(l.live) > 0 || len(g.index.places) > 0 {
		t.Error("the dropped group is still known")
	}
	before := l.journal.Newest().Number
	must(t, d.Close())
	_, l = openLogs(t, path)
	if all := l.journal.Segments(); len(all) != 1 || all[0].Number <= before {
		t.Errorf("data of the dropped group is still there: segments %v", all)
	}
	if len(l.live) > 0 {
		t.Error("the dropped group came back")
	}
}

// TestQuarantine: a quarantined replica's name is never used again, its group is.
func TestQuarantine(t *testing.T) {
	path := ramDir(t)
	d, l := openLogs(t, path)
	_, err := l.Create(1, "node.1")
	must(t, err)
	must(t, l.Quarantine(1))
	for range 2 { // now, and after a restart
		if _, err := l.Open(1, "node.1"); !errors.Is(err, ErrDamaged) {
			t.Fatalf("Open of a quarantined replica: %v", err)
		}
		if _, err := l.Create(1, "node.1"); err == nil {
			t.Fatal("the name of a quarantined replica was used again")
		}
		must(t, d.Close())
		d, l = openLogs(t, path)
	}
	_, err = l.Create(1, "node.2")
	must(t, err)
	if got := fmt.Sprint(l.Groups()); got != "[{1 node.2 false <nil> }]" {
		t.Fatalf("the register says %s", got)
	}
}

// TestRename: a log changes its owner's name and nothing else, and a crash at any
// point of it leaves the old name or the new one, with the same log.
func TestRename(t *testing.T) {
	path := ramDir(t)
	d, l := openLogs(t, path)
	g, err := l.Create(1, "node.1")
	must(t, err)
	must(t, g.StoreLogs(logEntries(1, 20, 1)))
	must(t, g.SetUint64([]byte("CurrentTerm"), 7))
	if err := l.Rename(1, "node.2", "node.9"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a log was taken from whom it is not: %v", err)
	}
	want := func(name, old string) {
		t.Helper()
		if _, err := l.Open(1, old); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the log is open to its old name: %v", err)
		}
		g, err := l.Open(1, name)
		must(t, err)
		wantLog(t, g, 1, 20)
		if term, err := g.GetUint64([]byte("CurrentTerm")); err != nil || term != 7 || g.Replica() != name {
			t.Fatalf("%s is at term %d: %v", g.Replica(), term, err)
		}
		if raw, err := d.readRegister(); err != nil || raw[1] != (GroupInfo{Group: 1, Replica: name}) {
			t.Fatalf("the register has %+v, %v", raw[1], err)
		}
	}
	must(t, l.Rename(1, "node.1", "node.2"))
	want("node.2", "node.1")
	must(t, d.Close())
	d, l = openLogs(t, path)
	want("node.2", "node.1")

	// A crash between the register and the log, and one between the log and the
	// register.
	for _, was := range []string{"node.2", "node.3"} {
		must(t, d.writeRegister(register{1: {Group: 1, Replica: "node.3", was: was}}))
		for range 2 {
			must(t, d.Close())
			d, l = openLogs(t, path)
			want("node.3", "node.2")
		}
	}
}

// TestCrashWithinCreateAndDrop: what nobody claims is removed at the next start.
func TestCrashWithinCreateAndDrop(t *testing.T) {
	path := ramDir(t)
	d, l := openLogs(t, path)
	for group := range uint32(3) {
		g, err := l.Create(group, "node.1")
		must(t, err)
		must(t, g.StoreLogs(logEntries(1, 20, 1)))
	}
	// The register before Create wrote it, or after Drop did; the file otherwise.
	must(t, d.writeRegister(l.register.without(1).with(GroupInfo{Group: 2, Replica: "node.1", Quarantined: true})))
	must(t, d.Close())

	_, l = openLogs(t, path)
	if got := fmt.Sprint(l.Groups()); got != "[{0 node.1 false <nil> } {2 node.1 true <nil> }]" {
		t.Fatalf("the register says %s", got)
	}
	if len(l.live) != 1 {
		t.Fatalf("%d groups have a record", len(l.live))
	}
	g, err := l.Open(0, "node.1")
	must(t, err)
	wantLog(t, g, 1, 20)
	for _, group := range []uint32{1, 2} {
		g, err := l.Create(group, "node.2")
		must(t, err)
		if last, err := g.LastIndex(); err != nil || last != 0 {
			t.Fatalf("a new log of group %d ends at %d, %v", group, last, err)
		}
	}
}

// TestLostLogs: files that are missing, or do not belong together, are damage of
// all groups; QuarantineLogs gets the node going again and remembers the names.
func TestLostLogs(t *testing.T) {
	tests := []struct {
		name   string
		damage func(t *testing.T, path string)
		lost   string
	}{
		{"no log", func(t *testing.T, path string) { must(t, os.RemoveAll(filepath.Join(path, logsDir))) }, "[{1 node.1 true <nil> }]"},
		{"no register", func(t *testing.T, path string) { must(t, os.Remove(filepath.Join(path, registerFile))) }, "[]"},
		{"no list of segments", func(t *testing.T, path string) {
			must(t, os.Remove(filepath.Join(path, logsDir, segmentsFile)))
		}, "[{1 node.1 true <nil> }]"},
		{"an empty list of segments", func(t *testing.T, path string) {
			must(t, disk{OS{}}.writeSealed(filepath.Join(path, logsDir, segmentsFile), nil))
		}, "[{1 node.1 true <nil> }]"},
		{"a list of segments that is none", func(t *testing.T, path string) {
			must(t, os.WriteFile(filepath.Join(path, logsDir, segmentsFile), []byte("1 512\n"), 0o600))
		}, "[{1 node.1 true <nil> }]"},
		{"an empty log", func(t *testing.T, path string) {
			must(t, os.RemoveAll(filepath.Join(path, logsDir)))
			must(t, os.Mkdir(filepath.Join(path, logsDir), 0o700))
		}, "[{1 node.1 true <nil> }]"},
		{"an old register", func(t *testing.T, path string) {
			must(t, disk{OS{}}.writeSealed(filepath.Join(path, registerFile), register{1: {Group: 1, Replica: "node.0"}}.encode()))
		}, "[{1 node.0 true <nil> }]"},
		{"a register that is none", func(t *testing.T, path string) {
			must(t, os.WriteFile(filepath.Join(path, registerFile), []byte("1 node.1 live\n"), 0o600))
		}, "[]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := ramDir(t)
			d, l := openLogs(t, path)
			_, err := l.Create(1, "node.1")
			must(t, err)
			if _, err := d.QuarantineLogs(); err == nil {
				t.Fatal("a log in use was quarantined")
			}
			must(t, d.Close())
			test.damage(t, path)

			d = open(t, path, Options{})
			if _, err := d.Logs(); !errors.Is(err, ErrDamaged) {
				t.Fatalf("Logs: %v, want ErrDamaged", err)
			}
			for range 2 { // a crash in the middle leads to a second time
				lost, err := d.QuarantineLogs()
				must(t, err)
				if got := fmt.Sprint(lost); got != test.lost {
					t.Fatalf("lost %s, want %s", got, test.lost)
				}
			}
			l, err = d.Logs()
			must(t, err)
			if _, err := l.Create(1, "node.2"); err != nil {
				t.Fatal(err)
			}
			kept, err := os.ReadDir(filepath.Join(path, quarantineDir))
			must(t, err)
			if len(kept) > 2 {
				t.Fatalf("quarantine keeps %v", kept)
			}
		})
	}
}

// TestLostSegment: the newest segment says all of all groups. Without it, or a
// part of it, each of them is damaged, also after another start, until it is
// replaced. The older segments have what they had an hour ago, and that must not
// pass for the newest.
func TestLostSegment(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, file string, size int64){
		"missing":                func(t *testing.T, file string, _ int64) { must(t, os.Remove(file)) },
		"empty":                  func(t *testing.T, file string, _ int64) { must(t, os.Truncate(file, 0)) },
		"cut behind what counts": func(t *testing.T, file string, size int64) { must(t, os.Truncate(file, size-1)) },
		"cut":                    func(t *testing.T, file string, _ int64) { must(t, os.Truncate(file, 3*pageSize+100)) },
		"cut after one sector":   func(t *testing.T, file string, _ int64) { must(t, os.Truncate(file, journal.SectorSize)) },
		"full of zeros": func(t *testing.T, file string, size int64) {
			must(t, os.Truncate(file, 0))
			must(t, os.Truncate(file, size))
		},
		"another segment's": func(t *testing.T, file string, size int64) {
			b, err := os.ReadFile(filepath.Join(filepath.Dir(file), "00000002.log"))
			must(t, err)
			must(t, os.WriteFile(file, b, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			const groups = 3
			path := ramDir(t)
			o := Options{Segment: 64 << 10}
			d := open(t, path, o)
			l, err := d.Logs()
			must(t, err)
			for group := range uint32(groups) {
				g, err := l.Create(group, "node.1")
				must(t, err)
				for i := uint64(1); i <= 100; i += 10 {
					must(t, g.StoreLogs(logEntries(i, i+9, 1)))
				}
			}
			newest, size := l.journal.Newest(), o.Segment
			if newest.Number < 3 || len(l.journal.Segments()) < 2 {
				t.Fatalf("there are segments %v only", l.journal.Segments())
			}
			must(t, d.Close())
			damage(t, filepath.Join(path, logsDir, fmt.Sprintf("%08d.log", newest.Number)), size)

			for range 2 {
				d = open(t, path, o)
				l, err = d.Logs()
				must(t, err)
				for _, info := range l.Groups() {
					if _, err := l.Open(info.Group, info.Replica); !errors.Is(err, ErrDamaged) || !errors.Is(info.Err, ErrDamaged) {
						t.Fatalf("group %d: %v and %v, want ErrDamaged", info.Group, err, info.Err)
					}
				}
				if n := len(l.Groups()); n != groups {
					t.Fatalf("the register names %d groups", n)
				}
				must(t, d.Close())
			}
			d = open(t, path, o)
			l, err = d.Logs()
			must(t, err)
			for group := range uint32(groups) {
				must(t, replaceGroup(l, group))
			}
			must(t, d.Close())
			d = open(t, path, o)
			l, err = d.Logs()
			must(t, err)
			for group := range uint32(groups) {
				g, err := l.Open(group, "fresh.1")
				must(t, err)
				wantLog(t, g, 1, 10)
			}
		})
	}
}

// TestOneGroupDamaged: the others go on, and the damaged one stays so until it is
// replaced.
func TestOneGroupDamaged(t *testing.T) {
	for _, test := range []struct {
		name  string
		after func(t *testing.T, g *GroupLog) // what the group writes behind entry 10
		hit   uint64
		says  string
	}{
		{"its last entry", func(*testing.T, *GroupLog) {}, 10, "what was written last"},
		{"its last entry of many", func(t *testing.T, g *GroupLog) { must(t, g.StoreLogs(logEntries(11, 20, 1))) }, 20, "what was written last"},
		{"an earlier entry", func(t *testing.T, g *GroupLog) { must(t, g.StoreLogs(logEntries(11, 20, 1))) }, 10, "entry 10 "},
		{"an entry before a vote", func(t *testing.T, g *GroupLog) { must(t, g.SetUint64([]byte("LastVoteTerm"), 7)) }, 10, "entry 10 "},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := ramDir(t)
			d, l := openLogs(t, path)
			healthy, err := l.Create(0, "node.1")
			must(t, err)
			must(t, healthy.StoreLogs(logEntries(1, 9, 1)))
			rotten, err := l.Create(1, "node.1")
			must(t, err)
			must(t, rotten.StoreLogs(logEntries(1, 9, 1)))
			must(t, rotten.StoreLog(logEntry(10, 1)))
			test.after(t, rotten)
			at, _ := rotten.index.place(test.hit)
			must(t, healthy.StoreLogs(logEntries(10, 20, 1)))
			must(t, d.Close())
			flipAt(t, path, at)

			for i := range uint64(2) { // the rotten segment is the newest, and then it is not
				d, l = openLogs(t, path)
				_, err := l.Open(1, "node.1")
				if !errors.Is(err, ErrDamaged) || i == 0 && !strings.Contains(err.Error(), test.says) {
					t.Fatalf("Open: %v, want ErrDamaged of %s", err, test.says)
				}
				if infos := l.Groups(); infos[0].Err != nil || !errors.Is(infos[1].Err, ErrDamaged) {
					t.Fatalf("the register says %v", infos)
				}
				healthy, err = l.Open(0, "node.1")
				must(t, err)
				must(t, healthy.StoreLog(logEntry(21+i, 1)))
				must(t, d.Close())
			}
			d, l = openLogs(t, path)
			must(t, l.Quarantine(1))
			_, err = l.Create(1, "node.2")
			must(t, err)
			must(t, d.Close())
			_, l = openLogs(t, path)
			if got := fmt.Sprint(l.Groups()); got != "[{0 node.1 false <nil> } {1 node.2 false <nil> }]" {
				t.Fatalf("the register says %s", got)
			}
			healthy, err = l.Open(0, "node.1")
			must(t, err)
			wantLog(t, healthy, 1, 22)
		})
	}
}

// flipAt changes the last byte of a stored entry.
func flipAt(t testing.TB, path string, at place) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(path, logsDir, fmt.Sprintf("%08d.log", at.segment)), os.O_RDWR, 0)
	must(t, err)
	addr := int64(at.addr) + int64(at.size) - 1
	offset := addr/journal.Content*journal.SectorSize + journal.SectorSize - journal.Content + addr%journal.Content
	b := make([]byte, 1)
	_, err = f.ReadAt(b, offset)
	must(t, err)
	_, err = f.WriteAt([]byte{b[0] ^ 1}, offset)
	must(t, errors.Join(err, f.Close()))
}
