package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
)

// DefaultSize of a segment, in bytes.
const DefaultSize = 16 << 20

// ErrDamaged says that what is in a segment is not what was written.
var ErrDamaged = errors.New("damaged")

// ErrGone says that a segment is not part of the journal, or not any more.
var ErrGone = errors.New("the segment is gone")

// Segment names a file of the journal.
type Segment struct {
	Number uint32 // from 1, never used again
	Size   int64  // in bytes, a multiple of SectorSize
}

// Options of a journal.
type Options struct {
	// Size of a segment. Default DefaultSize, at most MaxSegment. A batch that
	// needs more gets a segment as large as it needs.
	Size int64
	// NoSync leaves out what makes writes last. For tests that must see data lost.
	NoSync bool
	// Save keeps the list of segments, the newest last; when it returns nil, the
	// list lasts, and an error leaves the old one. Must be set.
	Save func([]Segment) error
	// FS is the file system. Default OS.
	FS FS
}

// Journal is an open journal. Append and Roll are for one caller at a time; the
// rest may be called from any goroutine. After an error of Append or Roll the
// journal must not be used: what is on disk is not known.
type Journal struct {
	dir string
	o   Options

	end     int    // position of the next sector in the newest segment
	batch   uint32 // number of the newest batch in it
	buf     []byte
	newest  File
	current Segment

	mu        sync.RWMutex
	list      []Segment // the newest last
	files     map[uint32]File
	spare     bool // there is a file to make a segment of
	preparing bool
}

// Open opens the journal in a directory, which exists, with the list that Save
// kept last, empty at first. It visits the batches of all segments in order, and
// removes files that are of no segment. A segment that is missing, or has
// another size, is visited as damage. Before anything is appended, Roll must
// begin another segment.
func Open(dir string, list []Segment, o Options, visit func(*Batch)) (*Journal, error) {
	if o.FS == nil {
		o.FS = OS{}
	}
	if o.Size <= 0 {
		o.Size = DefaultSize
	}
	o.Size = min((o.Size+SectorSize-1)/SectorSize*SectorSize, MaxSegment)
	j := &Journal{dir: dir, o: o, list: slices.Clone(list), files: map[uint32]File{}}
	err := j.load(visit)
	if err == nil {
		err = j.syncDir() // the list may be newer than what lasts of the directory
	}
	if err == nil {
		err = j.tidy()
	}
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

func (j *Journal) load(visit func(*Batch)) error {
	for i, s := range j.list {
		f, err := j.o.FS.OpenFile(j.path(s.Number), os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			visit(&Batch{Segment: s.Number})
			continue
		}
		if err != nil {
			return err
		}
		j.files[s.Number] = f
		if i == len(j.list)-1 && !j.o.NoSync {
			// A process that was killed left what the kernel had not written yet.
			// Whoever has seen it may build on it, so it must last.
			if err := f.Sync(); err != nil {
				return err
			}
		}
		b := make([]byte, s.Size)
		n, err := io.ReadFull(io.NewSectionReader(f, 0, s.Size), b)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		scan(s.Number, b[:n/SectorSize*SectorSize], visit)
		if int64(n) < s.Size {
			visit(&Batch{Segment: s.Number})
		}
	}
	return nil
}

// Append writes a batch and returns, once it lasts, the address of its first
// byte in the newest segment. The caller has asked Fits. More than MaxBatch bytes
// are an error.
func (j *Journal) Append(data []byte) (addr uint32, err error) {
	if len(data) > MaxBatch {
		return 0, fmt.Errorf("a batch of %d bytes is larger than %d", len(data), MaxBatch)
	}
	j.buf = appendBatch(j.buf[:0], j.current.Number, j.batch+1, j.end, data)
	if _, err := j.newest.WriteAt(j.buf, int64(j.end)*SectorSize); err != nil {
		return 0, err
	}
	if !j.o.NoSync {
		if err := syncData(j.newest); err != nil {
			return 0, err
		}
	}
	addr = address(j.end)
	j.end += len(j.buf) / SectorSize
	j.batch++
	return addr, nil
}

// Fits tells whether a batch of n bytes fits into what is left of the newest
// segment.
func (j *Journal) Fits(n int) bool {
	return int64(j.end+sectors(n))*SectorSize <= j.current.Size
}

// Newest returns the segment that Append writes to.
func (j *Journal) Newest() Segment { return j.current }

// Segments returns all segments, the newest last.
func (j *Journal) Segments() []Segment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return slices.Clone(j.list)
}

// Roll begins a segment with a first batch, which must say all that counts
// beside what is in the segments that stay, and gives up those in drop. The
// segment has room for a batch of at least room bytes after the first. A crash
// within Roll leaves the old segments as they were, or all done.
func (j *Journal) Roll(first []byte, room int, drop []uint32) error {
	next := Segment{Number: 1, Size: max(j.o.Size, int64(sectors(len(first))+sectors(room))*SectorSize)}
	if n := len(j.list); n > 0 {
		next.Number = j.list[n-1].Number + 1
	}
	f, err := j.newFile(next)
	if err != nil {
		return fmt.Errorf("make segment %d: %w", next.Number, err)
	}
	j.mu.Lock()
	j.files[next.Number] = f
	j.mu.Unlock()
	j.newest, j.current, j.end, j.batch = f, next, 0, 0
	if _, err := j.Append(first); err != nil {
		return err
	}
	var dropped []Segment
	list := slices.DeleteFunc(j.Segments(), func(s Segment) bool {
		if slices.Contains(drop, s.Number) {
			dropped = append(dropped, s)
			return true
		}
		return false
	})
	list = append(list, next)
	if err := j.o.Save(list); err != nil {
		return fmt.Errorf("save the list of segments: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = list
	for _, s := range dropped {
		if err := j.discard(s); err != nil {
			return err
		}
	}
	return nil
}

// Read returns n bytes from an address on: ErrGone if the segment was dropped,
// ErrDamaged if a sector is not what was written.
func (j *Journal) Read(segment, addr uint32, n int) ([]byte, error) {
	f := j.file(segment)
	if f == nil {
		return nil, ErrGone
	}
	b, err := read(f, segment, addr, n)
	if err != nil && j.file(segment) != f {
		return nil, ErrGone // dropped meanwhile: another segment may be in its file by now
	}
	return b, err
}

func (j *Journal) file(segment uint32) File {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.files[segment]
}

func read(f File, segment, addr uint32, n int) ([]byte, error) {
	first, last := int(addr)/Content, (int(addr)+n-1)/Content
	b := make([]byte, (last-first+1)*SectorSize)
	switch _, err := f.ReadAt(b, int64(first)*SectorSize); {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("segment %d ends before byte %d: %w", segment, (last+1)*SectorSize, ErrDamaged)
	case err != nil:
		return nil, err
	}
	out := b[:0] // contents move forward only
	for at := first; at <= last; at++ {
		s := b[(at-first)*SectorSize:][:SectorSize]
		if classify(s, segment, at).kind != written {
			return nil, fmt.Errorf("sector %d of segment %d: %w", at, segment, ErrDamaged)
		}
		out = append(out, s[sectorHeader:]...)
	}
	from := int(addr) - first*Content
	return out[from : from+n : from+n], nil
}

// Close closes the files. Nothing may be under way.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for n, f := range j.files {
		errs = append(errs, f.Close())
		delete(j.files, n)
	}
	return errors.Join(errs...)
}
