package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

const (
	controllerLog     = "raft.db"
	controllerReplica = "replica"

	// controllerGroup takes the group's place in the sums of the entries.
	controllerGroup = math.MaxUint32
	// witnessIndex is the index under which raft-boltdb keeps the record.
	witnessIndex = math.MaxUint64
	// frame is what stands in front of an entry's data: its sum, and that of the
	// entry before.
	frame = 8
)

// ControllerStore is the controller's Raft log and stable store: raft-boltdb,
// which does not notice damage, behind checksums.
//
// Every entry carries the same sums as those of a GroupLog. What a group's
// record says, terms and votes included, is here one more entry, under the
// highest index there is. It is written in the transaction of the entries that
// it tells of, and stands in the page with the newest of them, so it costs no
// sync. A page cannot hide the newest entries without hiding the record, and the
// file's check (free and used pages must add up) finds pages of the past.
//
// Entries before or behind those that the record has are what a crash within
// DeleteRange left; opening removes them. Gaps are treated as by GroupLog.
type ControllerStore struct {
	dir   *Dir
	bolt  *raftboltdb.BoltStore
	write sync.Mutex // one writer at a time; it owns the next state
	state atomic.Pointer[state]
}

var (
	_ raft.LogStore    = (*ControllerStore)(nil)
	_ raft.StableStore = (*ControllerStore)(nil)
)

// OpenController opens the controller's log for a replica, or makes an empty one
// if the node has none, and verifies every entry. It fails if the log there is of
// another replica, and with ErrDamaged if it is not whole: DropController, and
// join the controller under a new name.
func (d *Dir) OpenController(replica string) (*ControllerStore, error) {
	if err := checkReplica(replica); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, errClosed
	case d.controller == nil:
		c, err := d.openController(replica)
		if err != nil {
			return nil, fmt.Errorf("open the controller's log: %w", err)
		}
		d.controller = c
	case d.controller.Replica() != replica:
		return nil, fmt.Errorf("store: the controller's log is open for replica %s, not %s", d.controller.Replica(), replica)
	}
	return d.controller, nil
}

func (d *Dir) openController(replica string) (*ControllerStore, error) {
	dir := filepath.Join(d.path, controllerDir)
	switch _, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		if err := d.createController(dir, replica); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	name, err := readSealed(filepath.Join(dir, controllerReplica))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, damagedf("directory "+controllerDir, "its file %s is missing", controllerReplica)
	case err != nil:
		return nil, err
	case string(name) != replica:
		return nil, fmt.Errorf("store: it is the log of replica %s, not of %s", name, replica)
	}
	path := filepath.Join(dir, controllerLog)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, damagedf("directory "+controllerDir, "its file %s is missing", controllerLog)
	}
	if err := checkBolt(path); err != nil {
		return nil, err
	}
	c := &ControllerStore{dir: d}
	if err := guard(func() error { return c.open(path) }); err != nil {
		return nil, err
	}
	err = guard(func() error { return c.load(replica) })
	if err == nil {
		err = guard(c.clean)
	}
	if err != nil {
		return nil, errors.Join(err, c.bolt.Close())
	}
	return c, nil
}

// createController makes the directory under another name, complete, and renames
// it. So what has the right name was complete once.
func (d *Dir) createController(dir, replica string) error {
	temp := dir + tempSuffix
	if err := d.disk.RemoveAll(temp); err != nil {
		return err
	}
	if err := d.disk.Mkdir(temp, 0o700); err != nil {
		return err
	}
	if err := d.disk.writeSealed(filepath.Join(temp, controllerReplica), []byte(replica)); err != nil {
		return err
	}
	c := &ControllerStore{dir: d}
	if err := c.open(filepath.Join(temp, controllerLog)); err != nil {
		return err
	}
	err := c.bolt.StoreLog(witness(&state{replica: replica}))
	if err := errors.Join(err, c.bolt.Close(), d.disk.SyncDir(temp)); err != nil {
		return err
	}
	return d.disk.renameSynced(temp, dir)
}

// open opens raft-boltdb. Its free list is written: the check of the file needs
// it, and this log is small.
func (c *ControllerStore) open(path string) (err error) {
	c.bolt, err = raftboltdb.New(raftboltdb.Options{
		Path:        path,
		BoltOptions: &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType},
	})
	return err
}

// DropController deletes the controller's log, which must not be in use. If there
// is none, that is no error.
func (d *Dir) DropController() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.controller != nil {
		if err := d.controller.close(); err != nil {
			return err
		}
		d.controller = nil
	}
	// One rename, because half a log must not be found.
	if err := d.disk.removeDir(filepath.Join(d.path, controllerDir)); err != nil {
		return fmt.Errorf("drop the controller's log: %w", err)
	}
	return nil
}

// load verifies the record and every entry.
func (c *ControllerStore) load(replica string) error {
	var l raft.Log
	if err := c.bolt.GetLog(witnessIndex, &l); err != nil {
		return damagedf("file "+controllerLog, "its record cannot be read: %v", err)
	}
	s, err := openWitness(&l)
	if err != nil {
		return damagedf("file "+controllerLog, "%v", err)
	}
	if s.replica != replica {
		return damagedf("file "+controllerLog, "its record is of replica %s", s.replica)
	}
	tail := uint32(0)
	for i := s.first; i <= s.last && i != 0; i++ {
		_, sum, prev, err := c.read(i)
		if err != nil {
			return damagedf("file "+controllerLog, "%v", err)
		}
		if i > s.first && prev != tail {
			return damagedf("file "+controllerLog, "entry %d does not follow entry %d", i, i-1)
		}
		tail = sum
	}
	if tail != s.tail {
		return damagedf("file "+controllerLog, "entry %d is not the one that was written last", s.last)
	}
	c.state.Store(s)
	return nil
}

// clean removes what a crash within DeleteRange left before and behind the log.
func (c *ControllerStore) clean() error {
	s := c.state.Load()
	for {
		first, err := c.bolt.FirstIndex()
		if err != nil {
			return err
		}
		if first == witnessIndex || (s.last > 0 && first >= s.first) {
			break
		}
		if err := c.bolt.DeleteRange(first, first); err != nil {
			return err
		}
	}
	for i := s.last + 1; s.last > 0; i++ {
		var l raft.Log
		err := c.bolt.GetLog(i, &l)
		if errors.Is(err, raft.ErrLogNotFound) {
			break
		}
		if err := errors.Join(err, c.bolt.DeleteRange(i, i)); err != nil {
			return err
		}
	}
	return nil
}

// witness encodes the record as an entry: the state and a sum.
func witness(s *state) *raft.Log {
	data := appendState(nil, s)
	data = binary.BigEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
	return &raft.Log{Index: witnessIndex, Data: data}
}

func openWitness(l *raft.Log) (*state, error) {
	end := len(l.Data) - 4
	if l.Index != witnessIndex || end < 0 || binary.BigEndian.Uint32(l.Data[end:]) != crc32.Checksum(l.Data[:end], castagnoli) {
		return nil, errors.New("its record has a wrong checksum")
	}
	return decodeState(l.Data[:end])
}

// seal returns l as raft-boltdb stores it, and its sum.
func (c *ControllerStore) seal(l *raft.Log, prev uint32) (*raft.Log, uint32, error) {
	v, err := newEntry(l)
	if err != nil {
		return nil, 0, err
	}
	sum := sealEntry(v, controllerGroup, l.Index, prev)
	sealed := *l
	sealed.Data = append(v[:frame:frame], l.Data...)
	return &sealed, sum, nil
}

// read returns an entry in the encoding of a GroupLog, verified, and its sums.
func (c *ControllerStore) read(index uint64) (v []byte, sum, prev uint32, err error) {
	var l raft.Log
	if err := c.bolt.GetLog(index, &l); err != nil {
		return nil, 0, 0, fmt.Errorf("entry %d cannot be read: %w", index, err)
	}
	if len(l.Data) < frame || l.Index != index {
		return nil, 0, 0, fmt.Errorf("entry %d has %d bytes of data and index %d", index, len(l.Data), l.Index)
	}
	sums := l.Data[:frame]
	l.Data = l.Data[frame:]
	if v, err = newEntry(&l); err != nil {
		return nil, 0, 0, err
	}
	copy(v, sums)
	sum, prev, err = checkEntry(v, controllerGroup, index)
	return v, sum, prev, err
}
