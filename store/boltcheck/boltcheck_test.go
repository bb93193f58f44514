package boltcheck

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// makeFile makes a bbolt file with everything that one can have: branches three
// levels deep, values over several pages, buckets in buckets, inline and empty
// ones, free pages and pages of the past.
func makeFile(t testing.TB, noFreelistSync bool) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: noFreelistSync, NoSync: true, PageSize: 1024})
	must(t, err)
	update := func(fn func(tx *bbolt.Tx) error) { t.Helper(); must(t, db.Update(fn)) }
	update(func(tx *bbolt.Tx) error {
		for _, name := range []string{"empty", "inline", "large", "nested"} {
			_, err := tx.CreateBucket([]byte(name))
			must(t, err)
		}
		must(t, tx.Bucket([]byte("inline")).Put([]byte("k"), []byte("v")))
		must(t, tx.Bucket([]byte("large")).Put([]byte("k"), bytes.Repeat([]byte("large"), 2000)))
		inner, err := tx.Bucket([]byte("nested")).CreateBucket([]byte("inner"))
		must(t, err)
		for i := range 1000 {
			must(t, inner.Put(fmt.Appendf(nil, "key %08d", i), fmt.Appendf(nil, "value %d", i)))
		}
		return nil
	})
	for i := range 10 {
		update(func(tx *bbolt.Tx) error {
			inner := tx.Bucket([]byte("nested")).Bucket([]byte("inner"))
			for j := range 50 {
				must(t, inner.Delete(fmt.Appendf(nil, "key %08d", 100*i+j)))
			}
			return tx.Bucket([]byte("inline")).Put([]byte("k"), []byte{byte(i)})
		})
	}
	must(t, db.Close())
	b, err := os.ReadFile(path)
	must(t, err)
	return bytes.TrimRight(b, "\x00")
}

// padded gives back the zeros at the end that makeFile cut off.
func padded(b []byte) []byte { return append(bytes.Clone(b), make([]byte, 64<<10)...) }

func checkBytes(b []byte) error { return check(bytes.NewReader(b), int64(len(b))) }

func TestGoodFiles(t *testing.T) {
	for _, noFreelistSync := range []bool{false, true} {
		if err := checkBytes(padded(makeFile(t, noFreelistSync))); err != nil {
			t.Errorf("NoFreelistSync %v: %v", noFreelistSync, err)
		}
	}
	path := filepath.Join(t.TempDir(), "new.db")
	db, err := bbolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Close())
	must(t, File(path))
	if err := File(path + ".missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestFindings names what is found.
func TestFindings(t *testing.T) {
	good := makeFile(t, false)
	le := binary.LittleEndian
	page := func(b []byte, id int) []byte { return b[id*1024:] }
	newer := 0
	if le.Uint64(page(good, 1)[64:]) > le.Uint64(page(good, 0)[64:]) {
		newer = 1
	}
	freelist := int(le.Uint64(page(good, newer)[48:]))
	tests := []struct {
		name   string
		change func(b []byte)
		says   string
	}{
		{"the newer meta page", func(b []byte) { page(b, newer)[70]++ }, "wrong checksum"},
		{"the older meta page", func(b []byte) { page(b, 1-newer)[40]++ }, "wrong checksum"},
		{"the page size", func(b []byte) { page(b, 0)[24]++ }, "says that a page has"},
		{"the meta pages change places", func(b []byte) {
			tmp := bytes.Clone(b[:1024])
			copy(b, b[1024:2048])
			copy(b[1024:], tmp)
		}, "wrong place"},
		{"a meta page of long ago", func(b []byte) { copy(page(b, 1-newer)[16:80], page(b, newer)[16:80]) }, "wrong place"},
		{"a page's number", func(b []byte) { page(b, freelist)[0]++ }, "says it is page"},
		{"the free list's kind", func(b []byte) { page(b, freelist)[8] = leafFlag }, "where the free list should be"},
		{"the free list's length", func(b []byte) { le.PutUint16(page(b, freelist)[10:], 60_000) }, "the free list has 60000 pages"},
		{"a page is not free", func(b []byte) { le.PutUint16(page(b, freelist)[10:], le.Uint16(page(b, freelist)[10:])-1) }, "neither free nor in use"},
		{"a page is free twice", func(b []byte) { copy(page(b, freelist)[24:32], page(b, freelist)[16:24]) }, "free and in use"},
		{"a free page is out of bounds", func(b []byte) { le.PutUint64(page(b, freelist)[16:], 1<<60) }, "out of bounds"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := padded(good)
			test.change(b)
			err := checkBytes(b)
			if _, ok := errors.AsType[*Finding](err); !ok || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v, want a finding that says %q", err, test.says)
			}
		})
	}
	for size := 0; size < len(good); size += 1023 {
		if _, ok := errors.AsType[*Finding](checkBytes(good[:size])); !ok {
			t.Fatalf("a file cut at %d bytes passes", size)
		}
	}
}

// TestPassedFilesAreSafe: bbolt walks a file that passes without a panic, and
// with the same keys in the same order, whatever was changed in it.
func TestPassedFilesAreSafe(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(t.TempDir(), "x.db")
	for _, noFreelistSync := range []bool{false, true} {
		good := makeFile(t, noFreelistSync)
		passed := 0
		for range 1000 {
			b := padded(good)
			at := rng.IntN(len(good))
			if rng.IntN(2) == 0 { // headers and elements rather than values
				at = at/1024*1024 + rng.IntN(64)
			}
			at = min(at, len(good)-1)
			b[at] ^= byte(1 + rng.IntN(255))
			if checkBytes(b) != nil {
				continue
			}
			passed++
			if passed%10 == 0 {
				walk(t, path, b, noFreelistSync)
			}
		}
		if passed == 0 || passed == 1000 {
			t.Fatalf("%d of 1000 changes passed", passed)
		}
		t.Logf("NoFreelistSync %v: %d of 1000 changes passed", noFreelistSync, passed)
	}
}

// walk opens a file with bbolt and reads all of it.
func walk(t *testing.T, path string, b []byte, noFreelistSync bool) {
	t.Helper()
	must(t, os.WriteFile(path, b, 0o600))
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: noFreelistSync, NoSync: true})
	must(t, err)
	defer db.Close()
	must(t, db.Update(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("bbolt's own check: %v", err)
		}
		return walkBucket(tx.Cursor().Bucket())
	}))
}

func walkBucket(b *bbolt.Bucket) error {
	return b.ForEach(func(k, v []byte) error {
		if v != nil {
			return nil
		}
		if inner := b.Bucket(k); inner != nil {
			return walkBucket(inner)
		}
		return nil
	})
}

func FuzzCheck(f *testing.F) {
	f.Add(makeFile(f, false), 100, byte(1))
	f.Add(makeFile(f, true), 2048, byte(255))
	f.Fuzz(func(t *testing.T, b []byte, at int, mask byte) {
		if len(b) > 0 && at >= 0 {
			b = bytes.Clone(b)
			b[at%len(b)] ^= mask
		}
		if err := checkBytes(b); err != nil {
			if _, ok := errors.AsType[*Finding](err); !ok {
				t.Fatalf("%v is no finding", err)
			}
		}
	})
}
