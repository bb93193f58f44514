package controller

import (
	"time"

	"cairn/fsm"
)

func (t *tx) createHunt(c *CreateHunt) Result {
	switch {
	case c.Now <= 0:
		return rejected(errNoTime)
	case !fsm.ValidID(string(c.Hunt)):
		return reject(fsm.Invalid, "hunt id %.80q must be 1 to %d of a-z, 0-9, '.', '_', '-' and begin with a letter or digit", c.Hunt, fsm.MaxID)
	case !validHuntState(c.State):
		return rejected(errHuntState(c.State))
	}
	if old := t.hunts.get(c.Hunt); old != nil {
		if old.Version == 1 && old.Hash == c.Hash {
			return huntResult(old, false)
		}
		return reject(fsm.Conflict, "hunt %s exists with another document or has been changed: update it, or choose another id", c.Hunt)
	}
	if t.hunts.len() >= MaxHunts {
		return reject(fsm.TooLarge, "the catalogue has %d hunts, the most it can: delete one first", MaxHunts)
	}
	if err := t.refer(c.Hash); err != nil {
		return rejected(err)
	}
	h := &Hunt{
		ID: c.Hunt, Incarnation: t.nextHunt, Version: 1, Document: 1,
		State: c.State, Hash: c.Hash, Created: c.Now, Changed: c.Now,
	}
	t.nextHunt++
	t.storeHunt(h)
	res := huntResult(h, true)
	res.Created = true
	return res
}

func (t *tx) putHunt(c *PutHunt) Result {
	if c.Now <= 0 {
		return rejected(errNoTime)
	}
	old := t.hunts.get(c.Hunt)
	if old == nil {
		return rejected(errNoHunt(c.Hunt))
	}
	if c.IfVersion > 0 && c.IfVersion+1 == old.Document && c.Hash == old.Hash {
		return huntResult(old, false)
	}
	if old.Version != c.IfVersion {
		return reject(fsm.PreconditionFailed, "hunt %s is at version %d, not %d: read it again and repeat your change",
			c.Hunt, old.Version, c.IfVersion)
	}
	if err := t.refer(c.Hash); err != nil {
		return rejected(err)
	}
	t.release(old.Hash)
	h := *old
	h.Hash, h.Changed = c.Hash, c.Now
	h.Version++
	h.Document = h.Version
	t.storeHunt(&h)
	return huntResult(&h, true)
}

func (t *tx) setHuntState(c *SetHuntState) Result {
	switch {
	case c.Now <= 0:
		return rejected(errNoTime)
	case !validHuntState(c.State):
		return rejected(errHuntState(c.State))
	case !validText(c.Reason, MaxReason):
		return reject(fsm.Invalid, "the reason must be text of at most %d bytes without control characters", MaxReason)
	}
	old := t.hunts.get(c.Hunt)
	if old == nil {
		return rejected(errNoHunt(c.Hunt))
	}
	if old.State == c.State {
		return huntResult(old, false)
	}
	h := *old
	h.State, h.Reason, h.Changed = c.State, c.Reason, c.Now
	h.Version++
	t.storeHunt(&h)
	return huntResult(&h, true)
}

func (t *tx) deleteHunt(c *DeleteHunt) Result {
	if c.Now <= 0 {
		return rejected(errNoTime)
	}
	old := t.hunts.get(c.Hunt)
	if gone := c.Incarnation; gone != 0 && gone < t.nextHunt && (old == nil || gone != old.Incarnation) {
		return Result{Hunt: copyOf(t.deleted.get(gone))}
	}
	if old == nil || c.Incarnation != 0 && c.Incarnation != old.Incarnation {
		return rejected(errNoHunt(c.Hunt))
	}
	if t.deleted.len() >= MaxDeleted {
		return rejected(&fsm.Error{
			Kind: fsm.Overloaded, After: time.Minute,
			Msg: "too many deleted hunts are waiting for a partition to confirm: see whether all partitions are well, and try again",
		})
	}
	t.release(old.Hash)
	t.hunts = t.hunts.without(old.ID)
	t.byIncarnation = t.byIncarnation.without(old.Incarnation)
	gone := *old
	gone.Changed = c.Now
	t.deleted = t.deleted.with(gone.Incarnation, &gone)
	t.dropTokens(old.ID) // its organizers are not those of the id's next life
	t.catalogueVersion = t.version
	return huntResult(old, true)
}

func (t *tx) forgetDeleted(c *ForgetDeleted) Result {
	if t.deleted.get(c.Incarnation) == nil {
		return Result{}
	}
	t.deleted = t.deleted.without(c.Incarnation)
	t.catalogueVersion = t.version
	return Result{Changed: true}
}

func (t *tx) storeHunt(h *Hunt) {
	t.hunts = t.hunts.with(h.ID, h)
	t.byIncarnation = t.byIncarnation.with(h.Incarnation, h)
	t.catalogueVersion = t.version
}

// huntResult answers with a copy, which is the caller's.
func huntResult(h *Hunt, changed bool) Result {
	return Result{Hunt: copyOf(h), Changed: changed}
}

func copyOf(h *Hunt) *Hunt {
	if h == nil {
		return nil
	}
	out := *h
	return &out
}

func errNoHunt(id fsm.HuntID) *fsm.Error {
	return fsm.Errorf(fsm.NotFound, "there is no hunt %.80q", id)
}

func errHuntState(state string) *fsm.Error {
	return fsm.Errorf(fsm.Invalid, "a hunt's state is draft, open, paused or closed, not %.80q", state)
}
