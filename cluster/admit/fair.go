package admit

import "cairn/fsm"

// Flow is whom a request is for. Hunts share a node's capacity evenly, and the
// teams of a hunt that hunt's share, as far as they want it.
type Flow struct {
	Hunt      fsm.HuntID
	Team      fsm.TeamID
	Partition fsm.PartitionID // where the team lives
}

// fair is a queue whose next is taken from each hunt that waits in turn, and of
// a hunt from each of its teams in turn; a team's own come in their order.
type fair struct {
	size   int
	hunts  map[fsm.HuntID]*huntLine
	active []*huntLine // whose turn it is comes first; may hold empty ones
}

type huntLine struct {
	id     fsm.HuntID
	size   int
	teams  map[fsm.TeamID]*teamLine
	active []*teamLine
}

type teamLine struct {
	id    fsm.TeamID
	queue []*waiter
}

func (f *fair) push(w *waiter) {
	h := f.hunts[w.flow.Hunt]
	if h == nil {
		h = &huntLine{id: w.flow.Hunt, teams: map[fsm.TeamID]*teamLine{}}
		if f.hunts == nil {
			f.hunts = map[fsm.HuntID]*huntLine{}
		}
		f.hunts[h.id] = h
		f.active = append(f.active, h)
	}
	t := h.teams[w.flow.Team]
	if t == nil {
		t = &teamLine{id: w.flow.Team}
		h.teams[t.id] = t
		h.active = append(h.active, t)
	}
	t.queue = append(t.queue, w)
	h.size++
	f.size++
}

// pop takes the next; nil if nobody waits.
func (f *fair) pop() *waiter {
	for len(f.active) > 0 {
		h := f.active[0]
		f.active = f.active[1:]
		w := h.pop()
		if w != nil {
			f.size--
		}
		if h.size > 0 {
			f.active = append(f.active, h)
		} else {
			delete(f.hunts, h.id)
		}
		if w != nil {
			return w
		}
	}
	return nil
}

func (h *huntLine) pop() *waiter {
	for len(h.active) > 0 {
		t := h.active[0]
		h.active = h.active[1:]
		var w *waiter
		if len(t.queue) > 0 {
			w, t.queue = t.queue[0], t.queue[1:]
			h.size--
		}
		if len(t.queue) > 0 {
			h.active = append(h.active, t)
		} else {
			delete(h.teams, t.id)
		}
		if w != nil {
			return w
		}
	}
	return nil
}

// remove takes out one that waits no more. Lines that become empty stay until it
// is their turn.
func (f *fair) remove(w *waiter) {
	h := f.hunts[w.flow.Hunt]
	if h == nil {
		return
	}
	t := h.teams[w.flow.Team]
	if t == nil {
		return
	}
	for i, other := range t.queue {
		if other == w {
			t.queue = append(t.queue[:i:i], t.queue[i+1:]...)
			h.size--
			f.size--
			return
		}
	}
}

// waits is how many of a flow wait.
func (f *fair) waits(flow Flow) int {
	if h := f.hunts[flow.Hunt]; h != nil {
		if t := h.teams[flow.Team]; t != nil {
			return len(t.queue)
		}
	}
	return 0
}

// ahead is how many of a hunt wait, and how many hunts take turns with it.
func (f *fair) ahead(hunt fsm.HuntID) (size, hunts int) {
	if h := f.hunts[hunt]; h != nil {
		return h.size, len(f.hunts)
	}
	return 0, len(f.hunts) + 1
}

// longest returns the last of the hunt of which the most wait, which is the one
// to give up when there is no room; nil if nobody waits.
func (f *fair) longest() *waiter {
	var longest *huntLine
	for _, h := range f.active {
		if h.size > 0 && (longest == nil || h.size > longest.size) {
			longest = h
		}
	}
	if longest == nil {
		return nil
	}
	for i := len(longest.active) - 1; i >= 0; i-- {
		if q := longest.active[i].queue; len(q) > 0 {
			return q[len(q)-1]
		}
	}
	return nil
}
