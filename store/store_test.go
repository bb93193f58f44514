package store

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"cairn/store/storetest"
)

// long runs the suites that take minutes: go test ./store -long.
var long = flag.Bool("long", false, "run the long suites too")

// child is the main function of a child process, where crash tests are possible;
// it says whether this is one.
var child = func() bool { return false }

func TestMain(m *testing.M) {
	if child() {
		return
	}
	goleak.VerifyTestMain(m)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens a directory and closes it when the test ends, if it still is open.
func open(t testing.TB, path string, o Options) *Dir {
	t.Helper()
	d, err := Open(path, o)
	must(t, err)
	t.Cleanup(func() { must(t, d.Close()) })
	return d
}

// ramDir is a directory for tests to which no power cut comes: on a memory file
// system where there is one, because thousands of syncs take minutes elsewhere.
func ramDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "cairn-store-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

// fatal is an OnFatal that keeps the error and ends the goroutine that met it.
type fatal struct{ err atomic.Pointer[error] }

func (f *fatal) on(err error) {
	f.err.CompareAndSwap(nil, &err)
	runtime.Goexit()
}

func (f *fatal) get() error {
	if p := f.err.Load(); p != nil {
		return *p
	}
	return nil
}

// groupDisk opens group 7's log in a data directory.
type groupDisk struct {
	path    string
	options Options
	dir     *Dir
}

func (d *groupDisk) Open(t testing.TB) storetest.Store {
	t.Helper()
	if d.dir != nil {
		must(t, d.dir.Close())
	}
	d.dir = open(t, d.path, d.options)
	l, err := d.dir.Logs()
	must(t, err)
	g, err := l.Open(7, "node.1")
	if errors.Is(err, fs.ErrNotExist) {
		g, err = l.Create(7, "node.1")
	}
	must(t, err)
	return g
}

// controllerDisk opens the controller's log in a data directory.
type controllerDisk struct {
	path string
	dir  *Dir
}

func (d *controllerDisk) Open(t testing.TB) storetest.Store {
	t.Helper()
	if d.dir != nil {
		must(t, d.dir.Close())
	}
	d.dir = open(t, d.path, Options{})
	c, err := d.dir.OpenController("node.1")
	must(t, err)
	return c
}

// memory is raft's own store for tests: it shows that the suite asks for what
// raft needs, and not for what our stores happen to do.
type memory struct{}

func (memory) Open(testing.TB) storetest.Store { return raft.NewInmemStore() }

// newGroupDisk has smaller segments than nodes have: filling large ones with zeros
// would take longer than all else here.
func newGroupDisk(t testing.TB) storetest.Disk {
	return &groupDisk{path: filepath.Join(ramDir(t), "data"), options: Options{Segment: 1 << 20}}
}

// newTinyDisk has segments so small that the log begins a new one all the time,
// gives old ones up, and empties them.
func newTinyDisk(t testing.TB) storetest.Disk {
	return &groupDisk{path: filepath.Join(ramDir(t), "data"), options: Options{Segment: tinySegment}}
}

const tinySegment = 16 << 10

func newControllerDisk(t testing.TB) storetest.Disk {
	return &controllerDisk{path: filepath.Join(ramDir(t), "data")}
}

func TestGroupLog(t *testing.T) {
	storetest.RunLogStore(t, newGroupDisk, storetest.Options{})
}

func TestTinySegments(t *testing.T) {
	storetest.RunLogStore(t, newTinyDisk, storetest.Options{})
}

func TestControllerStore(t *testing.T) {
	storetest.RunLogStore(t, newControllerDisk, storetest.Options{})
}

func TestInmemStore(t *testing.T) {
	storetest.RunLogStore(t, func(testing.TB) storetest.Disk { return memory{} },
		storetest.Options{Volatile: true, Gaps: true, ZeroForMissing: true})
}

func TestGroupLogTwin(t *testing.T) { storetest.RunTwin(t, newGroupDisk) }

func TestTinySegmentsTwin(t *testing.T) { storetest.RunTwin(t, newTinyDisk) }

func TestControllerStoreTwin(t *testing.T) { storetest.RunTwin(t, newControllerDisk) }
