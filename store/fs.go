package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"cairn/store/journal"
)

// FS is what a data directory is changed with; see journal.FS. Everything goes
// through it but LOCK, which nobody needs after a crash, and what bbolt does in the
// controller's file.
type FS interface {
	journal.FS
	Mkdir(name string, perm fs.FileMode) error
	MkdirAll(name string, perm fs.FileMode) error
	RemoveAll(name string) error
}

// OS is the operating system's file system.
type OS struct{ journal.OS }

var _ FS = OS{}

func (OS) Mkdir(name string, perm fs.FileMode) error    { return os.Mkdir(name, perm) }
func (OS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }
func (OS) RemoveAll(name string) error                  { return os.RemoveAll(name) }

// disk makes changes that are complete or were never made, out of single ones.
type disk struct{ FS }

// writeSealed replaces a sealed file. After a crash the old content or the new
// one is there: the new one is complete and synced under another name before
// the rename, and the rename is synced before writeSealed returns.
func (d disk) writeSealed(path string, data []byte) error {
	temp := path + tempSuffix
	if err := d.writeSynced(temp, seal(filepath.Base(path), data)); err != nil {
		return err
	}
	return d.renameSynced(temp, path)
}

// writeSynced makes a file of mode 0600 and syncs it.
func (d disk) writeSynced(path string, data []byte) error {
	f, err := d.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// renameSynced renames within one directory and makes that last.
func (d disk) renameSynced(from, to string) error {
	if err := d.Rename(from, to); err != nil {
		return err
	}
	return d.SyncDir(filepath.Dir(to))
}

// removeDir removes a directory with all that is in it, all at once: a crash
// leaves at most a temporary, which the next Open removes.
func (d disk) removeDir(path string) error {
	temp := path + tempSuffix
	if err := d.RemoveAll(temp); err != nil {
		return err
	}
	err := d.renameSynced(path, temp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, d.RemoveAll(temp))
}

// removeTemporaries removes what a crash cut off: files that had not got their
// name yet, and directories that had lost it already.
func (d disk) removeTemporaries(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), tempSuffix) {
			if err := d.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
