package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"cairn/store/journal"
)

// Changes of whole sectors: what a journal has instead of references that can
// point elsewhere. The one change that is not noticed, by design, is a sector of
// the very last batch that has zeros, or what an older segment had there: that is
// what a crash leaves.

// segmentFile is a segment on disk, as bytes.
type segmentFile struct {
	number uint32
	path   string
	bytes  []byte
}

func segmentList(t testing.TB, dir string) []journal.Segment {
	t.Helper()
	data, err := readSealed(filepath.Join(dir, logsDir, segmentsFile))
	must(t, err)
	list, err := decodeSegments(data)
	must(t, err)
	return list
}

// segmentFiles reads the segments of a directory, the newest last.
func segmentFiles(t testing.TB, dir string) (files []segmentFile) {
	t.Helper()
	for _, s := range segmentList(t, dir) {
		f := segmentFile{number: s.Number, path: filepath.Join(dir, logsDir, fmt.Sprintf("%08d.log", s.Number))}
		var err error
		f.bytes, err = os.ReadFile(f.path)
		must(t, err)
		files = append(files, f)
	}
	return files
}

func (f *segmentFile) count() int { return len(f.bytes) / journal.SectorSize }

func (f *segmentFile) sector(at int) []byte {
	return f.bytes[at*journal.SectorSize:][:journal.SectorSize]
}

// lastBatch returns where the last batch begins, and where it ends.
func (f *segmentFile) lastBatch() (from, to int) {
	var last uint32
	for at := range f.count() {
		s := f.sector(at)
		if binary.BigEndian.Uint32(s[4:]) != f.number {
			break
		}
		if batch := binary.BigEndian.Uint32(s[8:]); batch != last {
			last, from = batch, at
		}
		to = at + 1
	}
	return from, to
}

// drawSector returns a sector that is in use, in most cases.
func (f *segmentFile) drawSector(rng *rand.Rand) int {
	if _, end := f.lastBatch(); rng.IntN(10) > 0 {
		return rng.IntN(end)
	}
	return rng.IntN(f.count())
}

// exchangeSectors copies a sector over another one of the same segment or of
// another one.
func exchangeSectors(t testing.TB, rng *rand.Rand, dir string) string {
	t.Helper()
	files := segmentFiles(t, dir)
	for range 10_000 {
		a, b := rng.IntN(len(files)), rng.IntN(len(files))
		source, target := &files[a], &files[b]
		from, to := source.drawSector(rng), target.drawSector(rng)
		if rng.IntN(2) == 0 {
			to = from
		}
		start, end := target.lastBatch()
		last := b == len(files)-1 && start <= to && to < end
		if bytes.Equal(source.sector(from), target.sector(to)) || last && asUnwritten(source, from, target, to) {
			continue
		}
		copy(target.sector(to), source.sector(from))
		must(t, os.WriteFile(target.path, target.bytes, 0o600))
		return fmt.Sprintf("copying sector %d of segment %d over sector %d of segment %d", from, source.number, to, target.number)
	}
	t.Fatal("found no two sectors")
	return ""
}

// asUnwritten says whether a sector would look as if its place was never written.
func asUnwritten(source *segmentFile, from int, target *segmentFile, to int) bool {
	s := source.sector(from)
	return from == to && binary.BigEndian.Uint32(s[4:]) < target.number || bytes.Count(s, []byte{0}) == len(s)
}

// zeroSector clears a sector, but none of the last batch.
func zeroSector(t testing.TB, rng *rand.Rand, dir string) string {
	t.Helper()
	files := segmentFiles(t, dir)
	n := rng.IntN(len(files))
	f := &files[n]
	at := f.drawSector(rng)
	if start, _ := f.lastBatch(); n == len(files)-1 {
		at = rng.IntN(start)
	}
	clear(f.sector(at))
	must(t, os.WriteFile(f.path, f.bytes, 0o600))
	return fmt.Sprintf("clearing sector %d of segment %d", at, f.number)
}
