package store

import (
	"encoding/binary"
	"fmt"

	"github.com/hashicorp/raft"
)

// deleteStep is how many entries one transaction deletes at most: it has to touch
// every one of them.
const deleteStep = 512

// Replica returns the name that the log was made for.
func (c *ControllerStore) Replica() string { return c.state.Load().replica }

// FirstIndex returns the index of the first entry, 0 if there is none.
func (c *ControllerStore) FirstIndex() (uint64, error) { return c.state.Load().first, nil }

// LastIndex returns the index of the last entry, 0 if there is none.
func (c *ControllerStore) LastIndex() (uint64, error) { return c.state.Load().last, nil }

// GetLog reads an entry: raft.ErrLogNotFound if it is not in the log. One that
// is there and is not what was written ends the process.
func (c *ControllerStore) GetLog(index uint64, l *raft.Log) error {
	has := func() bool {
		s := c.state.Load()
		return index != 0 && s.first <= index && index <= s.last
	}
	if !has() {
		return raft.ErrLogNotFound
	}
	defer c.dir.watch.end(c.dir.watch.begin(opControllerRead))
	var v []byte
	err := guard(func() (err error) {
		v, _, _, err = c.read(index)
		return err
	})
	switch {
	case err == nil:
		openEntry(v, index, l)
		return nil
	case !has(): // deleted meanwhile
		return raft.ErrLogNotFound
	default:
		return c.fail("read", err)
	}
}

// StoreLog appends one entry.
func (c *ControllerStore) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends entries with consecutive indexes. When it returns nil they
// last. It fails, and changes nothing, if an entry has more than MaxEntry bytes
// or the indexes are not consecutive.
func (c *ControllerStore) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	c.write.Lock()
	defer c.write.Unlock()
	first := logs[0].Index
	for i, l := range logs {
		if l.Index == 0 || l.Index == witnessIndex || l.Index != first+uint64(i) {
			return fmt.Errorf("store: entry %d stands where %d should", l.Index, first+uint64(i))
		}
		if n := len(l.Data) + len(l.Extensions); n > MaxEntry {
			return fmt.Errorf("store: entry %d has %d bytes, more than %d", l.Index, n, MaxEntry)
		}
	}
	if s := c.state.Load(); s.last != 0 && first != s.last+1 {
		if first > s.last {
			first = s.first // a gap: nothing of the old stays
		}
		if err := c.deleteRange(first, s.last); err != nil {
			return err
		}
	}
	s := c.state.Load().clone()
	sealed := make([]*raft.Log, 0, len(logs)+1)
	for _, l := range logs {
		out, sum, err := c.seal(l, s.tail)
		if err != nil {
			return err
		}
		sealed = append(sealed, out)
		s.tail = sum
	}
	if s.first == 0 {
		s.first = logs[0].Index
	}
	s.last = logs[len(logs)-1].Index
	return c.store(s, sealed)
}

// store writes entries with the record of the state that they make, in one
// transaction. The caller holds write.
func (c *ControllerStore) store(s *state, sealed []*raft.Log) error {
	err := c.timed(func() error { return c.bolt.StoreLogs(append(sealed, witness(s))) })
	if err != nil {
		return c.fail("write", err)
	}
	c.state.Store(s)
	return nil
}

// DeleteRange deletes the entries from lo to hi, both included, as far as there
// are any. They must reach the log's beginning or its end.
func (c *ControllerStore) DeleteRange(lo, hi uint64) error {
	c.write.Lock()
	defer c.write.Unlock()
	return c.deleteRange(lo, hi)
}

// deleteRange writes the record first: after a crash, opening deletes what the
// record no longer has.
func (c *ControllerStore) deleteRange(lo, hi uint64) error {
	s := c.state.Load().clone()
	lo, hi = max(lo, s.first), min(hi, s.last)
	switch {
	case s.last == 0 || lo > hi:
		return nil
	case lo == s.first && hi == s.last:
		s.first, s.last, s.tail = 0, 0, 0
	case lo == s.first:
		s.first = hi + 1
	case hi == s.last:
		var sum uint32
		err := guard(func() (err error) {
			_, sum, _, err = c.read(lo - 1)
			return err
		})
		if err != nil {
			return c.fail("read", err)
		}
		s.last, s.tail = lo-1, sum
	default:
		return fmt.Errorf("store: deleting %d..%d out of %d..%d would leave a gap", lo, hi, s.first, s.last)
	}
	if err := c.store(s, nil); err != nil {
		return err
	}
	for lo <= hi { // from the end: what a crash leaves behind the log has no gap
		from := max(lo, hi-min(hi, deleteStep)+1)
		if err := c.timed(func() error { return c.bolt.DeleteRange(from, hi) }); err != nil {
			return c.fail("write", err)
		}
		hi = from - 1
	}
	return nil
}

// Set stores a value under a key; when it returns nil, the value lasts. The
// limits are those of GroupLog.Set.
func (c *ControllerStore) Set(key, value []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	s := c.state.Load().clone()
	if err := s.set(string(key), value); err != nil {
		return err
	}
	return c.store(s, nil)
}

// Get returns the value of a key. The error of a missing one reads "not found".
func (c *ControllerStore) Get(key []byte) ([]byte, error) { return c.state.Load().get(key) }

// SetUint64 stores a number under a key.
func (c *ControllerStore) SetUint64(key []byte, value uint64) error {
	return c.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 returns the number of a key. The error of a missing one reads "not
// found".
func (c *ControllerStore) GetUint64(key []byte) (uint64, error) {
	return c.state.Load().getUint64(key)
}

// timed runs one call of raft-boltdb under the watchdog.
func (c *ControllerStore) timed(call func() error) error {
	defer c.dir.watch.end(c.dir.watch.begin(opControllerWrite))
	return guard(call)
}

// fail ends the process, unless the log was just closed.
func (c *ControllerStore) fail(verb string, err error) error {
	if err != errClosed {
		c.dir.fail(fmt.Errorf("%s the controller's log: %w", verb, err))
	}
	return err
}

func (c *ControllerStore) close() error { return c.bolt.Close() }
