package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

func TestControllerBelongsToOneReplica(t *testing.T) {
	path := ramDir(t)
	d := open(t, path, Options{})
	c, err := d.OpenController("node.1")
	must(t, err)
	must(t, c.StoreLogs(logEntries(1, 10, 1)))
	if again, err := d.OpenController("node.1"); err != nil || again != c {
		t.Fatalf("opened twice: %v", err)
	}
	for range 2 { // while it is open, and after a restart
		if _, err := d.OpenController("node.2"); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "node.1") {
			t.Fatalf("another replica's log: %v", err)
		}
		must(t, d.Close())
		d = open(t, path, Options{})
	}
	must(t, d.DropController())
	must(t, d.DropController()) // of nothing
	c, err = d.OpenController("node.2")
	must(t, err)
	if last, err := c.LastIndex(); err != nil || last != 0 || c.Replica() != "node.2" {
		t.Fatalf("after the drop: a log of %s up to %d, %v", c.Replica(), last, err)
	}
}

// TestControllerLost: a part that is missing is damage, not a new beginning.
func TestControllerLost(t *testing.T) {
	for _, part := range []string{controllerReplica, controllerLog} {
		path := ramDir(t)
		d := open(t, path, Options{})
		_, err := d.OpenController("node.1")
		must(t, err)
		must(t, d.Close())
		must(t, os.Remove(filepath.Join(path, controllerDir, part)))
		d = open(t, path, Options{})
		if _, err := d.OpenController("node.1"); !errors.Is(err, ErrDamaged) {
			t.Fatalf("without %s: %v, want ErrDamaged", part, err)
		}
	}
}

// TestControllerCrashWithinCreate: what has not got its name is made anew.
func TestControllerCrashWithinCreate(t *testing.T) {
	path := ramDir(t)
	d := open(t, path, Options{})
	must(t, d.Close())
	must(t, os.Mkdir(filepath.Join(path, controllerDir+tempSuffix), 0o700))
	must(t, os.WriteFile(filepath.Join(path, controllerDir+tempSuffix, controllerLog), []byte("half"), 0o600))
	d = open(t, path, Options{})
	_, err := d.OpenController("node.1")
	must(t, err)
}

// TestControllerCrashWithinDelete: the record is ahead of the deletion, and
// opening makes up for it.
func TestControllerCrashWithinDelete(t *testing.T) {
	for _, test := range []struct {
		name        string
		first, last uint64
	}{{"front", 6, 20}, {"back", 1, 12}, {"all", 0, 0}} {
		t.Run(test.name, func(t *testing.T) {
			path := ramDir(t)
			d := open(t, path, Options{})
			c, err := d.OpenController("node.1")
			must(t, err)
			must(t, c.StoreLogs(logEntries(1, 20, 1)))
			s := c.state.Load().clone()
			s.first, s.last = test.first, test.last
			s.tail = 0
			if s.last > 0 {
				_, s.tail, _, err = c.read(s.last)
				must(t, err)
			}
			must(t, c.store(s, nil)) // and here the power goes
			must(t, d.Close())

			d = open(t, path, Options{})
			c, err = d.OpenController("node.1")
			must(t, err)
			if first, _ := c.bolt.FirstIndex(); test.first > 0 && first != test.first || test.first == 0 && first != witnessIndex {
				t.Errorf("the file begins at %d", first)
			}
			if err := c.bolt.GetLog(test.last+1, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
				t.Errorf("entry %d is still in the file: %v", test.last+1, err)
			}
			next := max(test.last, 20) + 1
			if test.last > 0 {
				next = test.last + 1
			}
			must(t, c.StoreLogs(logEntries(next, next+5, 2)))
			must(t, d.Close())
			d = open(t, path, Options{})
			c, err = d.OpenController("node.1")
			must(t, err)
			if last, _ := c.LastIndex(); last != next+5 {
				t.Fatalf("the log ends at %d", last)
			}
		})
	}
}

// TestControllerRecordIsHidden: raft-boltdb alone would find the log shorter by
// its last entries, or the vote of yesterday, and say nothing.
func TestControllerRecordIsHidden(t *testing.T) {
	path := ramDir(t)
	d := open(t, path, Options{})
	c, err := d.OpenController("node.1")
	must(t, err)
	must(t, c.StoreLogs(logEntries(1, 20, 1)))
	must(t, c.bolt.DeleteRange(15, witnessIndex-1)) // behind the decorator's back
	must(t, d.Close())
	d = open(t, path, Options{})
	if _, err := d.OpenController("node.1"); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a log without its end: %v, want ErrDamaged", err)
	}
	must(t, d.DropController())
	c, err = d.OpenController("node.1")
	must(t, err)
	must(t, c.bolt.DeleteRange(witnessIndex, witnessIndex))
	must(t, d.Close())
	d = open(t, path, Options{})
	if _, err := d.OpenController("node.1"); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a log without its record: %v, want ErrDamaged", err)
	}
}
