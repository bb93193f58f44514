package controller

import (
	"slices"

	"cairn/fsm"
)

// resume raises every counter before it gives anything out, and every version
// that others compare.
func (t *tx) resume(c *Resume) Result {
	switch {
	case c.Now <= 0:
		return rejected(errNoTime)
	case c.Skip == 0 || c.Skip > MaxSkip:
		return reject(fsm.Invalid, "a recovery skips 1 to %d numbers, not %d", uint64(MaxSkip), c.Skip)
	}
	if _, err := t.present(c.Node); err != nil {
		return rejected(err)
	}
	t.version += c.Skip
	t.nextReplica += c.Skip
	t.nextHunt += fsm.Incarnation(c.Skip)
	survivor := t.replica()
	for _, old := range t.members.all() {
		if old.State == Left {
			continue
		}
		m := *old
		if m.ID == c.Node {
			m.Incarnation = survivor
		} else {
			m.Incarnation = t.replica()
		}
		t.putMember(&m)
	}
	for _, old := range t.hunts.all() {
		h := *old
		h.Version += c.Skip
		h.Changed = c.Now
		t.storeHunt(&h)
	}
	rows := slices.Clone(t.partitions)
	for i := range rows {
		rows[i].Epoch += c.Skip
	}
	t.putTable(rows)
	return Result{Incarnation: survivor, Changed: true}
}
