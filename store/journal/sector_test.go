package journal

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// content is n bytes that are not zeros and follow from seed.
func content(n, seed int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + (i*7+seed)%251)
	}
	return b
}

// TestGolden pins the format. A change of it needs a new store.Format.
func TestGolden(t *testing.T) {
	got := []byte(hex.Dump(appendBatch(nil, 3, 2, 5, content(600, 0))))
	path := filepath.Join("testdata", "batch.hex")
	if *update {
		must(t, os.MkdirAll("testdata", 0o700))
		must(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("a batch of 600 bytes is now\n%swant\n%s", got, want)
	}
}

// TestSectors: a batch takes as many sectors as its length says, also where the
// last one is full.
func TestSectors(t *testing.T) {
	for n, want := range map[int]int{
		0: 1, 1: 1, Content - lengthSize: 1, Content - lengthSize + 1: 2, 2*Content - lengthSize: 2, MaxBatch: 1 << 16,
	} {
		if got := sectors(n); got != want {
			t.Errorf("a batch of %d bytes takes %d sectors, want %d", n, got, want)
		}
		if n <= MaxBatch/2 && len(appendBatch(nil, 1, 1, 0, make([]byte, n))) != want*SectorSize {
			t.Errorf("a batch of %d bytes is not laid out in %d sectors", n, want)
		}
	}
}

// TestClassify: a sector says what it is only where it was written.
func TestClassify(t *testing.T) {
	const segment, batch, at = 5, 3, 7
	sectors := appendBatch(nil, segment, batch, at, content(Content, 1)) // two of them
	second := sectors[SectorSize:]
	flipped := bytes.Clone(second)
	flipped[100] ^= 0x10
	for name, test := range map[string]struct {
		b       []byte
		segment uint32
		at      int
		want    sector
	}{
		"the first":               {sectors, segment, at, sector{kind: written, batch: batch}},
		"the second":              {second, segment, at + 1, sector{kind: written, batch: batch, part: 1}},
		"at another position":     {second, segment, at, sector{kind: wrong}},
		"of an older segment":     {second, segment + 1, at + 1, sector{kind: unwritten}},
		"of a newer segment":      {second, segment - 1, at + 1, sector{kind: wrong}},
		"zeros":                   {zeros[:], segment, at, sector{kind: unwritten}},
		"zeros but for one bit":   {append(make([]byte, SectorSize-1), 1), segment, at, sector{kind: wrong}},
		"a flipped bit":           {flipped, segment, at + 1, sector{kind: wrong}},
		"half old and half zeros": {append(bytes.Clone(sectors[:SectorSize/2]), zeros[:SectorSize/2]...), segment, at, sector{kind: wrong}},
	} {
		if got := classify(test.b, test.segment, test.at); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
