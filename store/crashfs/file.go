package crashfs

import (
	"errors"
	"io"
	"os"
	"time"
)

// file is an open file.
type file struct {
	fs      *FS
	f       *os.File
	node    *node
	through bool
	log     bool  // of the partitions' log, see Slow
	at      int64 // of Write
}

func (o *file) Write(b []byte) (int, error) {
	n, err := o.WriteAt(b, o.at)
	o.at += int64(n)
	return n, err
}

func (o *file) ReadAt(b []byte, at int64) (int, error) { return o.f.ReadAt(b, at) }

func (o *file) WriteAt(b []byte, at int64) (int, error) {
	n, err := o.write(b, at)
	if o.through {
		o.pause()
	}
	return n, err
}

func (o *file) write(b []byte, at int64) (int, error) {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	if !o.through || o.fs.cut {
		if err := o.remember(at, len(b)); err != nil {
			return 0, err
		}
	}
	return o.f.WriteAt(b, at)
}

// pause is how slow the disk is.
func (o *file) pause() {
	o.fs.mu.Lock()
	slow := o.fs.slow
	o.fs.mu.Unlock()
	if o.log && slow > 0 {
		time.Sleep(slow)
	}
}

// remember notes what is in n bytes from at on, before they are written. The caller
// holds the file system's mu.
func (o *file) remember(at int64, n int) error {
	info, err := o.f.Stat()
	if err != nil {
		return err
	}
	old := make([]byte, max(0, min(int64(n), info.Size()-at)))
	if _, err := o.f.ReadAt(old, at); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	size, node := info.Size(), o.node
	o.fs.note(node, nil, func(keep func() bool) error { return revert(node.path, at, n, old, size, keep) })
	return nil
}

// revert puts old back where n bytes were written at, but for the sectors to keep.
func revert(path string, at int64, n int, old []byte, size int64, keep func() bool) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	end := size // of the file, afterwards
	for from := at; from < at+int64(n) && err == nil; {
		to := min((from/sector+1)*sector, at+int64(n))
		if keep() {
			end = max(end, to)
		} else {
			was := make([]byte, to-from)
			if have := from - at; have < int64(len(old)) {
				copy(was, old[have:])
			}
			_, err = f.WriteAt(was, from)
		}
		from = to
	}
	if err == nil {
		var info os.FileInfo
		if info, err = f.Stat(); err == nil && info.Size() > end {
			err = f.Truncate(end)
		}
	}
	return errors.Join(err, f.Close())
}

func (o *file) Truncate(size int64) error {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	return o.truncate(size)
}

// truncate changes the size. The caller holds the file system's mu.
func (o *file) truncate(size int64) error {
	info, err := o.f.Stat()
	if err != nil || info.Size() == size {
		return err
	}
	old, node := []byte(nil), o.node
	if size < info.Size() {
		old = make([]byte, info.Size()-size)
		if _, err := o.f.ReadAt(old, size); err != nil {
			return err
		}
	}
	was := info.Size()
	o.fs.note(node, nil, func(func() bool) error {
		f, err := os.OpenFile(node.path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		err = f.Truncate(was)
		if err == nil && len(old) > 0 {
			_, err = f.WriteAt(old, size)
		}
		return errors.Join(err, f.Close())
	})
	return o.f.Truncate(size)
}

// Sync makes the content last.
func (o *file) Sync() error {
	o.fs.mu.Lock()
	o.fs.forget(func(n *note) bool { return n.file == o.node })
	o.fs.mu.Unlock()
	o.pause()
	return nil
}

func (o *file) Close() error { return o.f.Close() }
