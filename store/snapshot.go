package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/raft"

	"cairn/store/journal"
)

const (
	// retain is how many snapshots of a group are kept. Raft is offered only the
	// newest; the one before is there for an operator.
	retain = 2
	// MaxSnapshot is the size of the largest snapshot, in bytes.
	MaxSnapshot = 16 << 30
	// snapshotBuffer is how much of a snapshot is written or read at once.
	snapshotBuffer = 256 << 10
)

// Snapshots are one group's snapshots, a raft.SnapshotStore.
//
// List returns the newest one only. Raft falls back to an older snapshot when it
// cannot open the newest, but the log behind the newest may be gone, and then the
// replica would go back in time without a word. So a damaged newest snapshot is
// damage of the replica: List or Open says so, and raft does not start.
type Snapshots struct {
	dir  *Dir
	name string
	path string

	mu     sync.Mutex
	number uint32 // of the last snapshot made
}

var _ raft.SnapshotStore = (*Snapshots)(nil)

// Snapshots returns the snapshot store of a group, the same for the same name
// ("controller", "p0007"), and removes what a crash left half written in it.
func (d *Dir) Snapshots(name string) (*Snapshots, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	if s := d.snapshots[name]; s != nil {
		return s, nil
	}
	s := &Snapshots{dir: d, name: name, path: filepath.Join(d.path, snapshotsDir, name)}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("open the snapshots of %s: %w", name, err)
	}
	d.snapshots[name] = s
	return s, nil
}

func (s *Snapshots) prepare() error {
	err := s.dir.disk.Mkdir(s.path, 0o700)
	switch {
	case errors.Is(err, fs.ErrExist):
		err = s.dir.disk.removeTemporaries(s.path)
	case err == nil:
		err = s.dir.disk.SyncDir(filepath.Dir(s.path))
	}
	if err != nil {
		return err
	}
	ids, err := s.ids()
	for _, id := range ids {
		_, number, _ := parseSnapshotID(id + snapshotSuffix)
		s.number = max(s.number, number)
	}
	return err
}

// DropSnapshots deletes all snapshots of a group, whose Raft must have stopped.
func (d *Dir) DropSnapshots(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.snapshots, name)
	path := filepath.Join(d.path, snapshotsDir, name)
	// One rename, because an older snapshot must not be found without the newer.
	if err := d.disk.removeDir(path); err != nil {
		return fmt.Errorf("drop the snapshots of %s: %w", name, err)
	}
	return nil
}

// ids returns the snapshots, the newest first.
func (s *Snapshots) ids() ([]string, error) {
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if id, _, ok := parseSnapshotID(e.Name()); ok {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return strings.Compare(b, a) })
	return ids, nil
}

// List returns the newest snapshot, or nothing if there is none; ErrDamaged if
// its header is.
func (s *Snapshots) List() ([]*raft.SnapshotMeta, error) {
	defer s.dir.watch.end(s.dir.watch.begin(opSnapshotRead))
	ids, err := s.ids()
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	f, meta, _, err := openSnapshot(s.path, ids[0])
	if err != nil {
		return nil, err
	}
	return []*raft.SnapshotMeta{meta}, f.Close()
}

// Open verifies a whole snapshot, and returns it for reading if it is what was
// written, ErrDamaged otherwise. Damage that happens after the check gives
// ErrDamaged instead of io.EOF.
func (s *Snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	f, meta, at, err := openSnapshot(s.path, id)
	if err != nil {
		return nil, nil, err
	}
	content, err := s.content(f, meta, at)
	if err == nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, content, make([]byte, snapshotBuffer))
	}
	if err == nil {
		content, err = s.content(f, meta, at)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return meta, content, nil
}

// content returns a reader that stands at the first byte of the content.
func (s *Snapshots) content(f *os.File, meta *raft.SnapshotMeta, at int64) (*contentReader, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	head := make([]byte, at)
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, err
	}
	return &contentReader{
		watch: s.dir.watch, f: f, id: meta.ID,
		left: meta.Size, size: meta.Size, sum: snapshotSum(meta.ID, head),
	}, nil
}

// Verify checks the newest snapshot whole, and that a log with the entries
// first..last (0, 0: none) goes on from it. ErrDamaged means that the replica
// cannot be started.
func (s *Snapshots) Verify(first, last uint64) error {
	metas, err := s.List()
	if err != nil {
		return err
	}
	covered := uint64(0)
	if len(metas) > 0 {
		_, content, err := s.Open(metas[0].ID)
		if err != nil {
			return err
		}
		if err := content.Close(); err != nil {
			return err
		}
		covered = metas[0].Index
	}
	if last > 0 && first > covered+1 {
		return damagedf("replica "+s.name, "its log begins at %d and its newest snapshot ends at %d", first, covered)
	}
	return nil
}

// Create begins a snapshot. Nothing of it is visible before its sink is closed.
func (s *Snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport,
) (raft.SnapshotSink, error) {
	if version != raft.SnapshotVersionMax {
		return nil, fmt.Errorf("store: snapshots of version %d are not supported", version)
	}
	s.mu.Lock()
	s.number++
	id := snapshotID(index, term, s.number)
	s.mu.Unlock()
	head, err := encodeSnapshotHeader(&raft.SnapshotMeta{
		ID: id, Index: index, Term: term, Configuration: configuration, ConfigurationIndex: configurationIndex,
	})
	if err != nil {
		return nil, err
	}
	k := &sink{store: s, id: id, path: filepath.Join(s.path, id+snapshotSuffix), sum: snapshotSum(id, head)}
	k.timed(func() (err error) {
		if k.f, err = s.dir.disk.OpenFile(k.path+tempSuffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return err
		}
		k.w = bufio.NewWriterSize(k.f, snapshotBuffer)
		_, err = k.w.Write(head)
		return err
	})
	return k, nil
}

// sink writes one snapshot. An error of the disk is fatal.
type sink struct {
	store *Snapshots
	id    string
	path  string // once it is complete
	f     journal.File
	w     *bufio.Writer
	size  uint64
	sum   uint32
	done  bool
}

// ID names the snapshot for Open.
func (k *sink) ID() string { return k.id }

// timed makes one step under the watchdog, and ends the process if it fails.
func (k *sink) timed(step func() error) {
	watch := k.store.dir.watch
	defer watch.end(watch.begin(opSnapshotWrite))
	if err := step(); err != nil {
		k.store.dir.fail(fmt.Errorf("write a snapshot of %s: %w", k.store.name, err))
	}
}

// Write appends to the content, which can have MaxSnapshot bytes.
func (k *sink) Write(b []byte) (int, error) {
	switch {
	case k.done:
		return 0, errClosed
	case k.size+uint64(len(b)) > MaxSnapshot:
		return 0, fmt.Errorf("store: a snapshot with more than %d bytes", int64(MaxSnapshot))
	}
	k.timed(func() error {
		_, err := k.w.Write(b)
		return err
	})
	k.size += uint64(len(b))
	k.sum = crc32.Update(k.sum, castagnoli, b)
	return len(b), nil
}

// Close makes the snapshot last and visible, in this order: content and checksum
// are synced, the file gets its name, the name is synced. Then older snapshots
// are deleted. A second Close, or one after Cancel, does nothing.
func (k *sink) Close() error {
	if k.done {
		return nil
	}
	k.done = true
	trailer := binary.BigEndian.AppendUint64(nil, k.size)
	trailer = binary.BigEndian.AppendUint32(trailer, crc32.Update(k.sum, castagnoli, trailer))
	k.timed(func() error {
		if _, err := k.w.Write(trailer); err != nil {
			return err
		}
		if err := k.w.Flush(); err != nil {
			return err
		}
		return k.f.Sync()
	})
	k.timed(func() error {
		if err := k.f.Close(); err != nil {
			return err
		}
		return k.store.dir.disk.renameSynced(k.path+tempSuffix, k.path)
	})
	k.timed(func() error { return k.store.reap(k.id) })
	return nil
}

// Cancel gives the snapshot up.
func (k *sink) Cancel() error {
	if k.done {
		return nil
	}
	k.done = true
	k.timed(func() error { return errors.Join(k.f.Close(), k.store.dir.disk.Remove(k.path+tempSuffix)) })
	return nil
}

// reap deletes all snapshots but the newest, and made, which raft is about to
// open.
func (s *Snapshots) reap(made string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids, err := s.ids()
	if err != nil {
		return err
	}
	for i, id := range ids {
		if i < retain || id == made {
			continue
		}
		if err := s.dir.disk.Remove(filepath.Join(s.path, id+snapshotSuffix)); err != nil {
			return err
		}
	}
	return nil
}
