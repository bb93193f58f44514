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
	"go.etcd.io/bbolt"
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
	if got := fmt.Sprint(l.Groups()); got != "[{7 node.7 false <nil>} {2147483648 node.2147483648 false <nil>}]" {
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

// TestDropped: a log that was dropped answers nothing any more.
func TestDropped(t *testing.T) {
	_, l := openLogs(t, ramDir(t))
	g, err := l.Create(1, "node.1")
	must(t, err)
	must(t, g.StoreLogs(logEntries(1, 2*deleteStep, 1)))
	must(t, l.Drop(1))
	_, err1 := g.FirstIndex()
	_, err2 := g.Get([]byte("CurrentTerm"))
	for i, err := range []error{err1, err2, g.GetLog(1, new(raft.Log)), g.StoreLog(logEntry(1, 1)), g.Set([]byte("k"), nil), g.DeleteRange(1, 2)} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("call %d: %v, want ErrClosed", i, err)
		}
	}
	must(t, l.db.View(func(tx *bbolt.Tx) error {
		if tx.Bucket(bucketName(1)) != nil || tx.Bucket(stateBucket).Get(recordKey(1)) != nil {
			t.Error("data of the dropped group is still there")
		}
		return nil
	}))
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
	if got := fmt.Sprint(l.Groups()); got != "[{1 node.2 false <nil>}]" {
		t.Fatalf("the register says %s", got)
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
	if got := fmt.Sprint(l.Groups()); got != "[{0 node.1 false <nil>} {2 node.1 true <nil>}]" {
		t.Fatalf("the register says %s", got)
	}
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
		{"no log", func(t *testing.T, path string) { must(t, os.Remove(filepath.Join(path, logsFile))) }, "[{1 node.1 true <nil>}]"},
		{"no register", func(t *testing.T, path string) { must(t, os.Remove(filepath.Join(path, registerFile))) }, "[]"},
		{"a cut log", func(t *testing.T, path string) { must(t, os.Truncate(filepath.Join(path, logsFile), 3*pageSize)) }, "[{1 node.1 true <nil>}]"},
		{"an empty log", func(t *testing.T, path string) { must(t, os.Truncate(filepath.Join(path, logsFile), 0)) }, "[{1 node.1 true <nil>}]"},
		{"an old register", func(t *testing.T, path string) {
			must(t, writeSealed(filepath.Join(path, registerFile), register{1: {Group: 1, Replica: "node.0"}}.encode()))
		}, "[{1 node.0 true <nil>}]"},
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

// TestOneGroupDamaged: the others go on, and the damaged one can be replaced.
func TestOneGroupDamaged(t *testing.T) {
	path := ramDir(t)
	d, l := openLogs(t, path)
	for group := range uint32(2) {
		g, err := l.Create(group, "node.1")
		must(t, err)
		must(t, g.StoreLogs(logEntries(1, 20, 1)))
	}
	// An entry of group 1 changes beneath its checksum.
	must(t, l.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketName(1))
		v := append([]byte(nil), b.Get(indexKey(10))...)
		v[len(v)-1]++
		must(t, b.Put(indexKey(10), v))
		return tx.Bucket(stateBucket).Put(headKey, encodeHead(uint64(tx.ID()), l.lines))
	}))
	must(t, d.Close())

	d, l = openLogs(t, path)
	_, err := l.Open(1, "node.1")
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "entry 10") {
		t.Fatalf("Open: %v, want ErrDamaged of entry 10", err)
	}
	if infos := l.Groups(); infos[0].Err != nil || !errors.Is(infos[1].Err, ErrDamaged) {
		t.Fatalf("the register says %v", infos)
	}
	g, err := l.Open(0, "node.1")
	must(t, err)
	must(t, g.StoreLog(logEntry(21, 1)))
	must(t, l.Quarantine(1))
	_, err = l.Create(1, "node.2")
	must(t, err)
	must(t, d.Close())
	_, l = openLogs(t, path)
	if got := fmt.Sprint(l.Groups()); got != "[{0 node.1 false <nil>} {1 node.2 false <nil>}]" {
		t.Fatalf("the register says %s", got)
	}
}
