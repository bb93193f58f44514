package journal

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	// SectorSize is what a disk writes whole or not at all, in bytes.
	SectorSize = 512
	// sectorHeader are the bytes of a sector that are not content:
	//
	//	 0  sum      uint32  CRC32C over the bytes below, the content, and the sector's position
	//	 4  segment  uint32  number of the segment, from 1
	//	 8  batch    uint32  number of the batch in the segment, from 1
	//	12  part     uint16  place of the sector in its batch, from 0
	//	14  0        uint16
	sectorHeader = 16
	// Content is how many bytes of a batch are in a sector.
	Content = SectorSize - sectorHeader
	// lengthSize are the bytes before a batch's data, in its first sector, that
	// hold its length (uint32).
	lengthSize = 4
	// MaxBatch is the size of the largest batch, in bytes: parts are counted in
	// 16 bits.
	MaxBatch = (1<<16)*Content - lengthSize
	// MaxSegment is the size of the largest segment, in bytes: a first batch and
	// another one, each as large as can be.
	MaxSegment = 2 * (1 << 16) * SectorSize
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sectors returns how many sectors a batch of n bytes takes.
func sectors(n int) int { return (lengthSize + n + Content - 1) / Content }

// appendBatch lays a batch out in sectors, the first of them at position at, and
// appends them to dst. The rest of the last sector is zeros.
func appendBatch(dst []byte, segment, batch uint32, at int, data []byte) []byte {
	var length [lengthSize]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(data)))
	for part := range sectors(len(data)) {
		start := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		dst = binary.BigEndian.AppendUint32(dst, segment)
		dst = binary.BigEndian.AppendUint32(dst, batch)
		dst = binary.BigEndian.AppendUint16(dst, uint16(part))
		dst = append(dst, 0, 0)
		room := Content
		if part == 0 {
			dst = append(dst, length[:]...)
			room -= lengthSize
		}
		n := min(room, len(data))
		dst = append(dst, data[:n]...)
		data = data[n:]
		dst = append(dst, zeros[:SectorSize-(len(dst)-start)]...)
		binary.BigEndian.PutUint32(dst[start:], sectorSum(dst[start:], at+part))
	}
	return dst
}

var zeros [SectorSize]byte

func sectorSum(sector []byte, at int) uint32 {
	var place [4]byte
	binary.BigEndian.PutUint32(place[:], uint32(at))
	return crc32.Update(crc32.Checksum(sector[4:SectorSize], castagnoli), castagnoli, place[:])
}

// kind is what a sector of a segment can be.
type kind uint8

const (
	unwritten kind = iota // zeros, or a sector of an older segment
	written               // a sector of this segment
	wrong                 // what only damage makes
)

// sector is what a sector says of itself.
type sector struct {
	kind  kind
	part  uint16
	batch uint32
}

// classify tells what the sector at a position of a segment is.
func classify(b []byte, segment uint32, at int) sector {
	if binary.BigEndian.Uint32(b) != sectorSum(b, at) {
		if string(b[:SectorSize]) == string(zeros[:]) {
			return sector{kind: unwritten}
		}
		return sector{kind: wrong}
	}
	switch of := binary.BigEndian.Uint32(b[4:]); {
	case of < segment:
		return sector{kind: unwritten}
	case of > segment:
		return sector{kind: wrong}
	}
	return sector{kind: written, batch: binary.BigEndian.Uint32(b[8:]), part: binary.BigEndian.Uint16(b[12:])}
}
