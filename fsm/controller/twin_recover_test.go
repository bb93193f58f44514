package controller

import (
	"maps"
	"slices"

	"cairn/fsm"
)

func (w *twin) doRecovery(c Command) fsm.Kind {
	switch c := c.(type) {
	case *Recover:
		return w.recover(c)
	case *Resume:
		return w.resume(c)
	case *Refound:
		return w.refound(c)
	case *Refounded:
		return w.refounded(c)
	default:
		return w.giveBack(c.(*GiveBack))
	}
}

func (w *twin) recover(c *Recover) fsm.Kind {
	seen := map[fsm.PartitionID]bool{}
	for _, r := range c.Partitions {
		p, ok := w.Table[r.Partition]
		switch {
		case !ok:
			return fsm.NotFound
		case seen[r.Partition]:
			return fsm.Invalid
		case p.Epoch != r.Epoch || !p.Founded:
			return fsm.Conflict
		case r.Survivor.Incarnation < max(p.Base, 1) || r.Survivor.Incarnation >= w.Replica:
			return fsm.Invalid
		}
		if k := w.alter(r.Survivor.Node, func(*Member) {}); k != fine {
			return k
		}
		seen[r.Partition] = true
		p.Base, p.Adopt = w.next(), r.Survivor
		p.Target = []TargetReplica{{fsm.Replica{Node: r.Survivor.Node, Incarnation: p.Base}, true}}
		p.Preferred = r.Survivor.Node
		p.Epoch++
		delete(w.Register, p.ID)
		w.Table[p.ID] = p
	}
	if len(seen) == 0 {
		return fsm.Invalid
	}
	return fine
}

func (w *twin) resume(c *Resume) fsm.Kind {
	if c.Skip == 0 {
		return fsm.Invalid
	}
	if k := w.alter(c.Node, func(*Member) {}); k != fine {
		return k
	}
	w.Replica += c.Skip
	w.Life += fsm.Incarnation(c.Skip)
	w.Incarnated = w.next()
	for _, id := range slices.Sorted(maps.Keys(w.Members)) {
		m := w.Members[id]
		switch {
		case m.State == Left:
		case id == c.Node:
			m.Incarnation = w.Incarnated
		default:
			m.Incarnation = w.next()
		}
		w.Members[id] = m
	}
	for id, h := range w.Hunts {
		h.Version += c.Skip
		h.Changed = c.Now
		w.Hunts[id] = h
	}
	for id, p := range w.Table {
		p.Epoch += c.Skip
		w.Table[id] = p
	}
	return fine
}

func (w *twin) refound(c *Refound) fsm.Kind {
	seen := map[fsm.PartitionID]bool{}
	for _, r := range c.Partitions {
		p, ok := w.Table[r.Partition]
		switch {
		case !ok:
			return fsm.NotFound
		case seen[r.Partition]:
			return fsm.Invalid
		case p.Epoch != r.Epoch || !p.Founded && p.Base == 0:
			return fsm.Conflict
		}
		for _, t := range p.Target {
			if w.Members[t.Replica.Node].State == Alive {
				return fsm.Conflict
			}
		}
		if k := w.alter(r.Node, func(*Member) {}); k != fine {
			return k
		}
		if w.Members[r.Node].State != Alive {
			return fsm.Conflict
		}
		seen[r.Partition] = true
		p.Base, p.Adopt, p.Founded = w.next(), fsm.Replica{Node: r.Node}, false
		p.Target = []TargetReplica{{fsm.Replica{Node: r.Node, Incarnation: p.Base}, true}}
		p.Preferred = r.Node
		p.Epoch++
		delete(w.Register, p.ID)
		w.Table[p.ID] = p
	}
	if len(seen) == 0 {
		return fsm.Invalid
	}
	return fine
}

func (w *twin) refounded(c *Refounded) fsm.Kind {
	p, ok := w.Table[c.Partition]
	switch {
	case !ok:
		return fsm.NotFound
	case p.Base == 0 || p.Adopt.Incarnation > 0 || c.Replica != fsm.Replica{Node: p.Adopt.Node, Incarnation: p.Base}:
		return fsm.Conflict
	}
	if !p.Founded {
		p.Founded = true
		p.Epoch++
		w.Table[p.ID] = p
	}
	return fine
}

func (w *twin) giveBack(c *GiveBack) fsm.Kind {
	used := map[uint64]bool{}
	for _, m := range w.Members {
		used[m.Incarnation] = true
	}
	for _, p := range w.Table {
		for _, t := range p.Target {
			used[t.Replica.Incarnation] = true
		}
	}
	wished := map[fsm.PartitionID]TargetChange{}
	for _, ch := range slices.Backward(c.Changes) { // the first counts
		wished[ch.Partition] = ch
	}
	keep := map[fsm.PartitionID]map[fsm.NodeID]fsm.Replica{}
	given := map[uint64]bool{}
	for _, k := range c.Keep {
		p, ok := w.Table[k.Partition]
		inc, node := k.Replica.Incarnation, k.Replica.Node
		_, twice := keep[k.Partition][node]
		is := func(w Wish) bool { return w.Node == node }
		has := func(t TargetReplica) bool { return t.Replica.Node == node }
		switch {
		case given[inc] || twice:
			return fsm.Invalid
		case !ok:
			return fsm.NotFound
		case !slices.ContainsFunc(wished[p.ID].Target, is) || slices.Contains(wished[p.ID].Renew, node) || slices.ContainsFunc(p.Target, has):
			return fsm.Invalid
		case inc < max(p.Base, 1) || inc >= w.Replica:
			return fsm.Invalid
		case used[inc]:
			return fsm.Conflict
		}
		if keep[p.ID] == nil {
			keep[p.ID] = map[fsm.NodeID]fsm.Replica{}
		}
		keep[p.ID][node], given[inc] = k.Replica, true
	}
	return w.targets(c.Changes, keep)
}
