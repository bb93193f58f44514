package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What a crash leaves of files, and what damage does.

// TestStrays: what a crash left is removed, what is not the journal's is not.
func TestStrays(t *testing.T) {
	d := newDisk(t, 8*SectorSize)
	j, _ := d.open(t)
	must(t, j.Roll([]byte("first"), 0, nil))
	must(t, j.Close())
	for _, name := range []string{"00000002.log", "00000099.log", "spare", "spare.tmp", "segments.tmp", "segments", "notes"} {
		must(t, os.WriteFile(filepath.Join(d.dir, name), content(100, 1), 0o600))
	}
	j, got := d.open(t)
	if len(got) != 1 || got[0].data != "first" {
		t.Fatalf("visited %+v", got)
	}
	if got := d.names(t); !slices.Equal(got, []string{"00000001.log", "notes", "segments"}) {
		t.Fatalf("files %v", got)
	}
	must(t, j.Close())
}

// TestCrashWithinRoll: whatever a Roll has done before a crash, but for keeping
// its list, the old segments are as they were, and the number is used again
// without a trace of what stood there.
func TestCrashWithinRoll(t *testing.T) {
	large := content(5*Content, 7) // what the Roll that is cut off wrote
	for name, left := range map[string]func(t *testing.T, d *disk){
		"nothing": func(*testing.T, *disk) {},
		"a file half made": func(t *testing.T, d *disk) {
			must(t, os.WriteFile(d.path(3), make([]byte, 3*SectorSize), 0o600))
		},
		"a file of zeros": func(t *testing.T, d *disk) {
			must(t, os.WriteFile(d.path(3), make([]byte, d.size), 0o600))
		},
		"a half of the first batch": func(t *testing.T, d *disk) {
			b := make([]byte, d.size)
			copy(b, appendBatch(nil, 3, 1, 0, large)[:2*SectorSize])
			must(t, os.WriteFile(d.path(3), b, 0o600))
		},
		"the whole first batch": func(t *testing.T, d *disk) {
			b := make([]byte, d.size)
			copy(b, appendBatch(nil, 3, 1, 0, large))
			must(t, os.WriteFile(d.path(3), b, 0o600))
		},
		"all but the list": func(t *testing.T, d *disk) {
			j, _ := d.open(t)
			d.saveErr = errors.New("power cut")
			if err := j.Roll(large, 0, []uint32{1}); !errors.Is(err, d.saveErr) {
				t.Fatalf("Roll: %v, want the error of Save", err)
			}
			d.saveErr = nil
			must(t, j.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, 8*SectorSize)
			j, _ := d.open(t)
			must(t, j.Roll([]byte("one"), 0, nil))
			must(t, j.Roll([]byte("two"), 0, nil))
			_, err := j.Append([]byte("more"))
			must(t, err)
			must(t, j.Close())
			left(t, d)

			j, got := d.open(t)
			want := []visited{
				{1, address(0), true, true, "one"}, {2, address(0), true, true, "two"}, {2, address(1), false, true, "more"},
			}
			if !slices.Equal(got, want) {
				t.Fatalf("visited %+v", got)
			}
			must(t, j.Roll([]byte("three"), 0, []uint32{1}))
			if j.Newest().Number != 3 {
				t.Fatalf("the next segment is %d", j.Newest().Number)
			}
			must(t, j.Close())
			j, got = d.open(t)
			if want := append(want[1:], visited{3, address(0), true, true, "three"}); !slices.Equal(got, want) {
				t.Fatalf("visited %+v", got)
			}
			must(t, j.Close())
		})
	}
}

// TestLostSegments: a segment that is missing, short, or was never begun, is
// visited as damage, and the others are read.
func TestLostSegments(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, d *disk, s uint32){
		"missing":        func(t *testing.T, d *disk, s uint32) { must(t, os.Remove(d.path(s))) },
		"empty":          func(t *testing.T, d *disk, s uint32) { must(t, os.Truncate(d.path(s), 0)) },
		"short":          func(t *testing.T, d *disk, s uint32) { must(t, os.Truncate(d.path(s), SectorSize)) },
		"short of a bit": func(t *testing.T, d *disk, s uint32) { must(t, os.Truncate(d.path(s), d.size-1)) },
		"cut in a sector": func(t *testing.T, d *disk, s uint32) {
			must(t, os.Truncate(d.path(s), SectorSize+100))
		},
		"zeros": func(t *testing.T, d *disk, s uint32) {
			must(t, os.Truncate(d.path(s), 0))
			must(t, os.Truncate(d.path(s), d.size))
		},
		"an older one in its place": func(t *testing.T, d *disk, s uint32) {
			b := make([]byte, d.size)
			copy(b, appendBatch(nil, s-1, 1, 0, []byte("older")))
			must(t, os.WriteFile(d.path(s), b, 0o600))
		},
		"a newer one in its place": func(t *testing.T, d *disk, s uint32) {
			b := make([]byte, d.size)
			copy(b, appendBatch(nil, s+1, 1, 0, []byte("newer")))
			must(t, os.WriteFile(d.path(s), b, 0o600))
		},
	} {
		for lost := uint32(1); lost <= 3; lost++ {
			t.Run(fmt.Sprintf("%s %d", name, lost), func(t *testing.T) {
				d := newDisk(t, 8*SectorSize)
				j, _ := d.open(t)
				for s := range 3 {
					must(t, j.Roll(fmt.Appendf(nil, "first %d", s+1), 0, nil))
					_, err := j.Append(fmt.Appendf(nil, "second %d", s+1))
					must(t, err)
				}
				must(t, j.Close())
				damage(t, d, lost)
				j, got := d.open(t)
				told := false
				read := map[string]bool{}
				for _, b := range got {
					told = told || b.segment == lost && !b.whole
					if b.whole {
						read[b.data] = true
					} else if b.segment != lost {
						t.Errorf("segment %d is told to be damaged, and it was %d", b.segment, lost)
					}
				}
				if !told {
					t.Error("nothing is said of damage")
				}
				for s := uint32(1); s <= 3; s++ {
					if s != lost && (!read[fmt.Sprint("first ", s)] || !read[fmt.Sprint("second ", s)]) {
						t.Errorf("segment %d is not read", s)
					}
				}
				must(t, j.Roll([]byte("goes on"), 0, []uint32{lost}))
				must(t, j.Close())
			})
		}
	}
}
