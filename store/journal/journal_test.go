package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// ramDir is a directory for tests to which no power cut comes: on a memory file
// system where there is one.
func ramDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "cairn-journal-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

// disk is a directory with the list that a journal in it has saved.
type disk struct {
	dir     string
	size    int64
	list    []Segment
	noSync  bool
	saveErr error
}

func newDisk(t testing.TB, size int64) *disk { return &disk{dir: ramDir(t), size: size} }

// visited is what an opening was told of a batch.
type visited struct {
	segment, addr uint32
	first, whole  bool
	data          string
}

// open opens the journal that is on the disk.
func (d *disk) open(t testing.TB) (*Journal, []visited) {
	t.Helper()
	var all []visited
	j, err := Open(d.dir, d.list, Options{Size: d.size, NoSync: d.noSync, Save: func(list []Segment) error {
		if d.saveErr == nil {
			d.list = slices.Clone(list)
		}
		return d.saveErr
	}}, func(b *Batch) {
		all = append(all, visited{b.Segment, b.Addr, b.First, b.Data != nil && len(b.Holes) == 0, string(b.Data)})
	})
	must(t, err)
	return j, all
}

func (d *disk) path(segment uint32) string {
	return filepath.Join(d.dir, fmt.Sprintf("%08d.log", segment))
}

func (d *disk) names(t testing.TB) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(d.dir)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// model is what a journal has to have.
type model struct {
	segments []uint32
	batches  map[uint32][]visited
	next     int // content of the next batch
}

func (m *model) data(n int) []byte {
	m.next++
	return content(n, m.next)
}

func (m *model) add(segment, addr uint32, data []byte) {
	first := len(m.batches[segment]) == 0
	m.batches[segment] = append(m.batches[segment], visited{segment, addr, first, true, string(data)})
}

func (m *model) all() (all []visited) {
	for _, s := range m.segments {
		all = append(all, m.batches[s]...)
	}
	return all
}

func (m *model) roll(t testing.TB, j *Journal, first []byte, room int, drop []uint32) {
	t.Helper()
	must(t, j.Roll(first, room, drop))
	if !j.Fits(room) {
		t.Fatalf("%d bytes do not fit into a segment with room for them", room)
	}
	m.segments = slices.DeleteFunc(m.segments, func(s uint32) bool { return slices.Contains(drop, s) })
	m.segments = append(m.segments, j.Newest().Number)
	m.add(j.Newest().Number, address(0), first)
}

// TestJournal: whatever is appended, rolled, given up and opened again, exactly
// what is in the segments that were kept is visited and read, the rest is gone.
func TestJournal(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDisk(t, 16*SectorSize)
		j, _ := d.open(t)
		defer func() { must(t, j.Close()) }()
		m := &model{batches: map[uint32][]visited{}}
		size := rapid.OneOf(rapid.IntRange(0, 1500), rapid.IntRange(0, 12000))
		roll := func(rt *rapid.T) {
			var drop []uint32
			for _, s := range m.segments {
				if rapid.IntRange(0, 2).Draw(rt, "drop") == 0 {
					drop = append(drop, s)
				}
			}
			m.roll(t, j, m.data(size.Draw(rt, "first")), size.Draw(rt, "room"), drop)
		}
		roll(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				data := m.data(size.Draw(rt, "bytes"))
				if !j.Fits(len(data)) {
					m.roll(t, j, m.data(10), len(data), nil)
				}
				addr, err := j.Append(data)
				must(t, err)
				m.add(j.Newest().Number, addr, data)
			},
			"roll":    roll,
			"prepare": func(*rapid.T) { must(t, j.Prepare()) },
			"open again": func(rt *rapid.T) {
				must(t, j.Close())
				var got []visited
				j, got = d.open(t)
				if !slices.Equal(got, m.all()) {
					rt.Fatalf("an opening visits %d batches, want %d", len(got), len(m.all()))
				}
				roll(rt)
			},
			"": func(rt *rapid.T) { compare(rt, d, j, m) },
		})
	})
}

// compare reads everything, and some that is not there.
func compare(t *rapid.T, d *disk, j *Journal, m *model) {
	var numbers []uint32
	for _, s := range j.Segments() {
		numbers = append(numbers, s.Number)
	}
	if !slices.Equal(numbers, m.segments) || !slices.Equal(j.Segments(), d.list) {
		t.Fatalf("segments %v, saved %v, want %v", numbers, d.list, m.segments)
	}
	for _, b := range m.all() {
		if len(b.data) == 0 {
			continue
		}
		from := rapid.IntRange(0, len(b.data)-1).Draw(t, "from")
		to := rapid.IntRange(from+1, len(b.data)).Draw(t, "to")
		got, err := j.Read(b.segment, b.addr+uint32(from), to-from)
		if err != nil || string(got) != b.data[from:to] {
			t.Fatalf("bytes %d..%d at %d of segment %d: %v", from, to, b.addr, b.segment, err)
		}
	}
	for s := range m.batches {
		if !slices.Contains(m.segments, s) {
			if _, err := j.Read(s, address(0), 1); !errors.Is(err, ErrGone) {
				t.Fatalf("a segment that was given up: %v, want ErrGone", err)
			}
		}
	}
	files, err := os.ReadDir(d.dir)
	if err != nil || len(files) > len(m.segments)+1 { // and a spare one
		t.Fatalf("%d files for %d segments, %v", len(files), len(m.segments), err)
	}
}

// TestRecycle: a segment that is given up is the next one's file, but for one of
// another size.
func TestRecycle(t *testing.T) {
	d := newDisk(t, 8*SectorSize)
	j, _ := d.open(t)
	must(t, j.Roll([]byte("1"), 0, nil))
	must(t, j.Roll([]byte("2"), 20*SectorSize, nil))
	if s := j.Newest(); s.Number != 2 || s.Size <= d.size || !j.Fits(20*SectorSize) || j.Fits(int(s.Size)) {
		t.Fatalf("a large segment is %+v", s)
	}
	must(t, j.Roll([]byte("3"), 0, []uint32{2}))
	if got := d.names(t); !slices.Equal(got, []string{"00000001.log", "00000003.log"}) {
		t.Fatalf("a large segment became a spare file: %v", got)
	}
	before, err := os.Stat(d.path(1))
	must(t, err)
	must(t, j.Roll([]byte("4"), 0, []uint32{1}))
	if got := d.names(t); !slices.Equal(got, []string{"00000003.log", "00000004.log", "spare"}) {
		t.Fatalf("files %v", got)
	}
	must(t, j.Prepare()) // there is one
	must(t, j.Roll([]byte("5"), 0, nil))
	after, err := os.Stat(d.path(5))
	must(t, err)
	if !os.SameFile(before, after) {
		t.Fatal("segment 5 is not the file of segment 1")
	}
	must(t, j.Roll([]byte("6"), 0, []uint32{3}))
	must(t, j.Roll([]byte("7"), 0, []uint32{4, 5})) // one spare file is enough
	if got := d.names(t); !slices.Equal(got, []string{"00000006.log", "00000007.log", "spare"}) {
		t.Fatalf("files %v", got)
	}
	must(t, j.Close())
	j, got := d.open(t) // with the spare file
	if len(got) != 2 || got[0].data != "6" || got[1].data != "7" {
		t.Fatalf("visited %+v", got)
	}
	must(t, j.Roll([]byte("8"), 0, nil))
	if got := d.names(t); !slices.Equal(got, []string{"00000006.log", "00000007.log", "00000008.log"}) {
		t.Fatalf("files %v", got)
	}
	must(t, j.Close())
}

// TestPrepareBesideRolls: spare files that are made, taken, and left by segments
// that are given up, all at once, do not get into each other's way.
func TestPrepareBesideRolls(t *testing.T) {
	d := newDisk(t, 4*SectorSize)
	j, _ := d.open(t)
	must(t, j.Roll([]byte("first"), 0, nil))
	done := make(chan bool)
	var preparing sync.WaitGroup
	for range 2 {
		preparing.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := j.Prepare(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var want []visited
	for i := range 3000 {
		var drop []uint32
		if i%3 > 0 { // with one that is left behind now and then
			drop = []uint32{j.Newest().Number}
			want = nil
		}
		data := fmt.Sprint("batch ", i)
		if err := j.Roll([]byte(data), 0, drop); err != nil {
			t.Errorf("roll %d: %v", i, err)
			break
		}
		want = append(want, visited{j.Newest().Number, address(0), true, true, data})
	}
	close(done)
	preparing.Wait()
	must(t, j.Close())
	j, got := d.open(t)
	if len(want) > len(got) || !slices.Equal(got[len(got)-len(want):], want) {
		t.Fatalf("visited %d batches, want %v at the end", len(got), want)
	}
	must(t, j.Close())
}

// TestReadDamage: what changes while the journal is open is never returned.
func TestReadDamage(t *testing.T) {
	d := newDisk(t, 8*SectorSize)
	j, _ := d.open(t)
	must(t, j.Roll(content(3*Content, 0), 0, nil))
	f, err := os.OpenFile(d.path(1), os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte{0}, SectorSize+200)
	must(t, errors.Join(err, f.Close()))
	for _, test := range []struct {
		addr, n int
		want    error
	}{
		{4, Content - 4, nil},
		{4, Content - 3, ErrDamaged},
		{Content + 5, 1, ErrDamaged},
		{2 * Content, Content, nil},
		{2*Content - 1, 10, ErrDamaged},
		{5 * Content, 10, ErrDamaged}, // nothing was written there
		{7 * Content, 2 * Content, ErrDamaged},
		{100 * Content, 10, ErrDamaged},
	} {
		if _, err := j.Read(1, uint32(test.addr), test.n); !errors.Is(err, test.want) {
			t.Errorf("%d bytes at %d: %v, want %v", test.n, test.addr, err, test.want)
		}
	}
	if _, err := j.Read(2, 4, 1); !errors.Is(err, ErrGone) {
		t.Errorf("a segment that is not there: %v", err)
	}
	must(t, j.Close())
	if _, err := j.Read(1, 4, 1); !errors.Is(err, ErrGone) {
		t.Errorf("a closed journal: %v", err)
	}
}

// TestLimits: a batch that cannot be written is refused before anything is.
func TestLimits(t *testing.T) {
	d := newDisk(t, 1<<40)
	d.noSync = true // a hole in place of zeros
	j, _ := d.open(t)
	must(t, j.Roll(nil, MaxBatch, nil))
	if s := j.Newest(); s.Size != MaxSegment {
		t.Fatalf("a segment has %d bytes, want %d", s.Size, MaxSegment)
	}
	if _, err := j.Append(make([]byte, MaxBatch+1)); err == nil {
		t.Fatal("a batch beyond the limit was written")
	}
	data := content(MaxBatch, 3)
	addr, err := j.Append(data)
	must(t, err)
	if got, err := j.Read(1, addr, MaxBatch); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("the largest batch: %v", err)
	}
	must(t, j.Close())
	j, got := d.open(t)
	if len(got) != 2 || !got[1].whole || got[1].data != string(data) {
		t.Fatalf("%d batches", len(got))
	}
	must(t, j.Close())
}

// BenchmarkAppend writes batches that last when Append returns.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			d := &disk{dir: b.TempDir(), size: DefaultSize}
			j, _ := d.open(b)
			must(b, j.Roll(nil, size, nil))
			data := content(size, 0)
			b.SetBytes(int64(size))
			for b.Loop() {
				if !j.Fits(size) {
					must(b, j.Roll(nil, size, []uint32{j.Newest().Number}))
				}
				_, err := j.Append(data)
				must(b, err)
			}
			must(b, j.Close())
		})
	}
}
