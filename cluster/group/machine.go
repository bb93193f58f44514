package group

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// Machine is the replicated state of one group. Apply, Freeze and Restore are
// called by one goroutine.
type Machine interface {
	// Apply applies one entry, which stands at an index of the log, and returns
	// what its proposer is to learn. An error means that this replica cannot go
	// on: see package fsm.
	Apply(index uint64, entry []byte) (any, error)
	// Freeze returns a copy that later calls of Apply do not disturb and that
	// another goroutine may write. It must be quick.
	Freeze() io.WriterTo
	// Restore replaces the state by one that a frozen copy wrote.
	Restore(io.Reader) error
}

// applier adapts a Machine to raft.FSM. It also knows how far the machine is:
// raft's own applied index counts what was handed over, not what was applied.
type applier struct {
	machine Machine
	fatal   func(error)

	bytes atomic.Int64 // applied since the last snapshot

	mu      sync.Mutex
	applied uint64
	moved   chan struct{} // closed when applied grows, if somebody waits
}

var (
	_ raft.FSM                = (*applier)(nil)
	_ raft.ConfigurationStore = (*applier)(nil)
)

// Apply applies a command. An entry without data is a barrier of our own: it
// changes nothing, and moves the applied index where a raft barrier would not.
func (a *applier) Apply(l *raft.Log) any {
	var result any
	if len(l.Data) > 0 {
		var err error
		if result, err = a.machine.Apply(l.Index, l.Data); err != nil {
			a.fatal(fmt.Errorf("entry %d cannot be applied, so this replica must stop: %w", l.Index, err))
			return err
		}
		a.bytes.Add(int64(len(l.Data)))
	}
	a.reach(l.Index)
	return result
}

// StoreConfiguration is told of configuration entries, in order with Apply.
func (a *applier) StoreConfiguration(index uint64, _ raft.Configuration) { a.reach(index) }

func (a *applier) reach(index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.applied = index
	if a.moved != nil {
		close(a.moved)
		a.moved = nil
	}
}

// position returns the applied index and a channel that closes when it grows.
func (a *applier) position() (uint64, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.moved == nil {
		a.moved = make(chan struct{})
	}
	return a.applied, a.moved
}

func (a *applier) index() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.applied
}

// Snapshot freezes the machine.
func (a *applier) Snapshot() (raft.FSMSnapshot, error) {
	a.bytes.Store(0)
	return &frozen{a.index(), a.machine.Freeze()}, nil
}

// Restore reads what frozen.Persist wrote.
func (a *applier) Restore(r io.ReadCloser) error {
	defer r.Close()
	var index [8]byte
	if _, err := io.ReadFull(r, index[:]); err != nil {
		return err
	}
	if err := a.machine.Restore(r); err != nil {
		return err
	}
	a.reach(binary.LittleEndian.Uint64(index[:]))
	return nil
}

// frozen is a snapshot being written: the applied index (u64), then the machine.
// The index is written because raft does not tell it to Restore.
type frozen struct {
	applied uint64
	state   io.WriterTo
}

func (f *frozen) Persist(sink raft.SnapshotSink) error {
	_, err := sink.Write(binary.LittleEndian.AppendUint64(nil, f.applied))
	if err == nil {
		_, err = f.state.WriteTo(sink)
	}
	if err != nil {
		sink.Cancel()
		return err
	}
	return sink.Close()
}

func (f *frozen) Release() {}
