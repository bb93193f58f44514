package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// found is what a scan said of a segment.
type found struct {
	whole map[uint32][]byte // intact batches by address
	holed map[uint32]Batch  // damaged ones
	lost  int               // how often something was lost whose extent is not known
	first int               // how many were called the first
	order []uint32          // the addresses as they were visited
}

func scanned(segment uint32, image []byte) found {
	f := found{whole: map[uint32][]byte{}, holed: map[uint32]Batch{}}
	scan(segment, image, func(b *Batch) {
		if b.Segment != segment {
			panic(fmt.Sprintf("a batch of segment %d in segment %d", b.Segment, segment))
		}
		if b.First {
			f.first++
		}
		switch {
		case b.Data == nil:
			f.lost++
			return
		case len(b.Holes) > 0:
			f.holed[b.Addr] = Batch{Data: bytes.Clone(b.Data), Holes: b.Holes}
		default:
			f.whole[b.Addr] = append([]byte{}, b.Data...)
		}
		f.order = append(f.order, b.Addr)
	})
	return f
}

// image is a segment and what was written to it.
type image struct {
	bytes   []byte
	segment uint32
	end     int      // position behind the last batch
	starts  []int    // position of each batch
	batches [][]byte // what is in them
}

// drawImage writes batches over zeros, or over what older segments left.
func drawImage(t *rapid.T, sectors int) *image {
	im := &image{bytes: make([]byte, sectors*SectorSize)}
	for range rapid.IntRange(1, 3).Draw(t, "lives") {
		im.segment += uint32(rapid.IntRange(1, 3).Draw(t, "segments between"))
		im.end, im.starts, im.batches = 0, nil, nil
		for n := rapid.IntRange(1, 12).Draw(t, "batches"); n > 0 && im.write(drawData(t), nil); n-- {
			continue
		}
	}
	return im
}

func drawData(t *rapid.T) []byte {
	n := rapid.OneOf(rapid.IntRange(0, 600), rapid.SampledFrom([]int{0, Content - lengthSize, Content, 2*Content - lengthSize, 3000})).Draw(t, "bytes")
	return content(n, rapid.IntRange(0, 250).Draw(t, "content"))
}

// write adds a batch if it fits. Of its sectors only those that keep says reach
// the disk; nil: all do, and it is acknowledged.
func (im *image) write(data []byte, keep []bool) bool {
	sectors := appendBatch(nil, im.segment, uint32(len(im.batches)+1), im.end, data)
	if im.end*SectorSize+len(sectors) > len(im.bytes) {
		return false
	}
	for i := range len(sectors) / SectorSize {
		if keep == nil || keep[i] {
			copy(im.bytes[(im.end+i)*SectorSize:], sectors[i*SectorSize:][:SectorSize])
		}
	}
	if keep == nil {
		im.starts, im.batches = append(im.starts, im.end), append(im.batches, data)
		im.end += len(sectors) / SectorSize
	}
	return true
}

// cut writes a last batch that is cut off by a crash: any of its sectors may be
// there, but not all.
func (im *image) cut(t *rapid.T) {
	data := drawData(t)
	n := sectors(len(data))
	keep := rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "kept")
	keep[rapid.IntRange(0, n-1).Draw(t, "not kept")] = false
	im.write(data, keep)
}

// TestCutOff: after a power cut within the last batch, a scan finds exactly the
// acknowledged ones, and nothing that it would call damage.
func TestCutOff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		im := drawImage(t, 40)
		if rapid.Bool().Draw(t, "cut") {
			im.cut(t)
		}
		got := scanned(im.segment, im.bytes)
		if got.lost > 0 || len(got.holed) > 0 {
			t.Fatalf("a crash was taken for damage: %d times lost, %d damaged", got.lost, len(got.holed))
		}
		if got.first != 1 || len(got.order) != len(im.batches) {
			t.Fatalf("%d batches, %d of them the first, want %d", len(got.order), got.first, len(im.batches))
		}
		for i, want := range im.batches {
			if addr := address(im.starts[i]); got.order[i] != addr || !bytes.Equal(got.whole[addr], want) {
				t.Fatalf("batch %d is not what was written", i+1)
			}
		}
	})
}

// TestWholeUnacknowledged: a last batch that was written whole counts, whoever
// was or was not told.
func TestWholeUnacknowledged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		im := drawImage(t, 40)
		n := len(im.batches)
		all := make([]bool, 8)
		for i := range all {
			all[i] = true
		}
		at := im.end
		if !im.write(content(rapid.IntRange(0, 3000).Draw(t, "bytes"), 9), all) {
			t.Skip("it does not fit")
		}
		if got := scanned(im.segment, im.bytes); len(got.whole) != n+1 || got.whole[address(at)] == nil || got.lost > 0 {
			t.Fatalf("%d batches of %d were found", len(got.whole), n+1)
		}
	})
}

// TestChangedByte: whatever byte of a written sector changes, also of the last
// one and also beside a batch that a crash has cut off: its batch is told to be
// damaged, and the others are read as they were written.
func TestChangedByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		im := drawImage(t, 40)
		at := rapid.IntRange(0, im.end*SectorSize-1).Draw(t, "at")
		hit := len(im.starts) - 1
		for im.starts[hit] > at/SectorSize {
			hit--
		}
		if rapid.Bool().Draw(t, "cut") {
			im.cut(t)
		}
		im.bytes[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "change"))
		wantDamage(t, im, hit)
	})
}

// TestLostSector: a sector of zeros, or one that stood elsewhere in this segment,
// or one of another segment, is noticed as well. The one limit is the last batch:
// where it has zeros, or what stood there before, it looks like one that was cut
// off.
func TestLostSector(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		im := drawImage(t, 40)
		position := rapid.IntRange(0, im.end-1).Draw(t, "position")
		sector := im.bytes[position*SectorSize:][:SectorSize]
		hit := len(im.starts) - 1
		for im.starts[hit] > position {
			hit--
		}
		from := rapid.IntRange(0, im.end-1).Draw(t, "from")
		newer := appendBatch(nil, im.segment+1, 1, position, content(100, 3))
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			if hit == len(im.starts)-1 && hit > 0 {
				t.Skip("the limit")
			}
			clear(sector)
			if rapid.Bool().Draw(t, "older") {
				copy(sector, appendBatch(nil, im.segment-1, 1, position, content(100, 3)))
			}
		case 1:
			if from == position {
				t.Skip("no change")
			}
			copy(sector, im.bytes[from*SectorSize:][:SectorSize])
		default:
			copy(sector, newer)
		}
		wantDamage(t, im, hit)
	})
}

// wantDamage checks that all batches are whole but for the one that was hit, and
// that this is told.
func wantDamage(t *rapid.T, im *image, hit int) {
	got := scanned(im.segment, im.bytes)
	for i, want := range im.batches {
		addr := address(im.starts[i])
		if i != hit {
			if whole, ok := got.whole[addr]; !ok || !bytes.Equal(whole, want) {
				t.Fatalf("batch %d of %d is not what was written, and batch %d was damaged", i+1, len(im.batches), hit+1)
			}
			continue
		}
		holed, ok := got.holed[addr]
		if !ok && got.lost == 0 || got.whole[addr] != nil {
			t.Fatalf("the damage of batch %d of %d is not told", hit+1, len(im.batches))
		}
		if ok {
			wantHoles(t, holed, want)
		}
	}
	if n := len(got.whole) + len(got.holed); n > len(im.batches) {
		t.Fatalf("%d batches were found of %d", n, len(im.batches))
	}
}

// wantHoles checks that what is not in a hole is what was written.
func wantHoles(t *rapid.T, b Batch, want []byte) {
	if len(b.Data) != len(want) {
		t.Fatalf("a damaged batch has %d bytes, want %d", len(b.Data), len(want))
	}
	for i := range want {
		switch intact := b.Intact(i, i+1); {
		case intact && b.Data[i] != want[i]:
			t.Fatalf("byte %d is wrong, and in no hole of %v", i, b.Holes)
		case !intact && b.Data[i] != 0:
			t.Fatalf("byte %d is in a hole of %v and not zero", i, b.Holes)
		}
	}
	if b.Intact(0, len(want)) && len(want) > 0 {
		t.Fatalf("a batch with holes %v is intact", b.Holes)
	}
}

// TestNeverBegun: a segment that is in the list has a first batch. Without one it
// is damaged, whatever else there is.
func TestNeverBegun(t *testing.T) {
	older := &image{bytes: make([]byte, 40*SectorSize), segment: 1}
	for i := range 5 {
		older.write(content(700, i), nil)
	}
	for name, b := range map[string][]byte{
		"empty":             {},
		"zeros":             make([]byte, 40*SectorSize),
		"an older segment":  older.bytes,
		"its first is torn": append(bytes.Clone(appendBatch(nil, 2, 1, 0, content(700, 1))[:SectorSize]), older.bytes[SectorSize:]...),
	} {
		if got := scanned(2, b); got.lost+len(got.holed) == 0 || len(got.whole) > 0 {
			t.Errorf("%s: %d batches, no damage", name, len(got.whole))
		}
	}
}

func TestIntact(t *testing.T) {
	b := &Batch{Data: make([]byte, 100), Holes: []Hole{{10, 20}, {50, 51}}}
	for _, test := range []struct {
		from, to int
		want     bool
	}{
		{0, 10, true},
		{0, 11, false},
		{19, 30, false},
		{20, 50, true},
		{20, 51, false},
		{51, 100, true},
		{51, 101, false},
		{-1, 5, false},
		{12, 15, false},
	} {
		if got := b.Intact(test.from, test.to); got != test.want {
			t.Errorf("%d..%d: %v", test.from, test.to, got)
		}
	}
	if (&Batch{}).Intact(0, 0) {
		t.Error("a lost batch is intact")
	}
}

// sketch makes a segment of a short description, four bytes a sector: its kind,
// its batch, its part, and the length that it names. So the fuzzer comes far.
func sketch(segment uint32, plan []byte) (b []byte) {
	for at := 0; len(plan) >= 4 && at < 64; at, plan = at+1, plan[4:] {
		s := make([]byte, SectorSize)
		of := segment
		switch plan[0] % 6 {
		case 0: // zeros
			b = append(b, s...)
			continue
		case 1:
			of--
		case 2:
			of++
		}
		binary.BigEndian.PutUint32(s[4:], of)
		binary.BigEndian.PutUint32(s[8:], uint32(plan[1]))
		binary.BigEndian.PutUint16(s[12:], uint16(plan[2]))
		binary.BigEndian.PutUint32(s[sectorHeader:], uint32(plan[3])<<(plan[0]/32*4)) // up to 4 GiB
		binary.BigEndian.PutUint32(s, sectorSum(s, at))
		if plan[0]%6 == 3 { // wrong
			s[SectorSize-1]++
		}
		b = append(b, s...)
	}
	return b
}

// FuzzScan: whatever is on the disk, a scan ends, and what it says fits into the
// segment.
func FuzzScan(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add([]byte{4, 1, 0, 9, 36, 2, 0, 90, 4, 2, 1, 0, 4, 3, 0, 7}, []byte("raw"))
	f.Add([]byte{4, 1, 0, 9, 3, 2, 0, 9, 4, 3, 0, 200, 0, 0, 0, 0, 1, 4, 0, 0}, bytes.Repeat([]byte{7}, SectorSize))
	f.Fuzz(func(t *testing.T, plan, raw []byte) {
		const segment = 2
		b := append(sketch(segment, plan), raw...)
		b = b[:len(b)/SectorSize*SectorSize]
		visits := 0
		scan(segment, b, func(v *Batch) {
			visits++
			if end := int(v.Addr) + len(v.Data); end > len(b)/SectorSize*Content {
				t.Fatalf("a batch ends at %d of %d", end, len(b)/SectorSize*Content)
			}
			for i, h := range v.Holes {
				if h.From < 0 || h.From > h.To || h.To > len(v.Data) || i > 0 && h.From < v.Holes[i-1].To {
					t.Fatalf("holes %v in %d bytes", v.Holes, len(v.Data))
				}
			}
		})
		if visits == 0 || visits > 2*len(b)/SectorSize+1 {
			t.Fatalf("%d visits of %d sectors", visits, len(b)/SectorSize)
		}
	})
}
