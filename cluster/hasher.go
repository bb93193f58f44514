package cluster

import (
	"context"
	"slices"
	"sync"

	"cairn/fsm/partition"
)

// Limits of what a replica does about checkpoints. What is beyond them is missing
// when checkpoints are compared, and never a difference.
const (
	maxHashes  = 8 // remembered; the oldest is forgotten
	maxFrozen  = 2 // copies of the state that wait to be hashed; the oldest is dropped
	maxHashing = 1 // hashes that a node takes at once: players need the CPU
)

// stateHash is the SHA-256 of a partition's canonical snapshot.
type stateHash [32]byte

// hasher hashes the state of a replica behind each checkpoint, while Apply goes
// on, and remembers the newest hashes. They are no state: a replica that is
// opened again has those of the checkpoints in the log that it replays.
type hasher struct {
	slots chan struct{} // of the node: cap maxHashing

	mu      sync.Mutex
	known   []hashed   // the last maxHashes, the newest last
	waiting []frozenAt // the last maxFrozen, the newest last
	busy    uint64     // index whose state is being hashed; 0: none
	active  bool       // run runs
	closed  bool
	stop    chan struct{} // closed with closed
	moved   chan struct{} // closed when one of the above changes, if somebody waits
	running sync.WaitGroup
}

type hashed struct {
	index uint64
	hash  stateHash
}

type frozenAt struct {
	index uint64
	state *partition.Frozen
}

func newHasher(slots chan struct{}) *hasher {
	return &hasher{slots: slots, stop: make(chan struct{})}
}

// take has the state behind an entry hashed. It does not block.
func (h *hasher) take(index uint64, state *partition.Frozen) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.waiting = append(h.waiting, frozenAt{index, state})
	h.waiting = slices.Delete(h.waiting, 0, max(0, len(h.waiting)-maxFrozen)) // clears what it drops
	if !h.active {
		h.active = true
		h.running.Go(h.run)
	}
	h.changed()
}

// run hashes until nothing waits. It waits for its turn before it chooses, so
// that what is dropped meanwhile is the oldest.
func (h *hasher) run() {
	for {
		select {
		case h.slots <- struct{}{}:
		case <-h.stop:
			return
		}
		next, ok := h.pop()
		if ok {
			h.remember(hashed{next.index, next.state.Hash()})
		}
		<-h.slots
		if !ok {
			return
		}
	}
}

func (h *hasher) pop() (next frozenAt, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) == 0 || h.closed {
		h.active = false
		return frozenAt{}, false
	}
	next = h.waiting[0]
	h.waiting = slices.Delete(h.waiting, 0, 1)
	h.busy = next.index
	return next, true
}

func (h *hasher) remember(k hashed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known = append(h.known, k)
	h.known = slices.Delete(h.known, 0, max(0, len(h.known)-maxHashes))
	h.busy = 0
	h.changed()
}

// changed wakes who waits. The caller holds mu.
func (h *hasher) changed() {
	if h.moved != nil {
		close(h.moved)
		h.moved = nil
	}
}

// hashState is what a hasher has of a checkpoint.
type hashState uint8

const (
	hashNone    hashState = iota // nothing, and nothing will come of it
	hashPending                  // it is yet to be applied or hashed
	hashKnown
)

// wait returns the hash behind an entry that was applied here, once it is known.
// hashPending: ctx ended before.
func (h *hasher) wait(ctx context.Context, index uint64) (stateHash, hashState) {
	for {
		hash, state, moved := h.look(index)
		if state != hashPending {
			return hash, state
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return hash, state
		}
	}
}

func (h *hasher) look(index uint64) (stateHash, hashState, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.known {
		if k.index == index {
			return k.hash, hashKnown, nil
		}
	}
	waits := slices.ContainsFunc(h.waiting, func(f frozenAt) bool { return f.index == index })
	if h.closed || index != h.busy && !waits {
		return stateHash{}, hashNone, nil
	}
	if h.moved == nil {
		h.moved = make(chan struct{})
	}
	return stateHash{}, hashPending, h.moved
}

// close drops what waits and returns when nothing is hashed any more.
func (h *hasher) close() {
	h.mu.Lock()
	if !h.closed {
		h.closed, h.waiting = true, nil
		close(h.stop)
		h.changed()
	}
	h.mu.Unlock()
	h.running.Wait()
}
