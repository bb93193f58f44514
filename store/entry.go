package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/hashicorp/raft"
)

// MaxEntry is the size of the largest entry, data and extensions together, in
// bytes. It is far above what Cairn proposes.
const MaxEntry = 8 << 20

// An entry of a group's log is stored as
//
//	 0  sum    uint32  CRC32C over group, index and everything below
//	 4  prev   uint32  sum of the entry before; 0 in a log's very first
//	 8  term   uint64
//	16  at     int64   AppendedAt in nanoseconds since 1970; noTime if zero
//	24  type   uint8
//	25  data   uint32  length of Data
//	29  Data, then Extensions to the end
//
// sum makes an entry proof of itself: of its content, its group and its place.
// prev makes the log a chain, so that the last sum, which the group's record
// repeats, vouches for every entry before it: an older entry of the same index
// cannot take the place of the right one.
const entryHeader = 29

// noTime stands for the zero time.Time, which has no count of nanoseconds.
const noTime = math.MinInt64

// newEntry encodes all of an entry but sum and prev, which sealEntry sets. The
// result shares nothing with l.
func newEntry(l *raft.Log) ([]byte, error) {
	if n := len(l.Data) + len(l.Extensions); n > MaxEntry {
		return nil, fmt.Errorf("store: entry %d has %d bytes, more than %d", l.Index, n, MaxEntry)
	}
	v := make([]byte, entryHeader, entryHeader+len(l.Data)+len(l.Extensions))
	binary.BigEndian.PutUint64(v[8:], l.Term)
	binary.BigEndian.PutUint64(v[16:], uint64(nanoseconds(l.AppendedAt)))
	v[24] = byte(l.Type)
	binary.BigEndian.PutUint32(v[25:], uint32(len(l.Data)))
	v = append(v, l.Data...)
	return append(v, l.Extensions...), nil
}

// sealEntry puts an encoded entry into its place and returns its sum.
func sealEntry(v []byte, group uint32, index uint64, prev uint32) uint32 {
	binary.BigEndian.PutUint32(v[4:], prev)
	sum := entrySum(v, group, index)
	binary.BigEndian.PutUint32(v, sum)
	return sum
}

func entrySum(v []byte, group uint32, index uint64) uint32 {
	var place [12]byte
	binary.BigEndian.PutUint32(place[:], group)
	binary.BigEndian.PutUint64(place[4:], index)
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, v[4:])
}

// checkEntry returns the two sums of a stored entry, or an error if it is not
// the entry of this group and index.
func checkEntry(v []byte, group uint32, index uint64) (sum, prev uint32, err error) {
	if len(v) < entryHeader {
		return 0, 0, fmt.Errorf("entry %d has only %d bytes", index, len(v))
	}
	sum = binary.BigEndian.Uint32(v)
	if sum != entrySum(v, group, index) {
		return 0, 0, fmt.Errorf("entry %d has a wrong checksum", index)
	}
	if data := binary.BigEndian.Uint32(v[25:]); uint64(data) > uint64(len(v)-entryHeader) {
		return 0, 0, fmt.Errorf("entry %d says it has %d bytes of data in %d", index, data, len(v))
	}
	return sum, binary.BigEndian.Uint32(v[4:]), nil
}

// openEntry decodes an entry that checkEntry has passed. l shares v's memory.
// Empty Data and Extensions come back nil, and AppendedAt in UTC.
func openEntry(v []byte, index uint64, l *raft.Log) {
	end := entryHeader + int(binary.BigEndian.Uint32(v[25:]))
	*l = raft.Log{
		Index:      index,
		Term:       binary.BigEndian.Uint64(v[8:]),
		Type:       raft.LogType(v[24]),
		AppendedAt: fromNanoseconds(int64(binary.BigEndian.Uint64(v[16:]))),
	}
	if end > entryHeader {
		l.Data = v[entryHeader:end:end]
	}
	if end < len(v) {
		l.Extensions = v[end:len(v):len(v)]
	}
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return noTime
	}
	return t.UnixNano()
}

func fromNanoseconds(n int64) time.Time {
	if n == noTime {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// entrySumOf returns the sum that a stored entry has.
func entrySumOf(v []byte) uint32 { return binary.BigEndian.Uint32(v) }
