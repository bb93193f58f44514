package store

// place is where an entry is in the journal.
type place struct {
	segment, addr uint32
	size          uint32 // of the stored entry, in bytes
	sum           uint32 // of the entry, which the next one names
}

// usage counts, by segment, the bytes of entries that are part of a log. Whoever
// writes owns it.
type usage map[uint32]int64

// index knows where the entries of one log are, and has the newest of them.
type index struct {
	first  uint64 // index of places[0]
	places []place
	recent recent
}

// place returns the place of an entry, and false if it is not in the log.
func (x *index) place(i uint64) (place, bool) {
	if i < x.first || i-x.first >= uint64(len(x.places)) {
		return place{}, false
	}
	return x.places[i-x.first], true
}

// put sets the place of an entry: of the one behind the last, or of one that
// moved. Entry is nil for one that moved.
func (x *index) put(i uint64, p place, entry []byte, used usage) {
	used[p.segment] += int64(p.size)
	if i-x.first < uint64(len(x.places)) && i >= x.first {
		old := &x.places[i-x.first]
		used[old.segment] -= int64(old.size)
		*old = p
		return
	}
	if len(x.places) == 0 {
		x.first = i
	}
	x.places = append(x.places, p)
	if entry != nil {
		x.recent.append(i, entry)
	}
}

// keep forgets what is not in first..last.
func (x *index) keep(first, last uint64, used usage) {
	x.recent.keep(first, last)
	for len(x.places) > 0 && x.first < first {
		used[x.places[0].segment] -= int64(x.places[0].size)
		x.places = x.places[1:]
		x.first++
	}
	for n := len(x.places); n > 0 && x.first+uint64(n)-1 > last; n-- {
		used[x.places[n-1].segment] -= int64(x.places[n-1].size)
		x.places = x.places[:n-1]
	}
}

// in returns the entries that are in a segment, from an index on, until their
// bytes reach limit, and the index to go on with; 0: there are no more.
func (x *index) in(segment uint32, from uint64, limit int) (found []uint64, next uint64) {
	bytes := 0
	for i := max(from, x.first); i < x.first+uint64(len(x.places)); i++ {
		p := x.places[i-x.first]
		if p.segment != segment {
			continue
		}
		if bytes >= limit {
			return found, i
		}
		bytes += int(p.size)
		found = append(found, i)
	}
	return found, 0
}
