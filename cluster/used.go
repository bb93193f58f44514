package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/store"
)

// usedFile remembers the highest incarnation that ever ran here, by partition.
const usedFile = "incarnations"

// used guards the rule that makes votes safe: a replica's name is never opened
// again once its data is gone. Its data may go by damage, by quarantine of the
// whole log, or by a drop; the name may still be wished when this node's copy of
// the table is old, or until the controller has heard of the damage. An empty
// replica under the old name could vote twice in one term and would acknowledge
// nothing of what the name has acknowledged.
//
// Incarnations grow, so one number a partition is enough.
type used struct {
	dir *store.Dir

	mu      sync.Mutex
	highest map[fsm.PartitionID]uint64
	lost    bool // the file was damaged: whatever the table wishes now may have been used
}

func openUsed(d *store.Dir) (*used, error) {
	u := &used{dir: d, highest: map[fsm.PartitionID]uint64{}}
	raw, err := d.ReadFile(usedFile)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return u, nil
	case errors.Is(err, store.ErrDamaged):
		u.lost = true
		return u, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(raw, &u.highest); err != nil {
		return nil, fmt.Errorf("file %s: %w", usedFile, err)
	}
	return u, nil
}

// errUsed means that a replica's name was used before and its data is gone.
var errUsed = errors.New("this replica ran here before and its data is gone; it needs a new incarnation")

// claim records that a name is about to be used; errUsed if it, or a later one,
// was before.
func (u *used) claim(p fsm.PartitionID, name fsm.Replica) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.lost || name.Incarnation <= u.highest[p] {
		return errUsed
	}
	return u.set(p, name.Incarnation)
}

// note records that a name is about to be used for data that is here already.
func (u *used) note(p fsm.PartitionID, name fsm.Replica) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.set(p, max(u.highest[p], name.Incarnation))
}

func (u *used) set(p fsm.PartitionID, highest uint64) error {
	u.highest[p] = highest
	raw, err := json.Marshal(u.highest)
	if err != nil {
		return err
	}
	return u.dir.WriteFile(usedFile, raw)
}

// recover makes up for a damaged file, from a state that is current: every name
// that the table wishes anywhere counts as used, so that those wished here and
// not running are renewed.
func (u *used) recover(st *controller.State) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.lost {
		return
	}
	for _, row := range st.Partitions() {
		for _, t := range row.Target {
			u.highest[row.ID] = max(u.highest[row.ID], t.Replica.Incarnation)
		}
	}
	u.lost = false
}
