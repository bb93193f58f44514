package controller

import (
	"fmt"
	"sync/atomic"

	"cairn/fsm"
)

// Machine applies the entries of the controller's log. One goroutine applies;
// any number read the States it has made.
type Machine struct{ state atomic.Pointer[State] }

// New returns a machine before its first entry.
func New() *Machine {
	m := &Machine{}
	m.state.Store(&State{nextReplica: 1, nextHunt: 1})
	return m
}

// State returns the state after the last Apply that changed something.
func (m *Machine) State() *State { return m.state.Load() }

// Apply applies one entry of the log. One of these happens:
//   - the command stands: the next State is published and Result.Changed is set;
//   - it asks for what is already so: the result is that of success, and the
//     State stays the same one;
//   - it breaks a rule or a limit: Result.Err says which, and the State stays
//     the same one (but for PutChunk, see there);
//   - it cannot be decoded, or raises the feature level above FeatureLevel: an
//     error, and the replica must stop, for it would diverge from the others.
//
// Before Found every other command is Unavailable. The entry is not retained.
func (m *Machine) Apply(entry []byte) (Result, error) {
	if len(entry) > MaxEntry {
		return reject(fsm.TooLarge, "the command has %d bytes; an entry has at most %d", len(entry), MaxEntry), nil
	}
	c, err := Decode(entry)
	if err != nil {
		return Result{}, err
	}
	t := &tx{State: *m.state.Load()}
	t.version++
	res := t.apply(c)
	if !res.Changed {
		return res, nil
	}
	if invariants {
		if err := t.check(); err != nil {
			panic(fmt.Sprintf("controller: after %T: %v", c, err))
		}
	}
	m.state.Store(&t.State)
	if t.level > FeatureLevel {
		return res, errLevel(t.level)
	}
	return res, nil
}

func errLevel(level uint32) error {
	return fmt.Errorf("the cluster speaks feature level %d and this build only %d: upgrade this node", level, FeatureLevel)
}

// tx is the State that one Apply is making: a shallow copy of the last one that
// nobody else sees. It shares everything with it, so a method of tx replaces
// what it changes and never writes through a slice or a pointer. A rejected tx
// is dropped whole, which makes every command all or nothing.
type tx struct{ State }

func (t *tx) apply(c Command) Result {
	if c, ok := c.(*Found); ok {
		return t.found(c)
	}
	if !t.Founded() {
		return reject(fsm.Unavailable, "the cluster is not founded yet: try again when it is")
	}
	switch c := c.(type) {
	case *AddMember:
		return t.addMember(c)
	case *RemoveMember:
		return t.removeMember(c)
	case *RenewMember:
		return t.renewMember(c)
	case *NodeDown:
		return t.setStates(c.Now, c.Nodes, Down)
	case *NodeUp:
		return t.setStates(c.Now, c.Nodes, Alive)
	case *SetDuty:
		return t.setDuty(c)
	case *SetTargets:
		return t.setTargets(c.Changes, nil)
	case *GiveBack:
		return t.giveBack(c)
	case *Recover:
		return t.recover(c)
	case *Refound:
		return t.refound(c)
	case *Refounded:
		return t.refounded(c)
	case *Resume:
		return t.resume(c)
	case *MarkFounded:
		return t.markFounded(c)
	case *PutChunk:
		return t.putChunk(c)
	case *CreateHunt:
		return t.createHunt(c)
	case *PutHunt:
		return t.putHunt(c)
	case *SetHuntState:
		return t.setHuntState(c)
	case *DeleteHunt:
		return t.deleteHunt(c)
	case *ForgetDeleted:
		return t.forgetDeleted(c)
	case *CreateToken:
		return t.createToken(c)
	case *RevokeToken:
		return t.revokeToken(c)
	case *RegisterSnapshots:
		return t.registerSnapshots(c)
	case *SetFeatureLevel:
		return t.setFeatureLevel(c)
	}
	panic(fmt.Sprintf("controller: %T has a codec and no rule", c))
}

// reject is the result of a command that breaks a rule.
func reject(k fsm.Kind, format string, args ...any) Result {
	return Result{Err: fsm.Errorf(k, format, args...)}
}

// rejected is the result of err, which must not be nil.
func rejected(err *fsm.Error) Result { return Result{Err: err} }

// replica gives out the next incarnation of a replica.
func (t *tx) replica() uint64 {
	n := t.nextReplica
	t.nextReplica++
	return n
}
