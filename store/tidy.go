package store

import (
	"slices"

	"cairn/store/journal"
)

// Segments are given up when no entry of a log is in them. A group that gets few
// entries would hold a segment for each of them for ever, while others fill one
// after the other: so when the segments are more than twice what their entries
// need, what is left in the emptiest of them is written again at the end.

const (
	// spareSegments are how many old segments are kept without a look at what is
	// in them.
	spareSegments = 2
	// tidyVictims is how many segments are emptied after each roll: more than
	// one, so that their number falls.
	tidyVictims = 2
	// tidyStep is how many bytes of entries are written again in one commit:
	// others wait for no more.
	tidyStep = 256 << 10
)

// roll begins a segment with room for a batch, gives up those without entries,
// and sees to it that there will be more of them. The caller writes.
func (l *Logs) roll(room int) error {
	var drop []uint32
	for _, s := range l.journal.Segments() {
		if l.used[s.Number] == 0 {
			drop = append(drop, s.Number)
		}
	}
	if err := l.journal.Roll(l.checkpoint(), room, drop); err != nil {
		return err
	}
	for _, number := range drop {
		delete(l.used, number)
	}
	victims := l.victims(l.journal.Segments())
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.tidy && !l.closed {
		l.tidy = true
		l.tidying.Go(func() { l.tidyUp(victims) })
	}
	return nil
}

// victims returns the segments to be emptied: those with the fewest bytes of
// entries, if there are too many, but never the newest.
func (l *Logs) victims(segments []journal.Segment) []uint32 {
	var live, size int64
	for _, s := range segments {
		live += l.used[s.Number]
		size = max(size, s.Size)
	}
	old := segments[:len(segments)-1]
	if int64(len(old)) <= spareSegments+2*live/size {
		return nil
	}
	byUse := slices.SortedStableFunc(slices.Values(old), func(a, b journal.Segment) int {
		return int(l.used[a.Number] - l.used[b.Number])
	})
	var victims []uint32
	for _, s := range byUse[:min(len(byUse), tidyVictims)] {
		victims = append(victims, s.Number)
	}
	return victims
}

// tidyUp makes a spare file for the next roll and empties segments.
func (l *Logs) tidyUp(victims []uint32) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.tidy = false
	}()
	if err := l.journal.Prepare(); err != nil {
		l.dir.opts.Logger.Warn("preparing a file for the partitions' log failed; the next one is made when it is needed", "error", err)
	}
	for _, segment := range victims {
		if !l.evacuate(segment) {
			return
		}
	}
}

// all returns the groups.
func (l *Logs) all() []*GroupLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*GroupLog, 0, len(l.groups))
	for _, g := range l.groups {
		all = append(all, g)
	}
	return all
}

// evacuate writes all entries again that are in a segment, those of many groups in
// one commit: there may be a thousand that have one each. False: the log was
// closed.
func (l *Logs) evacuate(segment uint32) bool {
	var step []moving
	size := 0
	for _, g := range l.all() {
		for next := uint64(1); next > 0; {
			m := moving{group: g}
			g.mu.RLock()
			found, after := g.index.in(segment, next, tidyStep-size)
			g.mu.RUnlock()
			for _, index := range found {
				if v := g.copyOf(index, segment); v != nil {
					m.entries = append(m.entries, stored{index: index, sum: entrySumOf(v), moved: true, value: v})
					size += len(v)
				}
			}
			if len(m.entries) > 0 {
				step = append(step, m)
			}
			if size >= tidyStep {
				if !l.move(segment, step) {
					return false
				}
				step, size = nil, 0
			}
			next = after
		}
	}
	return l.move(segment, step)
}

// moving is what one group has to move.
type moving struct {
	group   *GroupLog
	entries []stored
}

// move writes entries of a segment again. A group that was dropped meanwhile is
// left out. False: the log was closed.
func (l *Logs) move(segment uint32, step []moving) bool {
	if len(step) == 0 {
		return !l.isClosed()
	}
	return l.commit(&request{apply: func(t *txn) error {
		for _, m := range step {
			t.move(m.group, segment, m.entries)
		}
		return nil
	}}) == nil
}

// copyOf reads an entry in a segment, nil if it is not there any more. What
// cannot be read is left to whoever asks for it.
func (g *GroupLog) copyOf(index uint64, segment uint32) []byte {
	g.mu.RLock()
	at, ok := g.index.place(index)
	g.mu.RUnlock()
	if !ok || at.segment != segment {
		return nil
	}
	v, err := g.read(index, at)
	if err != nil {
		return nil
	}
	return v
}

// move adds entries to a commit that are still where they were read, and still
// part of the log.
func (t *txn) move(g *GroupLog, segment uint32, entries []stored) {
	c, err := t.edit(g)
	if err != nil {
		return // dropped
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, e := range entries {
		at, ok := g.index.place(e.index)
		if ok && at.segment == segment && c.state.first <= e.index && e.index <= c.keep {
			c.entries = append(c.entries, e)
		}
	}
}

func (l *Logs) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}
