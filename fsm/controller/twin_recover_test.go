package controller

import (
	"maps"
	"slices"

	"cairn/fsm"
)

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
