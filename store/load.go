package store

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cairn/store/journal"
)

// openJournal opens the journal in a directory whose list of segments was read
// before.
func (d *Dir) openJournal(path string, list []journal.Segment, visit func(*journal.Batch)) (*journal.Journal, error) {
	return journal.Open(path, list, journal.Options{
		Size:   d.opts.Segment,
		NoSync: d.opts.NoSync,
		FS:     d.disk,
		Save: func(list []journal.Segment) error {
			return d.disk.writeSealed(filepath.Join(path, segmentsFile), encodeSegments(list))
		},
	}, visit)
}

// encodeSegments writes a line "number size" for each segment.
func encodeSegments(list []journal.Segment) []byte {
	var b []byte
	for _, s := range list {
		b = fmt.Appendf(b, "%d %d\n", s.Number, s.Size)
	}
	return b
}

func decodeSegments(b []byte) ([]journal.Segment, error) {
	var list []journal.Segment
	for line := range strings.Lines(string(b)) {
		number, size, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.ParseUint(number, 10, 32)
		s, err2 := strconv.ParseInt(size, 10, 64)
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("the list of segments has a line %q", line)
		}
		newer := len(list) == 0 || uint32(n) > list[len(list)-1].Number
		if n == 0 || !newer || s <= 0 || s > journal.MaxSegment || s%journal.SectorSize != 0 {
			return nil, fmt.Errorf("the list of segments has segment %d of %d bytes", n, s)
		}
		list = append(list, journal.Segment{Number: uint32(n), Size: s})
	}
	if len(list) == 0 {
		return nil, errors.New("the list of segments is empty")
	}
	return list, nil
}

// load verifies the whole log, fills groups, and begins a new segment. What it
// returns concerns all groups; damage of one is kept with that group.
func (l *Logs) load(path string) error {
	data, err := readSealed(filepath.Join(path, segmentsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return damagedf("file "+segmentsFile, "it is missing")
	}
	if err != nil {
		return err
	}
	list, err := decodeSegments(data)
	if err != nil {
		return damagedf("file "+segmentsFile, "%v", err)
	}
	r := replay{newest: list[len(list)-1].Number, groups: map[uint32]*replayed{}}
	if l.journal, err = l.dir.openJournal(path, list, r.visit); err != nil {
		return err
	}
	if err := l.adopt(&r); err != nil {
		return errors.Join(err, l.journal.Close())
	}
	if err := l.roll(0); err != nil {
		return errors.Join(err, l.journal.Close())
	}
	return nil
}

// replay reads the batches of all segments in order.
type replay struct {
	newest uint32
	groups map[uint32]*replayed
}

// replayed is what has been read of one group.
type replayed struct {
	state  *state // of the newest part that could be read
	lost   bool   // a newer part could not be read
	places map[uint64]link
}

// link is an entry's place, and the sum that it has of the one before.
type link struct {
	place
	prev uint32
}

func (r *replay) visit(b *journal.Batch) {
	found, ok := parts(b)
	if !ok {
		r.lose(b.Segment, slices.Collect(maps.Keys(r.groups))...)
		return
	}
	if b.First {
		r.checkpoint(found)
	}
	for _, p := range found {
		if !b.Intact(p.from, p.to) {
			r.lose(b.Segment, p.group)
			continue
		}
		r.part(b, p)
	}
}

// lose notes that parts of groups could not be read. Only those in the newest
// segment are missed for themselves: it has the last record of every group. What
// is missing elsewhere is missed if it is an entry.
func (r *replay) lose(segment uint32, groups ...uint32) {
	if segment != r.newest {
		return
	}
	for _, group := range groups {
		r.group(group).lost = true
	}
}

func (r *replay) group(group uint32) *replayed {
	g := r.groups[group]
	if g == nil {
		g = &replayed{places: map[uint64]link{}}
		r.groups[group] = g
	}
	return g
}

// checkpoint forgets the groups that the first batch of a segment does not name.
func (r *replay) checkpoint(named []part) {
	keep := map[uint32]bool{}
	for _, p := range named {
		keep[p.group] = true
	}
	maps.DeleteFunc(r.groups, func(group uint32, _ *replayed) bool { return !keep[group] })
}

// part takes a group's part of a batch. Entries that are not in first..last any
// more are left where they are: the chain of sums tells in the end which count.
func (r *replay) part(b *journal.Batch, p part) {
	g := r.group(p.group)
	s, entries, err := openPart(b.Data[p.from:p.to])
	if err != nil {
		r.lose(b.Segment, p.group)
		return
	}
	if s == nil {
		delete(r.groups, p.group)
		return
	}
	g.state, g.lost = s, false
	for _, e := range entries {
		sum, prev, err := checkEntry(e.value, p.group, e.index)
		if err != nil {
			continue // it is missed later if it counts
		}
		at := place{segment: b.Segment, addr: b.Addr + uint32(p.from+e.at), size: uint32(len(e.value)), sum: sum}
		g.places[e.index] = link{at, prev}
	}
}

// index verifies that the group is whole and returns where its entries are.
func (g *replayed) index(used usage) (index, error) {
	switch {
	case g.lost:
		return index{}, errors.New("what was written last of it cannot be read")
	case g.state == nil:
		return index{}, errors.New("its record is missing")
	}
	x, s, tail, mine := index{}, g.state, uint32(0), usage{}
	for i := s.first; i <= s.last && i > 0; i++ {
		at, ok := g.places[i]
		if !ok {
			return index{}, fmt.Errorf("entry %d of %d..%d is missing", i, s.first, s.last)
		}
		if i > s.first && at.prev != tail {
			return index{}, fmt.Errorf("entry %d does not follow entry %d", i, i-1)
		}
		tail = at.sum
		x.put(i, at.place, nil, mine)
	}
	if tail != s.tail {
		return index{}, fmt.Errorf("entry %d is not the one that was written last", s.last)
	}
	for segment, n := range mine {
		used[segment] += n
	}
	return x, nil
}

// adopt makes groups of what was read. Groups that the register does not have as
// live, which a crash within Create, Drop or Quarantine left, are left behind.
func (l *Logs) adopt(r *replay) error {
	for group, info := range l.register {
		if info.Quarantined {
			continue
		}
		g := &GroupLog{logs: l, group: group}
		l.groups[group] = g
		was := r.groups[group]
		if was == nil {
			was = &replayed{}
		}
		x, err := was.index(l.used)
		if err != nil {
			g.damage = damagedf(fmt.Sprintf("the log of group %d", group), "%v", err)
			l.dir.opts.Logger.Error("damage found", "group", group, "error", err)
			continue
		}
		if was.state.replica == info.was && info.was != "" { // see Rename; the checkpoint writes it down
			was.state.replica = info.Replica
		}
		if was.state.replica != info.Replica {
			return damagedf("file "+registerFile, "group %d is of replica %s there, and of %s in %s",
				group, info.Replica, was.state.replica, logsDir)
		}
		g.state, g.index = was.state, x
		l.live[group] = g
	}
	return nil
}

// checkpoint is the first batch of a segment: the records of all groups.
func (l *Logs) checkpoint() []byte {
	changes := make([]*change, 0, len(l.live))
	for _, group := range slices.Sorted(maps.Keys(l.live)) {
		g := l.live[group]
		changes = append(changes, &change{group: g, state: g.snapshot()})
	}
	return appendBatch(nil, changes)
}
