package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	spareFile = "spare"
	suffix    = ".log"
	temporary = ".tmp"
)

func (j *Journal) path(segment uint32) string {
	return filepath.Join(j.dir, fmt.Sprintf("%08d%s", segment, suffix))
}

// newFile makes the file of a segment: of the spare one if it is there. Its name
// lasts before anything is written to it: a crash that gave it its old name back
// would leave a spare file with sectors of a number that is used again.
func (j *Journal) newFile(s Segment) (File, error) {
	path := j.path(s.Number)
	taken, err := j.takeSpare(path, s.Size)
	if err == nil && !taken {
		err = j.fill(path, s.Size)
	}
	if err == nil {
		err = j.syncDir()
	}
	if err != nil {
		return nil, err
	}
	flags := os.O_RDWR
	if !j.o.NoSync {
		flags |= writeThrough
	}
	return j.o.FS.OpenFile(path, flags, 0)
}

// takeSpare gives the spare file, if there is one of that size, another name. It
// does so while nobody makes another: that one would take the place of this one.
func (j *Journal) takeSpare(path string, size int64) (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.spare || size != j.o.Size {
		return false, nil
	}
	j.spare = false
	return true, j.o.FS.Rename(filepath.Join(j.dir, spareFile), path)
}

// fill makes a file of zeros that are on the disk: writing over them changes
// nothing but data, so that each sync of a batch is one of data only.
func (j *Journal) fill(path string, size int64) error {
	f, err := j.o.FS.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if j.o.NoSync {
		return errors.Join(f.Truncate(size), f.Close())
	}
	chunk := make([]byte, min(size, 1<<20))
	for at := int64(0); at < size && err == nil; at += int64(len(chunk)) {
		_, err = f.WriteAt(chunk[:min(int64(len(chunk)), size-at)], at)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Prepare makes a spare file, if there is none, so that the next Roll need not.
// An error harms nothing.
func (j *Journal) Prepare() error {
	j.mu.Lock()
	if j.spare || j.preparing {
		j.mu.Unlock()
		return nil
	}
	j.preparing = true
	j.mu.Unlock()
	path := filepath.Join(j.dir, spareFile)
	err := j.fill(path+temporary, j.o.Size)
	if err == nil {
		err = j.o.FS.Rename(path+temporary, path)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.preparing, j.spare = false, err == nil
	return err
}

// discard closes a segment that is not in the list any more. Its file becomes
// the spare one: what is in it has a lower number than any segment to come. The
// caller holds mu.
func (j *Journal) discard(s Segment) error {
	f := j.files[s.Number]
	if f == nil {
		return nil
	}
	delete(j.files, s.Number)
	if err := f.Close(); err != nil {
		return err
	}
	if j.spare || j.preparing || s.Size != j.o.Size {
		return j.o.FS.Remove(j.path(s.Number))
	}
	j.spare = true
	return j.o.FS.Rename(j.path(s.Number), filepath.Join(j.dir, spareFile))
}

// tidy removes what a crash left: segments that are not in the list, of which
// one may have a number that is used next, and files half made.
func (j *Journal) tidy() error {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, s := range j.list {
		known[filepath.Base(j.path(s.Number))] = true
	}
	for _, e := range entries {
		name := e.Name()
		if name == spareFile {
			if info, err := e.Info(); err == nil && info.Size() == j.o.Size {
				j.spare = true
				continue
			}
		}
		ours := name == spareFile || filepath.Ext(name) == suffix || filepath.Ext(name) == temporary
		if !ours || known[name] {
			continue
		}
		if err := j.o.FS.Remove(filepath.Join(j.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// syncDir makes the names in the directory last.
func (j *Journal) syncDir() error {
	if j.o.NoSync {
		return nil
	}
	return j.o.FS.SyncDir(j.dir)
}
