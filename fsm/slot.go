package fsm

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// SlotVersion is the version of the slot function, kept in the cluster's
// state. A node that does not know the cluster's version must not serve.
const SlotVersion = 1

// Slot is the unit of partitioning: every (hunt, team) belongs to one of
// Slots slots for ever, and every slot to one partition.
type Slot uint16

// Slots is the number of slots.
const Slots = 1 << 16

// SlotOf returns the slot of a team of a hunt: the top 16 bits of XXH64 (seed
// 0) over both ids, each behind its length as four little-endian bytes. The
// lengths keep ("ab","c") and ("a","bc") apart.
func SlotOf(hunt HuntID, team TeamID) Slot {
	var buf [8 + 2*MaxID]byte
	b := binary.LittleEndian.AppendUint32(buf[:0], uint32(len(hunt)))
	b = append(b, hunt...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(team)))
	b = append(b, team...)
	return Slot(xxhash.Sum64(b) >> 48)
}

// Range is an inclusive range of slots.
type Range struct{ First, Last Slot }

// Contains reports whether s lies in r.
func (r Range) Contains(s Slot) bool { return r.First <= s && s <= r.Last }

// SplitSlots cuts all slots into n contiguous ranges whose sizes differ by at
// most one. n must be in 1..Slots.
func SplitSlots(n int) []Range {
	out := make([]Range, n)
	for i := range n {
		out[i] = Range{Slot(i * Slots / n), Slot((i+1)*Slots/n - 1)}
	}
	return out
}
