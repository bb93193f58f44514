package cluster

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"sync"

	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/store"
)

// book knows the members' addresses. It is kept on disk beside the controller's
// log because of a start of the whole cluster at once: nobody can learn what is
// committed before reaching a majority, and nobody could reach anybody if the
// addresses were only in what is committed.
type book struct {
	dir *store.Dir

	mu      sync.Mutex
	address map[fsm.NodeID]string
	left    map[fsm.NodeID]bool
	version uint64 // of the member list that was last taken over
}

func openBook(d *store.Dir) (*book, error) {
	b := &book{dir: d, address: map[fsm.NodeID]string{}, left: map[fsm.NodeID]bool{}}
	raw, err := d.ReadFile(peersFile)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, store.ErrDamaged) {
		// A damaged book is only a slower start: whoever is up dials this node.
		return b, nil
	}
	if err != nil {
		return nil, err
	}
	return b, json.Unmarshal(raw, &b.address)
}

// resolve returns a node's address.
func (b *book) resolve(n fsm.NodeID) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.address[n]
	return a, ok
}

// member reports whether a node may speak: everybody who has not left. A node
// that joined moments ago may not be in the list here yet, and its certificate
// is proof enough.
func (b *book) member(n fsm.NodeID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.left[n]
}

// nodes lists everybody known but self.
func (b *book) nodes(self fsm.NodeID) []fsm.NodeID {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []fsm.NodeID
	for n := range b.address {
		if n != self {
			out = append(out, n)
		}
	}
	return out
}

// learn takes addresses over, before the first member list arrives.
func (b *book) learn(address map[fsm.NodeID]string) error {
	b.mu.Lock()
	maps.Copy(b.address, address)
	b.mu.Unlock()
	return b.save()
}

// update takes a new member list over and returns who has left since the last.
func (b *book) update(s *controller.State) (gone []fsm.NodeID, err error) {
	b.mu.Lock()
	if s.MembersVersion() == b.version {
		b.mu.Unlock()
		return nil, nil
	}
	b.version = s.MembersVersion()
	for _, m := range s.Members() {
		if m.State == controller.Left {
			if !b.left[m.ID] {
				gone = append(gone, m.ID)
			}
			b.left[m.ID] = true
			delete(b.address, m.ID)
			continue
		}
		b.address[m.ID] = m.Address
	}
	b.mu.Unlock()
	return gone, b.save()
}

func (b *book) save() error {
	b.mu.Lock()
	raw, err := json.Marshal(b.address)
	b.mu.Unlock()
	if err != nil {
		return err
	}
	return b.dir.WriteFile(peersFile, raw)
}
