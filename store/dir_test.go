package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpenMakesAPrivateDirectory(t *testing.T) {
	path := filepath.Join(ramDir(t), "a", "data")
	d := open(t, path, Options{})
	must(t, d.WriteFile("key", []byte("secret")))
	must(t, filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		must(t, err)
		info, err := e.Info()
		must(t, err)
		if info.Mode()&0o077 != 0 {
			t.Errorf("%s has mode %v", p, info.Mode())
		}
		return nil
	}))
}

// TestOpenExisting: what must exist is not made.
func TestOpenExisting(t *testing.T) {
	empty := ramDir(t)
	for _, path := range []string{empty, filepath.Join(empty, "absent")} {
		if _, err := Open(path, Options{Existing: true}); !errors.Is(err, ErrForeign) {
			t.Fatalf("%s: %v, want ErrForeign", path, err)
		}
	}
	if left, err := os.ReadDir(empty); err != nil || len(left) > 0 {
		t.Fatalf("made %v, %v", left, err)
	}
	for _, existing := range []bool{false, true} {
		d, err := Open(empty, Options{Existing: existing})
		must(t, err)
		must(t, d.Close())
	}
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name string
		with func(t *testing.T, path string) // what is in the directory
		want error
		says string
	}{
		{"a directory of somebody else", func(t *testing.T, path string) {
			must(t, os.WriteFile(filepath.Join(path, "thesis.tex"), nil, 0o600))
		}, ErrForeign, "thesis.tex"},
		{"files without a version", func(t *testing.T, path string) {
			must(t, os.Mkdir(filepath.Join(path, "files"), 0o700))
			must(t, os.WriteFile(filepath.Join(path, "files", "identity"), nil, 0o600))
		}, ErrForeign, "files/"},
		{"a later format", func(t *testing.T, path string) {
			must(t, disk{OS{}}.writeSealed(filepath.Join(path, versionFile), fmt.Appendln(nil, Format+1)))
		}, ErrForeign, "newer version"},
		{"an earlier format", func(t *testing.T, path string) {
			must(t, disk{OS{}}.writeSealed(filepath.Join(path, versionFile), fmt.Appendln(nil, Format-1)))
		}, ErrForeign, "before the first release"},
		{"a version that is no number", func(t *testing.T, path string) {
			must(t, disk{OS{}}.writeSealed(filepath.Join(path, versionFile), []byte("one\n")))
		}, ErrDamaged, "one"},
		{"a version without its checksum", func(t *testing.T, path string) {
			must(t, os.WriteFile(filepath.Join(path, versionFile), []byte("1\n"), 0o600))
		}, ErrDamaged, versionFile},
		{"a missing part", func(t *testing.T, path string) {
			d, err := Open(path, Options{})
			must(t, err)
			must(t, d.Close())
			must(t, os.Remove(filepath.Join(path, snapshotsDir)))
		}, ErrDamaged, snapshotsDir},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := ramDir(t)
			test.with(t, path)
			before := tree(t, path)
			d, err := Open(path, Options{})
			if err == nil {
				must(t, d.Close())
			}
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v, want %v that says %q", err, test.want, test.says)
			}
			if after := tree(t, path); after != before {
				t.Fatalf("the refused directory was changed:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// tree lists a directory but for its lock.
func tree(t *testing.T, path string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if e.Name() != lockFile {
			b.WriteString(p + "\n")
		}
		return err
	}))
	return b.String()
}

func TestOpenTwice(t *testing.T) {
	path := ramDir(t)
	d := open(t, path, Options{})
	if _, err := Open(path, Options{}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "stop it") {
		t.Fatalf("a second process got %v, want ErrLocked", err)
	}
	must(t, d.Close())
	must(t, d.Close()) // again does nothing
	must(t, open(t, path, Options{}).Close())
}

func TestOpenAfterACrash(t *testing.T) {
	path := ramDir(t)
	for _, cut := range []func(){
		func() {}, // nothing was done yet
		func() { must(t, os.WriteFile(filepath.Join(path, lockFile), []byte("123\n"), 0o600)) },
		func() { must(t, os.MkdirAll(filepath.Join(path, filesDir), 0o700)) },
		func() { must(t, os.WriteFile(filepath.Join(path, versionFile+tempSuffix), []byte("1"), 0o600)) },
	} {
		cut()
		d, err := Open(path, Options{})
		must(t, err)
		must(t, d.Close())
		must(t, os.Remove(filepath.Join(path, versionFile)))
	}
	d := open(t, path, Options{})
	must(t, d.WriteFile("key", []byte("old")))
	left := filepath.Join(path, filesDir, "key"+tempSuffix)
	must(t, os.WriteFile(left, []byte("half of the n"), 0o600))
	must(t, d.Close())
	d = open(t, path, Options{})
	if data, err := d.ReadFile("key"); err != nil || string(data) != "old" {
		t.Fatalf("got %q, %v", data, err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("what the crash left is still there: %v", err)
	}
}

func TestFiles(t *testing.T) {
	path := ramDir(t)
	d := open(t, path, Options{})
	if _, err := d.ReadFile("absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("an absent file: %v", err)
	}
	for _, data := range [][]byte{{}, []byte("first"), bytes.Repeat([]byte{0}, MaxFile), []byte("last\n")} {
		must(t, d.WriteFile("node.key", data))
		if got, err := d.ReadFile("node.key"); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes came back as %d, %v", len(data), len(got), err)
		}
	}
	for _, name := range []string{"", "../x", "a/b", "A", ".hidden", "x.tmp", strings.Repeat("a", maxName+1), "é"} {
		if err := d.WriteFile(name, nil); err == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
	if err := d.WriteFile("big", make([]byte, MaxFile+1)); err == nil {
		t.Error("a file beyond the limit was accepted")
	}
	// One file in the place of another is damage too.
	must(t, d.WriteFile("node.crt", []byte("certificate")))
	must(t, os.Rename(filepath.Join(path, filesDir, "node.crt"), filepath.Join(path, filesDir, "node.key")))
	if _, err := d.ReadFile("node.key"); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a renamed file: %v, want ErrDamaged", err)
	}
}

func TestFileWriteFails(t *testing.T) {
	path := ramDir(t)
	var f fatal
	d := open(t, path, Options{OnFatal: f.on})
	must(t, os.RemoveAll(filepath.Join(path, filesDir)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.WriteFile("key", nil)
		t.Error("WriteFile returned after an error of the disk")
	}()
	<-done
	if f.get() == nil {
		t.Fatal("an error of the disk was not fatal")
	}
}

// FuzzUnseal: what unseal accepts is exactly what seal makes.
func FuzzUnseal(f *testing.F) {
	f.Add([]byte{})
	f.Add(seal("name", []byte("some data")))
	f.Fuzz(func(t *testing.T, b []byte) {
		data, err := unseal("name", b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("%v, want ErrDamaged", err)
			}
			return
		}
		if !bytes.Equal(seal("name", data), b) {
			t.Fatalf("%q is not how %q is sealed", b, data)
		}
	})
}
