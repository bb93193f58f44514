package journal

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// FS is what the journal changes on a disk with. What it only reads, it reads from
// the operating system: an FS may refuse, delay or forget, but keeps files where
// their names say.
type FS interface {
	// OpenFile is os.OpenFile for files that are written.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes the names in a directory last.
	SyncDir(name string) error
}

// File is a file that is written. With the flag for writing through, a write lasts
// when it returns; without it, when Sync has returned.
type File interface {
	io.Writer
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

// OS is the operating system's file system.
type OS struct{}

var _ FS = OS{}

func (OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not a File of nil
	}
	return f, nil
}

func (OS) Rename(from, to string) error { return os.Rename(from, to) }
func (OS) Remove(name string) error     { return os.Remove(name) }

func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
