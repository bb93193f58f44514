package journal

import "encoding/binary"

// Batch is a batch that was found in a segment.
type Batch struct {
	// Segment is the segment's number, and Addr the address of the data's first
	// byte in it (see Journal.Read).
	Segment, Addr uint32
	// First: it is the first batch of its segment.
	First bool
	// Data is the batch; nil: it is lost whole, and perhaps others beside it.
	// It is valid until the next batch is visited.
	Data []byte
	// Holes are the parts of Data that are lost, as offsets into it, in order.
	// Their bytes are zeros.
	Holes []Hole
}

// Hole is a range of bytes, the end excluded.
type Hole struct{ From, To int }

// Intact tells whether no byte of from..to is lost, the end excluded.
func (b *Batch) Intact(from, to int) bool {
	if b.Data == nil || from < 0 || to > len(b.Data) {
		return false
	}
	for _, h := range b.Holes {
		if h.From < to && from < h.To {
			return false
		}
	}
	return true
}

// scanner reads one segment.
type scanner struct {
	segment uint32
	bytes   []byte
	sectors []sector
	last    uint32 // number of the newest batch of which there is a sector
	data    []byte // of the batch that is visited
	holes   []Hole
}

// scan visits what is in a segment, in order: whole batches, damaged ones, and
// a Batch without Data where something is lost whose extent is not known. A last
// batch that lacks a sector was cut off by a crash and is left out; not so the
// first one, which was whole before the list of segments named the segment.
// Nothing is said of wrong sectors behind the end, where nothing was written.
func scan(segment uint32, b []byte, visit func(*Batch)) {
	s := &scanner{segment: segment, bytes: b, sectors: make([]sector, len(b)/SectorSize), data: []byte{}}
	for at := range s.sectors {
		s.sectors[at] = classify(b[at*SectorSize:], segment, at)
		if s.sectors[at].kind == written {
			s.last = max(s.last, s.sectors[at].batch)
		}
	}
	if len(s.sectors) == 0 {
		visit(&Batch{Segment: segment})
	}
	at, next := 0, uint32(1)
	for at < len(s.sectors) {
		head := s.sectors[at]
		if head.kind == written && head.part == 0 && head.batch >= next {
			if head.batch > next {
				visit(&Batch{Segment: segment})
			}
			n, cutOff := s.collect(at)
			switch {
			case cutOff && head.batch == s.last && at > 0:
				return
			case n > 0:
				visit(&Batch{Segment: segment, Addr: address(at), First: at == 0, Data: s.data, Holes: s.holes})
				at, next = at+n, head.batch+1
				continue
			}
		}
		if head.kind == unwritten && s.last <= next && at > 0 {
			return // the end, or a batch that was cut off before its first sector
		}
		visit(&Batch{Segment: segment})
		at, next = s.resume(at+1, next)
	}
}

// address is where the data of a batch begins whose first sector is at.
func address(at int) uint32 { return uint32(at*Content + lengthSize) }

// collect gathers the batch that begins at, and says how many sectors it has: 0
// if that cannot be. cutOff: a sector of it was never written.
func (s *scanner) collect(at int) (n int, cutOff bool) {
	batch := s.sectors[at].batch
	length := int(binary.BigEndian.Uint32(s.bytes[at*SectorSize+sectorHeader:]))
	if length > MaxBatch || at+sectors(length) > len(s.sectors) {
		return 0, false
	}
	n = sectors(length)
	s.data, s.holes = s.data[:0], nil
	for part := range n {
		from := (at+part)*SectorSize + sectorHeader
		to := from + Content
		if part == 0 {
			from += lengthSize
		}
		to = min(to, from+length-len(s.data))
		is := s.sectors[at+part]
		if is.kind == written && is.batch == batch && int(is.part) == part {
			s.data = append(s.data, s.bytes[from:to]...)
			continue
		}
		cutOff = cutOff || is.kind == unwritten
		start := len(s.data)
		s.data = append(s.data, zeros[:to-from]...)
		s.holes = append(s.holes, Hole{start, len(s.data)})
	}
	return n, cutOff
}

// resume finds the next batch behind something that cannot be read. Without one
// it returns the end.
func (s *scanner) resume(at int, next uint32) (int, uint32) {
	for ; at < len(s.sectors); at++ {
		if is := s.sectors[at]; is.kind == written && is.part == 0 && is.batch >= next {
			return at, is.batch
		}
	}
	return at, next
}
