package cluster

import (
	"errors"
	"path/filepath"
	"testing"

	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/store"
)

// TestNamesAreUsedOnce: a replica's name is claimed once, over restarts too, and
// after the loss of the file whatever the table wishes counts as used.
func TestNamesAreUsedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	name := func(inc uint64) fsm.Replica { return fsm.Replica{Node: "n", Incarnation: inc} }
	reopen := func() (*used, func()) {
		dir, err := store.Open(path, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		u, err := openUsed(dir)
		if err != nil {
			t.Fatal(err)
		}
		return u, func() { dir.Close() }
	}
	u, done := reopen()
	for _, inc := range []uint64{3, 7} {
		if err := u.claim(1, name(inc)); err != nil {
			t.Errorf("incarnation %d: %v", inc, err)
		}
	}
	if err := u.claim(2, name(5)); err != nil {
		t.Errorf("another partition: %v", err)
	}
	done()
	u, done = reopen()
	for _, inc := range []uint64{3, 6, 7} {
		if err := u.claim(1, name(inc)); !errors.Is(err, errUsed) {
			t.Errorf("incarnation %d after a restart: %v", inc, err)
		}
	}
	done()
	if smash(t, path, usedFile) != 1 {
		t.Fatal("the file is not there")
	}
	u, done = reopen()
	defer done()
	if err := u.claim(1, name(9)); !errors.Is(err, errUsed) {
		t.Errorf("with the file damaged: %v", err)
	}
	u.recover(controller.New().State())
	if err := u.claim(1, name(9)); err != nil {
		t.Errorf("once the table, which wishes nothing, is known: %v", err)
	}
}
