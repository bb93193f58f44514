package cluster

import (
	"errors"
	"fmt"

	"cairn/cluster/group"
	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/store"
)

// asideName names the snapshots that hold a copy of the controller put aside.
//
// A node that starts again because the controller goes on without its copy is
// empty until the new history has filled it, and so is everybody else: for a few
// seconds the new history is on one disk. So a copy is not thrown away before
// this node has the new history on its own disk. Until then the controller can
// be recovered from what was put aside, should the heir be lost.
//
// What is aside is a state and nothing else. No replica is ever opened on it, so
// it cannot vote: the names that spoke for it are never used again. If it becomes
// the beginning of a history of its own, everybody gets names behind all that this
// node ever heard of, see names.
const asideName = "controller-aside"

// readCopy reads what is in conf's storage.
func readCopy(conf group.Config) (*controller.State, group.Copy, error) {
	m := newControlMachine(func() {})
	conf.Machine = m
	have, err := group.Read(conf)
	return m.m.Load().State(), have, err
}

// asideConf is the storage of a copy that was put aside.
func asideConf(dir *store.Dir, replica fsm.Replica) (group.Config, error) {
	snaps, err := dir.Snapshots(asideName)
	if err != nil {
		return group.Config{}, fmt.Errorf("open the copy of the controller that was put aside: %w", err)
	}
	return group.Config{Name: asideName, Replica: replica, Snapshots: snaps}, nil
}

// putAside writes this node's copy of the controller beside it, unless what is
// there already is further on. The copy itself stays as it is: whatever moment a
// crash comes at, one of the two is whole.
func putAside(dir *store.Dir, conf group.Config) error {
	aside, err := asideConf(dir, conf.Replica)
	if err != nil {
		return err
	}
	m := newControlMachine(func() {})
	conf.Machine = m
	have, err := group.Read(conf)
	if err != nil {
		return err
	}
	state := m.m.Load().State()
	if old, _, err := readCopy(aside); err == nil && !further(state, old) || !state.Founded() {
		return nil
	}
	if err := dir.DropSnapshots(asideName); err != nil {
		return err
	}
	if aside, err = asideConf(dir, conf.Replica); err != nil {
		return err
	}
	aside.Machine = m
	return group.Keep(aside, have)
}

// further reports whether a is the state to go on from, of a copy and the one that
// was put aside before it. A recovery raises the version by more than anything
// else, so what it began is further than what it began with.
func further(a, b *controller.State) bool {
	return a.Founded() && (!b.Founded() || a.Version() >= b.Version())
}

// forgetAside drops what was put aside, once the new history is on this node's own
// disk.
func (n *Node) forgetAside() {
	if !n.control.state().Founded() {
		return
	}
	if err := n.conf.Dir.DropSnapshots(asideName); err != nil {
		n.log.Warn("the old copy of the controller that was put aside cannot be deleted", "err", err)
	}
}

// putControllerAside keeps this node's copy for as long as the new history is not
// here. A copy that cannot be read is of no use to anybody.
func (n *Node) putControllerAside() error {
	log, snaps, err := n.openControlStorage()
	if err == nil {
		err = putAside(n.conf.Dir, group.Config{Name: "controller", Replica: n.id.replica(), Logs: log, Snapshots: snaps})
	}
	if errors.Is(err, store.ErrDamaged) {
		n.log.Error("this node's copy of the controller is damaged: it is not kept", "err", err)
		return nil
	}
	return err
}
