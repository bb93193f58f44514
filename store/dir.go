package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Format is the number of the layout and formats that this package writes. A
// directory of a later one is refused.
const Format = 2

const (
	lockFile      = "LOCK"
	versionFile   = "VERSION"
	filesDir      = "files"
	registerFile  = "replicas"
	logsDir       = "logs"
	segmentsFile  = "segments" // in logsDir
	controllerDir = "controller"
	snapshotsDir  = "snapshots"
	quarantineDir = "quarantine"
)

// Options of a data directory. The zero value works.
type Options struct {
	// Existing refuses (ErrForeign) to make a data directory where none is.
	Existing bool
	// Logger gets what happens rarely: damage, quarantine, leftovers removed.
	// Default: nothing is logged.
	Logger *slog.Logger
	// OnFatal ends the process after an error of the disk, and must not return;
	// a test may end its goroutine instead. Default: a panic that nothing can
	// recover from.
	OnFatal func(error)
	// HungAfter is how long one call may take before the disk counts as hung,
	// which is fatal too. Default 10 s.
	HungAfter time.Duration
	// Metrics are told what the partitions' log does.
	Metrics Metrics
	// Segment is the size of a file of the partitions' log, in bytes. Default 16 MiB.
	Segment int64
	// NoSync leaves syncs of the partitions' log out. For tests that must see
	// data lost.
	NoSync bool
	// FS is the file system; nil is the operating system's. For tests in which power
	// is cut, see package crashfs.
	FS FS
}

// Metrics are called after each commit to the partitions' log, one at a
// time; a nil one is not called. They must be quick and must not call the store.
type Metrics struct {
	// Commit: how long it took to write and sync, how many callers
	// shared it, how many entries and bytes of entries it appended.
	Commit func(took time.Duration, callers, entries, bytes int)
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = OS{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnFatal == nil {
		o.OnFatal = func(err error) {
			go panic(err) // on a goroutine of its own: no deferred recover can swallow it
			select {}
		}
	}
	if o.HungAfter <= 0 {
		o.HungAfter = 10 * time.Second
	}
	if o.Metrics.Commit == nil {
		o.Metrics.Commit = func(time.Duration, int, int, int) {}
	}
	return o
}

// Dir is an open data directory. Its methods may be called from any goroutine.
type Dir struct {
	path  string
	opts  Options
	disk  disk
	lock  *os.File
	watch *watchdog
	dead  atomic.Bool   // OnFatal was called
	ended chan struct{} // closed once it returned or ended its goroutine: in tests
	end   sync.Once     // closes ended

	commits, committing atomic.Int64 // see Commits

	filesMu sync.Mutex // one writer of small files at a time

	mu         sync.Mutex // what is open
	closed     bool
	logs       *Logs
	controller *ControllerStore
	snapshots  map[string]*Snapshots
}

// Open opens the data directory at path, or makes one of an absent or empty
// directory, with mode 0700, unless it must exist. It fails with ErrLocked if another process has it
// open, with ErrForeign if something else is in it or a later version wrote it,
// and with ErrDamaged if its VERSION file is.
func Open(path string, o Options) (*Dir, error) {
	if o.Existing {
		if _, err := os.Stat(filepath.Join(path, versionFile)); err != nil {
			return nil, fmt.Errorf("%w: %s holds no node's data: %w", ErrForeign, path, err)
		}
	}
	o = o.withDefaults()
	on := disk{o.FS}
	if err := on.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	lock, err := lockDir(path)
	if err != nil {
		return nil, err
	}
	if err := on.prepare(path); err != nil {
		return nil, errors.Join(fmt.Errorf("open the data directory %s: %w", path, err), lock.Close())
	}
	d := &Dir{path: path, opts: o, disk: on, lock: lock, snapshots: map[string]*Snapshots{}, ended: make(chan struct{})}
	d.watch = startWatchdog(d.opts.HungAfter, d.fail)
	return d, nil
}

// lockDir takes the directory's lock, which ends with the returned file. The
// kernel drops it with the process, however that ends.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the data directory %s: %w", path, err)
		}
		holder := make([]byte, 20)
		n, _ := f.Read(holder) // only for the message
		return nil, fmt.Errorf("%w: process %s has %s open; stop it, or use another directory",
			ErrLocked, strings.TrimSpace(string(holder[:n])), path)
	}
	// Not synced, not checked: it matters only while this process lives.
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return f, nil
}

// prepare makes an empty directory a data directory, accepts one of a format it
// knows, and removes what a crash has left half done.
func (d disk) prepare(path string) error {
	version, err := readSealed(filepath.Join(path, versionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return d.furnishEmpty(path)
	}
	if errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%w. It only says that the layout is version %d: if the rest of the directory is whole, restore "+
			"the file from another node's directory; otherwise move the directory away and join the cluster again with an empty one", err, Format)
	}
	if err != nil {
		return err
	}
	if err := checkFormat(string(version)); err != nil {
		return err
	}
	for _, sub := range subdirectories {
		if info, err := os.Stat(filepath.Join(path, sub)); err != nil || !info.IsDir() {
			return damagedf("the data directory", "its directory %s is missing", sub)
		}
	}
	for _, sub := range append([]string{"."}, subdirectories...) {
		if err := d.removeTemporaries(filepath.Join(path, sub)); err != nil {
			return err
		}
		// A process that was killed may have left a name that nobody had synced.
		// Whoever has read the file may build on it, so it must last.
		if err := d.SyncDir(filepath.Join(path, sub)); err != nil {
			return err
		}
	}
	return nil
}

var subdirectories = []string{filesDir, snapshotsDir, quarantineDir}

// furnishEmpty makes a data directory of an empty directory. VERSION comes last: a
// directory that has it has everything else.
func (d disk) furnishEmpty(path string) error {
	if err := checkEmpty(path); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o700); err != nil { // it will hold private keys
		return err
	}
	for _, sub := range subdirectories {
		if err := d.MkdirAll(filepath.Join(path, sub), 0o700); err != nil {
			return err
		}
	}
	if err := d.writeSealed(filepath.Join(path, versionFile), []byte(strconv.Itoa(Format)+"\n")); err != nil {
		return err
	}
	return d.SyncDir(filepath.Dir(filepath.Clean(path)))
}

func checkFormat(version string) error {
	n, err := strconv.Atoi(strings.TrimSpace(version))
	switch {
	case err != nil || n < 1:
		return damagedf(versionFile, "it says %q", version)
	case n > Format:
		return fmt.Errorf("%w: it has format %d and this program knows %d; run the newer version that wrote it", ErrForeign, n, Format)
	case n < Format:
		return fmt.Errorf("%w: it has format %d, which only versions before the first release wrote; this program knows %d", ErrForeign, n, Format)
	}
	return nil
}

// checkEmpty refuses a directory with anything in it but what a first Open cut
// off by a crash, or the making of a file system, leaves there.
func checkEmpty(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case lockFile, versionFile + tempSuffix, "lost+found":
		case filesDir, snapshotsDir, quarantineDir:
			if inside, err := os.ReadDir(filepath.Join(path, e.Name())); err != nil || len(inside) > 0 {
				return errors.Join(err, fmt.Errorf("%w: it has %s/ with files in it, and no %s; name an empty directory, or restore the file", ErrForeign, e.Name(), versionFile))
			}
		default:
			return fmt.Errorf("%w: it has %q in it, and no %s; name an empty directory", ErrForeign, e.Name(), versionFile)
		}
	}
	return nil
}

// fail ends the process because of err. It does not return.
func (d *Dir) fail(err error) {
	d.dead.Store(true)
	defer d.end.Do(func() { close(d.ended) })
	err = fmt.Errorf("store %s: %w", d.path, err)
	d.opts.Logger.Error("fatal error of the store", "error", err)
	d.opts.OnFatal(err)
	panic(err) // OnFatal returned
}

// awaitEnd waits for the end of the process, for a goroutine that would write while
// another one ends it: an error of its own might be told first, and be taken for
// the cause.
func (d *Dir) awaitEnd() { <-d.ended }

// Close closes what was opened through d and gives the lock up. Nothing may be
// under way.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	var errs []error
	if d.logs != nil {
		errs = append(errs, d.logs.close())
	}
	if d.controller != nil {
		errs = append(errs, d.controller.close())
	}
	d.watch.close()
	errs = append(errs, d.lock.Close())
	return errors.Join(errs...)
}

// Commits returns how many commits of the partitions' log there were since the
// directory was opened, and the time that writing and syncing took in all.
func (d *Dir) Commits() (n int64, took time.Duration) {
	return d.commits.Load(), time.Duration(d.committing.Load())
}

// errClosed is the answer of a directory that was closed.
var errClosed = fmt.Errorf("store: %w", fs.ErrClosed)
