package store

import (
	"encoding/binary"
	"fmt"

	"cairn/store/journal"
)

// A batch of the journal is what one commit changes, group by group:
//
//	n uint32, then n times: group uint32, size of its part uint32
//	n parts, each:
//	    length of the record uint16, record (a state; length 0: the group was dropped)
//	    entries to the end, each: index uint64, size uint32, entry
//
// A part holds the whole record, so the newest part of a group says all of the
// group but where its older entries are. The first batch of a segment is a
// checkpoint: the records of all groups. So the newest segment says all of all
// groups, and the older ones are kept for the entries that are in them.
const (
	batchFixed  = 4
	batchLine   = 8
	entryPrefix = 12
)

// change is what a commit makes of one group.
type change struct {
	group *GroupLog
	state *state // the record; nil: dropped
	// keep: of the entries that were there before, those up to here stay.
	keep    uint64
	entries []stored
}

// stored is an entry in a batch: a new one, or one that is moved out of an old
// segment.
type stored struct {
	index uint64
	sum   uint32
	moved bool
	value []byte
	at    int // offset in the batch
}

// appendBatch encodes changes, and notes where in the batch each entry is.
func appendBatch(b []byte, changes []*change) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(changes)))
	lines := len(b)
	for _, c := range changes {
		b = binary.BigEndian.AppendUint32(b, c.group.group)
		b = binary.BigEndian.AppendUint32(b, 0)
	}
	for i, c := range changes {
		start := len(b)
		b = append(b, 0, 0)
		if c.state != nil {
			b = appendState(b, c.state)
			binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start-2))
		}
		for k := range c.entries {
			e := &c.entries[k]
			b = binary.BigEndian.AppendUint64(b, e.index)
			b = binary.BigEndian.AppendUint32(b, uint32(len(e.value)))
			e.at = len(b)
			b = append(b, e.value...)
		}
		binary.BigEndian.PutUint32(b[lines+i*batchLine+4:], uint32(len(b)-start))
	}
	return b
}

// part is where a group's part of a batch is.
type part struct {
	group    uint32
	from, to int // offsets in the batch
}

// parts returns where the parts of a batch are; false if that is lost, or is not
// what appendBatch writes.
func parts(b *journal.Batch) ([]part, bool) {
	if !b.Intact(0, batchFixed) {
		return nil, false
	}
	n := int(binary.BigEndian.Uint32(b.Data))
	at := batchFixed + n*batchLine
	if n > len(b.Data) || !b.Intact(0, at) {
		return nil, false
	}
	found := make([]part, 0, n)
	for line := b.Data[batchFixed:at]; len(line) > 0; line = line[batchLine:] {
		p := part{group: binary.BigEndian.Uint32(line), from: at, to: at + int(binary.BigEndian.Uint32(line[4:]))}
		if p.to > len(b.Data) {
			return nil, false
		}
		found = append(found, p)
		at = p.to
	}
	return found, at == len(b.Data)
}

// openPart decodes a part: its record, nil if the group was dropped, and its
// entries, whose values share b's memory.
func openPart(b []byte) (*state, []stored, error) {
	r := reader{b: b}
	var s *state
	if record := r.take(int(r.uint16())); len(record) > 0 {
		var err error
		if s, err = decodeState(record); err != nil {
			return nil, nil, err
		}
	}
	var entries []stored
	for len(r.b) > 0 {
		e := stored{index: r.uint64()}
		size := int(r.uint32())
		e.at = len(b) - len(r.b)
		e.value = r.take(size)
		entries = append(entries, e)
	}
	if r.short {
		return nil, nil, fmt.Errorf("a part of %d bytes does not end where it should", len(b))
	}
	return s, entries, nil
}
