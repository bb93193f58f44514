package store

// recentBytes is how much of a log's newest end is kept in memory, per group:
// replication reads an entry right after it was appended.
const recentBytes = 1 << 20

// recent holds the newest entries of a log as they are stored, at most
// recentBytes of them. What it gives out is never changed.
type recent struct {
	first   uint64 // index of entries[0]
	entries [][]byte
	bytes   int
}

// append adds an entry that follows the last one, or starts a log anew.
func (r *recent) append(index uint64, entry []byte) {
	if index != r.first+uint64(len(r.entries)) {
		r.first, r.entries, r.bytes = index, nil, 0
	}
	r.entries = append(r.entries, entry)
	r.bytes += len(entry)
	r.dropFront(func() bool { return r.bytes > recentBytes })
}

// keep forgets what is not in first..last.
func (r *recent) keep(first, last uint64) {
	r.dropFront(func() bool { return r.first < first })
	for n := len(r.entries); n > 0 && r.first+uint64(n)-1 > last; n-- {
		r.bytes -= len(r.entries[n-1])
		r.entries[n-1] = nil
		r.entries = r.entries[:n-1]
	}
}

func (r *recent) dropFront(more func() bool) {
	for len(r.entries) > 0 && more() {
		r.bytes -= len(r.entries[0])
		r.entries[0] = nil
		r.entries = r.entries[1:]
		r.first++
	}
}

// get returns the entry of an index, or nil.
func (r *recent) get(index uint64) []byte {
	if index < r.first || index-r.first >= uint64(len(r.entries)) {
		return nil
	}
	return r.entries[index-r.first]
}
