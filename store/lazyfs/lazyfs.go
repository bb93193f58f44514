//go:build linux

// Package lazyfs is a file system for tests that forgets what was not synced.
//
// It shows a backing directory through FUSE. What a process writes there stays
// in memory until it syncs the file; then it goes to the backing directory. So
// the backing directory always holds what would survive a power cut, and Crash is
// one. With tear, a cut also writes some of the unsynced pages, in no order, and
// some of them only in part: what a disk does that reorders its queue.
//
// A failed sync (FailSyncs) forgets what it should have written, and the next one
// succeeds without it: what Linux does (Rebello et al., "Can Applications Recover
// from fsync Failures?", USENIX ATC 2020).
//
// Names are not lazy: making, renaming and removing files lasts at once. A store
// that forgets to sync a directory is not caught here.
//
// The process that mounts must not map files of the mount into its own memory,
// because a page fault that it would have to serve itself stops it: let a child
// process do the work.
package lazyfs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	pageSize   = 4096
	sectorSize = 512 // what a disk writes whole or not at all
)

// FS is a mounted file system.
type FS struct {
	server *fuse.Server

	mu    sync.Mutex
	files map[uint64]*file // by inode
	rng   *rand.Rand

	syncErrno, writeErrno atomic.Int32
	syncDelay             atomic.Int64
}

// Mount shows the directory backing at the directory mnt. It needs /dev/fuse and
// the right to mount.
func Mount(backing, mnt string, seed uint64) (*FS, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(backing, &st); err != nil {
		return nil, err
	}
	l := &FS{files: map[uint64]*file{}, rng: rand.New(rand.NewPCG(seed, 0))}
	root := &node{&fs.LoopbackNode{RootData: &fs.LoopbackRoot{Path: backing, Dev: st.Dev}}, l}
	var noCache time.Duration
	server, err := fs.Mount(mnt, root, &fs.Options{
		AttrTimeout: &noCache, EntryTimeout: &noCache,
		MountOptions: fuse.MountOptions{FsName: "lazyfs", Name: "lazyfs", DirectMount: true, MaxWrite: 1 << 20},
	})
	if err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	l.server = server
	return l, nil
}

// FailSyncs makes every sync fail with errno, and forget; 0: no more.
func (l *FS) FailSyncs(errno syscall.Errno) { l.syncErrno.Store(int32(errno)) }

// FailWrites makes every write fail with errno; 0: no more.
func (l *FS) FailWrites(errno syscall.Errno) { l.writeErrno.Store(int32(errno)) }

// DelaySyncs makes every sync take that much longer.
func (l *FS) DelaySyncs(d time.Duration) { l.syncDelay.Store(int64(d)) }

// Crash is a power cut: what was not synced is gone, or, with tear, is on disk in
// part. The processes that used the mount must have ended. It unmounts, so that
// no cache remembers, and returns how many pages were dropped and kept.
func (l *FS) Crash(tear bool) (dropped, kept int, err error) {
	l.mu.Lock()
	for _, f := range l.files {
		d, k, ferr := f.crash(tear, l.rng)
		dropped, kept = dropped+d, kept+k
		if err == nil {
			err = ferr
		}
	}
	l.files = map[uint64]*file{}
	l.mu.Unlock()
	if uerr := l.Unmount(); err == nil {
		err = uerr
	}
	return dropped, kept, err
}

// Unmount ends the file system. A second call does nothing.
func (l *FS) Unmount() error {
	l.mu.Lock()
	server := l.server
	l.server = nil
	l.mu.Unlock()
	if server == nil {
		return nil
	}
	return server.Unmount()
}

// file is the state of one inode: what the backing file has is durable.
type file struct {
	mu      sync.Mutex
	backing *os.File
	image   []byte       // what readers see
	dirty   map[int]bool // pages of the image that were not synced
	resized bool         // the image's length was not synced
}

func (f *file) resize(n int) {
	if n <= len(f.image) {
		f.image = f.image[:n]
	} else {
		f.image = append(f.image, make([]byte, n-len(f.image))...)
	}
	f.resized = true
}

// sync makes the image durable.
func (f *file) sync() error {
	if f.resized {
		if err := f.backing.Truncate(int64(len(f.image))); err != nil {
			return err
		}
	}
	for p := range f.dirty {
		if err := f.write(p*pageSize, pageSize); err != nil {
			return err
		}
	}
	f.dirty, f.resized = map[int]bool{}, false
	return nil
}

// write writes n bytes of the image to the backing file, as far as there are any.
func (f *file) write(start, n int) error {
	end := min(start+n, len(f.image))
	if start >= end {
		return nil
	}
	_, err := f.backing.WriteAt(f.image[start:end], int64(start))
	return err
}

func (f *file) crash(tear bool, rng *rand.Rand) (dropped, kept int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.backing.Close()
	for p := range f.dirty {
		if !tear || rng.IntN(2) == 0 {
			dropped++
			continue
		}
		whole := rng.IntN(3) > 0
		for at := p * pageSize; at < (p+1)*pageSize; at += sectorSize {
			if !whole && rng.IntN(2) == 0 {
				continue
			}
			if err := f.write(at, sectorSize); err != nil {
				return dropped, kept, err
			}
		}
		kept++
	}
	return dropped, kept, nil
}

// state returns the state of a backing file, loading it if open says so.
func (l *FS) state(path string, open bool) (*file, syscall.Errno) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return nil, fs.ToErrno(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.files[st.Ino]; f != nil || !open {
		return f, 0
	}
	backing, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fs.ToErrno(err)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		return nil, fs.ToErrno(err)
	}
	f := &file{backing: backing, image: image, dirty: map[int]bool{}}
	l.files[st.Ino] = f
	return f, 0
}

// forget drops the state of a file that is losing its name: its inode's number
// may come back as another file's.
func (l *FS) forget(path string) {
	var st syscall.Stat_t
	if syscall.Stat(path, &st) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.files[st.Ino]; f != nil {
		delete(l.files, st.Ino)
	}
}

// node is a file or directory.
type node struct {
	*fs.LoopbackNode
	fs *FS
}

// WrapChild makes nodes of ours of those that LoopbackNode finds.
func (n *node) WrapChild(_ context.Context, found fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{found.(*fs.LoopbackNode), n.fs}
}

func (n *node) real(names ...string) string {
	return filepath.Join(append([]string{n.RootData.Path, n.Path(n.Root())}, names...)...)
}

func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, errno := n.fs.state(n.real(), true)
	if errno != 0 {
		return nil, 0, errno
	}
	return &handle{f, n.fs}, 0, 0
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	inode, h, _, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	if r, ok := h.(fs.FileReleaser); ok {
		r.Release(ctx)
	}
	f, errno := n.fs.state(n.real(name), true)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return inode, &handle{f, n.fs}, 0, 0
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	n.fs.forget(n.real(name))
	return n.LoopbackNode.Unlink(ctx, name)
}

func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to := filepath.Join(n.RootData.Path, parent.EmbeddedInode().Path(n.Root()), newName)
	n.fs.forget(to)
	return n.LoopbackNode.Rename(ctx, name, parent, newName, flags)
}

func (n *node) Getattr(ctx context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if errno := n.LoopbackNode.Getattr(ctx, nil, out); errno != 0 {
		return errno
	}
	n.fs.setSize(n.real(), &out.Attr)
	return 0
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	inode, errno := n.LoopbackNode.Lookup(ctx, name, out)
	if errno == 0 {
		n.fs.setSize(n.real(name), &out.Attr)
	}
	return inode, errno
}

// setSize corrects the size that the backing file gives.
func (l *FS) setSize(path string, attr *fuse.Attr) {
	if f, errno := l.state(path, false); errno == 0 && f != nil {
		f.mu.Lock()
		attr.Size = uint64(len(f.image))
		f.mu.Unlock()
	}
}

func (n *node) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	size, ok := in.GetSize()
	if !ok {
		return n.LoopbackNode.Setattr(ctx, nil, in, out)
	}
	f, errno := n.fs.state(n.real(), true)
	if errno != 0 {
		return errno
	}
	f.mu.Lock()
	f.resize(int(size))
	f.mu.Unlock()
	return n.Getattr(ctx, h, out)
}

// handle is an open file.
type handle struct {
	f  *file
	fs *FS
}

func (h *handle) Read(_ context.Context, dst []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if off >= int64(len(h.f.image)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dst[:copy(dst, h.f.image[off:])]), 0
}

func (h *handle) Write(_ context.Context, b []byte, off int64) (uint32, syscall.Errno) {
	if errno := h.fs.writeErrno.Load(); errno != 0 {
		return 0, syscall.Errno(errno)
	}
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	end := int(off) + len(b)
	if end > len(h.f.image) {
		h.f.resize(end)
	}
	copy(h.f.image[off:], b)
	for p := int(off) / pageSize; p*pageSize < end; p++ {
		h.f.dirty[p] = true
	}
	return uint32(len(b)), 0
}

func (h *handle) Fsync(context.Context, uint32) syscall.Errno {
	time.Sleep(time.Duration(h.fs.syncDelay.Load()))
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if errno := h.fs.syncErrno.Load(); errno != 0 {
		h.f.dirty, h.f.resized = map[int]bool{}, false
		return syscall.Errno(errno)
	}
	return fs.ToErrno(h.f.sync())
}

func (h *handle) Flush(context.Context) syscall.Errno   { return 0 }
func (h *handle) Release(context.Context) syscall.Errno { return 0 }
