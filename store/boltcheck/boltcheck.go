// Package boltcheck verifies the structure of a bbolt file without trusting any
// byte of it, and without bbolt.
//
// bbolt has a check of its own, which works on a mapped file with unsafe
// pointers: a wrong page number or length makes it read outside the mapping,
// which ends the process, and opening a file without a written free list does
// the same in a goroutine that nobody can guard. So a file that may be damaged
// has to be looked at before bbolt sees it. File reads it page by page and
// checks every bound. What passes, bbolt can walk.
//
// Layout (bbolt v1.5.0, internal/common: meta.go, page.go, bucket.go; integers
// are little-endian, as on the machines we run on):
//
//	page     id u64, flags u16, count u16, overflow u32, then elements
//	meta     magic u32, version u32, page size u32, flags u32, root bucket
//	         (page u64, sequence u64), freelist u64, high water mark u64,
//	         transaction u64, FNV-1a of the above u64; pages 0 and 1
//	branch   elements of pos u32, key size u32, child page u64
//	leaf     elements of flags u32, pos u32, key size u32, value size u32;
//	         pos counts from the element; flag 1: the value is a bucket
//	bucket   root page u64, sequence u64; root page 0: a page follows inline
//	freelist count page numbers u64; count 0xffff: the real count comes first
//
// It finds: a meta page that is not intact (bbolt would silently use the older
// one; the 64 bytes lie in one sector, which a disk writes whole or not at all,
// so a power cut does not explain it), pages out of bounds, of the wrong kind or
// number, in use twice, or both in use and free, keys out of order or out of the
// range that their parent gives them, and elements that reach out of their
// page. It does not look into values: their owner has to.
package boltcheck

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

const (
	magic   = 0xED0CDAED
	version = 2

	pageHeader    = 16
	branchElement = 16
	leafElement   = 16
	bucketHeader  = 16

	branchFlag   = 0x01
	leafFlag     = 0x02
	metaFlag     = 0x04
	freelistFlag = 0x10

	// noFreelist stands for a free list that is not written.
	noFreelist = 1<<64 - 1

	minPageSize = 1 << 10
	maxPageSize = 1 << 16
	// maxDepth of nested pages and buckets. A tree of 4 KiB pages with 2^64
	// entries is 32 deep.
	maxDepth = 64
)

// Finding is damage. Any other error of File is the file system's.
type Finding struct{ What string }

func (f *Finding) Error() string { return f.What }

func found(format string, args ...any) error { return &Finding{fmt.Sprintf(format, args...)} }

// File verifies a bbolt file. Nobody may write to it meanwhile. It reads every
// page in use once, and needs a bit of memory for each page of the file.
func File(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return check(f, info.Size())
}

func check(r io.ReaderAt, size int64) error {
	c := &checker{r: r, size: size}
	m, err := c.metas()
	if err != nil {
		return err
	}
	c.seen = make([]uint64, (m.highWater+63)/64)
	c.highWater = m.highWater
	c.use(0)
	c.use(1)
	if err := c.bucket(m.root, 0); err != nil {
		return err
	}
	if m.freelist == noFreelist {
		return nil // bbolt takes all other pages for free
	}
	return c.freelist(m.freelist)
}

type meta struct {
	root, freelist, highWater, txid uint64
}

type checker struct {
	r         io.ReaderAt
	size      int64 // of the file, in bytes
	pageSize  int64
	highWater uint64   // pages are below it
	seen      []uint64 // bit set of the pages in use
	used      uint64
}

// metas checks both meta pages and returns the newer.
func (c *checker) metas() (meta, error) {
	first := make([]byte, minPageSize)
	if err := c.readAt(first, 0); err != nil {
		return meta{}, err
	}
	c.pageSize = int64(binary.LittleEndian.Uint32(first[pageHeader+8:]))
	if c.pageSize < minPageSize || c.pageSize > maxPageSize || c.pageSize&(c.pageSize-1) != 0 {
		return meta{}, found("meta page 0 says that a page has %d bytes", c.pageSize)
	}
	a, err := c.meta(0)
	if err != nil {
		return meta{}, err
	}
	b, err := c.meta(1)
	if err != nil {
		return meta{}, err
	}
	if b.txid > a.txid {
		a, b = b, a
	}
	if a.txid != b.txid+1 {
		return meta{}, found("the meta pages are of transactions %d and %d", a.txid, b.txid)
	}
	if a.highWater < 4 || a.highWater > uint64(c.size/c.pageSize) {
		return meta{}, found("the file has %d bytes and should have %d pages of %d", c.size, a.highWater, c.pageSize)
	}
	return a, nil
}

func (c *checker) meta(id uint64) (meta, error) {
	b := make([]byte, pageHeader+64)
	if err := c.readAt(b, int64(id)*c.pageSize); err != nil {
		return meta{}, err
	}
	p := page{b: b}
	h := fnv.New64a()
	h.Write(b[pageHeader : pageHeader+56])
	m := meta{root: p.u64(32), freelist: p.u64(48), highWater: p.u64(56), txid: p.u64(64)}
	switch {
	case p.u64(72) != h.Sum64():
		return meta{}, found("meta page %d has a wrong checksum", id)
	case p.u32(16) != magic || p.u32(20) != version || int64(p.u32(24)) != c.pageSize:
		return meta{}, found("meta page %d is of another format", id)
	case p.id() != id || p.flags() != metaFlag || m.txid%2 != id:
		return meta{}, found("meta page %d is in the wrong place", id)
	}
	return m, nil
}

// bucket checks the tree of a bucket from its root page.
func (c *checker) bucket(root uint64, depth int) error {
	p, err := c.page(root)
	if err != nil {
		return err
	}
	return c.tree(p, nil, nil, depth)
}

// tree checks a page and what hangs on it: its keys are at least from and below
// to; nil is no bound.
func (c *checker) tree(p page, from, to []byte, depth int) error {
	if depth > maxDepth {
		return found("page %d is more than %d deep", p.id(), maxDepth)
	}
	switch p.flags() {
	case leafFlag:
		return c.leaf(p, from, to, depth)
	case branchFlag:
		return c.branch(p, from, to, depth)
	default:
		return found("page %d is of kind %#x where a branch or a leaf should be", p.id(), p.flags())
	}
}

func (c *checker) leaf(p page, from, to []byte, depth int) error {
	var last []byte
	for i := range p.count() {
		at := pageHeader + i*leafElement
		key, value, ok := p.cut(at, pageHeader+p.count()*leafElement, p.u32(at+4), p.u32(at+8), p.u32(at+12))
		if !ok {
			return found("element %d of page %d reaches out of the page", i, p.id())
		}
		if err := checkKey(p, i, key, last, from, to); err != nil {
			return err
		}
		last = key
		switch p.u32(at) {
		case 0:
		case 1:
			if err := c.nested(p, value, depth+1); err != nil {
				return err
			}
		default:
			return found("element %d of page %d has flags %#x", i, p.id(), p.u32(at))
		}
	}
	return nil
}

// nested checks the bucket in a leaf's value.
func (c *checker) nested(p page, value []byte, depth int) error {
	if len(value) < bucketHeader {
		return found("page %d has a bucket of %d bytes", p.id(), len(value))
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return c.bucket(root, depth)
	}
	inline := page{b: value[bucketHeader:]}
	if len(inline.b) < pageHeader || inline.flags() != leafFlag {
		return found("page %d has an inline bucket that is no leaf", p.id())
	}
	return c.tree(inline, nil, nil, depth)
}

func (c *checker) branch(p page, from, to []byte, depth int) error {
	if p.count() == 0 {
		return found("branch page %d is empty", p.id())
	}
	type child struct {
		key  []byte
		page uint64
	}
	children := make([]child, p.count())
	var last []byte
	for i := range children {
		at := pageHeader + i*branchElement
		key, _, ok := p.cut(at, pageHeader+p.count()*branchElement, p.u32(at), p.u32(at+4), 0)
		if !ok {
			return found("element %d of page %d reaches out of the page", i, p.id())
		}
		if err := checkKey(p, i, key, last, from, to); err != nil {
			return err
		}
		last = key
		children[i] = child{key, p.u64(at + 8)}
	}
	for i, ch := range children {
		below := to
		if i+1 < len(children) {
			below = children[i+1].key
		}
		sub, err := c.page(ch.page)
		if err != nil {
			return err
		}
		if err := c.tree(sub, ch.key, below, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func checkKey(p page, i int, key, last, from, to []byte) error {
	switch {
	case i > 0 && bytes.Compare(last, key) >= 0:
		return found("key %d of page %d is not above the one before", i, p.id())
	case from != nil && bytes.Compare(key, from) < 0, to != nil && bytes.Compare(key, to) >= 0:
		return found("key %d of page %d is out of its parent's range", i, p.id())
	}
	return nil
}

// freelist checks that the written free list and the pages in use are exactly
// all pages.
func (c *checker) freelist(id uint64) error {
	p, err := c.page(id)
	if err != nil {
		return err
	}
	if p.flags() != freelistFlag {
		return found("page %d is of kind %#x where the free list should be", id, p.flags())
	}
	start, n := pageHeader, uint64(p.count())
	if n == 0xffff {
		start, n = pageHeader+8, p.u64(pageHeader)
	}
	if n > uint64(len(p.b)-start)/8 {
		return found("the free list has %d pages in %d bytes", n, len(p.b))
	}
	for i := range int(n) {
		if free := p.u64(start + 8*i); !c.use(free) {
			return found("page %d is free and in use, or out of bounds", free)
		}
	}
	if c.used != c.highWater {
		return found("%d pages are neither free nor in use", c.highWater-c.used)
	}
	return nil
}

// page reads a page with its overflow, and marks it as in use.
func (c *checker) page(id uint64) (page, error) {
	if id < 2 || id >= c.highWater {
		return page{}, found("there is a reference to page %d of %d", id, c.highWater)
	}
	head := make([]byte, c.pageSize)
	if err := c.readAt(head, int64(id)*c.pageSize); err != nil {
		return page{}, err
	}
	p := page{b: head}
	if p.id() != id {
		return page{}, found("page %d says it is page %d", id, p.id())
	}
	more := uint64(p.overflow())
	if more >= c.highWater-id {
		return page{}, found("page %d reaches beyond the last page", id)
	}
	for i := range more + 1 {
		if !c.use(id + i) {
			return page{}, found("page %d is in use twice", id+i)
		}
	}
	if more == 0 {
		return p, nil
	}
	p.b = append(head, make([]byte, int64(more)*c.pageSize)...)
	return p, c.readAt(p.b[c.pageSize:], (int64(id)+1)*c.pageSize)
}

// use marks a page and says whether it was in bounds and unmarked.
func (c *checker) use(id uint64) bool {
	if id >= c.highWater || c.seen[id/64]&(1<<(id%64)) != 0 {
		return false
	}
	c.seen[id/64] |= 1 << (id % 64)
	c.used++
	return true
}

func (c *checker) readAt(b []byte, at int64) error {
	if at+int64(len(b)) > c.size {
		return found("the file ends after %d bytes, before byte %d", c.size, at+int64(len(b)))
	}
	_, err := c.r.ReadAt(b, at)
	return err
}

// page is a page's bytes with its overflow, or an inline page's.
type page struct{ b []byte }

func (p page) id() uint64       { return p.u64(0) }
func (p page) flags() uint16    { return binary.LittleEndian.Uint16(p.b[8:]) }
func (p page) count() int       { return int(binary.LittleEndian.Uint16(p.b[10:])) }
func (p page) overflow() uint32 { return p.u32(12) }

// u32 and u64 read a field; beyond the page they give zero, which cut refuses.
func (p page) u32(at int) uint32 {
	if at+4 > len(p.b) {
		return 0
	}
	return binary.LittleEndian.Uint32(p.b[at:])
}

func (p page) u64(at int) uint64 {
	if at+8 > len(p.b) {
		return 0
	}
	return binary.LittleEndian.Uint64(p.b[at:])
}

// cut returns the key and the value of an element: pos bytes behind the element,
// which is at at, and not before end, where the elements end.
func (p page) cut(at, end int, pos, keySize, valueSize uint32) (key, value []byte, ok bool) {
	start := int64(at) + int64(pos)
	middle := start + int64(keySize)
	stop := middle + int64(valueSize)
	if end > len(p.b) || start < int64(end) || stop > int64(len(p.b)) {
		return nil, nil, false
	}
	return p.b[start:middle:middle], p.b[middle:stop:stop], true
}
