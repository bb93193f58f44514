package placement

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// rows is a group and its row of the table: a node runs one replica at a time, and
// starts the wished one only when the one before is out of the configuration.
type rows struct {
	row     controller.Partition
	next    uint64
	members map[fsm.Replica]bool // true: votes
	runs    map[fsm.NodeID]fsm.Replica
	dead    map[fsm.NodeID]bool
	leader  fsm.Replica
}

func newRows(nodes []fsm.NodeID) *rows {
	m := &rows{members: map[fsm.Replica]bool{}, runs: map[fsm.NodeID]fsm.Replica{}, dead: map[fsm.NodeID]bool{}, next: 1}
	for _, n := range nodes {
		r := m.fresh(n)
		m.row.Target = append(m.row.Target, controller.TargetReplica{Replica: r, Voter: true})
		m.members[r], m.runs[n] = true, r
	}
	m.leader, m.row.Preferred = m.row.Target[0].Replica, nodes[0]
	return m
}

func (m *rows) fresh(n fsm.NodeID) fsm.Replica {
	m.next++
	return fsm.Replica{Node: n, Incarnation: m.next - 1}
}

// view is the configuration as the leader sees it.
func (m *rows) view() (out []Member) {
	for r, votes := range m.members {
		alive := !m.dead[r.Node] && m.runs[r.Node] == r
		out = append(out, Member{Replica: r, Voter: votes, Alive: alive, Steady: alive, CaughtUp: alive})
	}
	slices.SortFunc(out, func(a, b Member) int { return int(a.Replica.Incarnation) - int(b.Replica.Incarnation) })
	return out
}

func (m *rows) live() (voters, live int) {
	for _, v := range m.view() {
		if v.Voter {
			voters++
			if v.Alive {
				live++
			}
		}
	}
	return voters, live
}

// wish changes the row as the controller does.
func (m *rows) wish(nodes []fsm.NodeID) {
	c := controller.TargetChange{Preferred: nodes[0]}
	for _, n := range nodes {
		c.Target = append(c.Target, controller.Wish{Node: n, Voter: true})
	}
	back := GiveBack(m.row, c, m.view())
	var target []controller.TargetReplica
	for _, n := range nodes {
		r := fsm.Replica{}
		for _, t := range m.row.Target {
			if t.Replica.Node == n {
				r = t.Replica
			}
		}
		for _, b := range back {
			if b.Node == n {
				r = b
			}
		}
		if r.IsZero() {
			r = m.fresh(n)
		}
		target = append(target, controller.TargetReplica{Replica: r, Voter: true})
	}
	m.row.Target, m.row.Preferred = target, nodes[0]
}

// start has nodes drop what no configuration has and start what is wished.
func (m *rows) start() {
	for _, t := range m.row.Target {
		old, running := m.runs[t.Replica.Node]
		if _, in := m.members[old]; !running || !in && old != t.Replica {
			m.runs[t.Replica.Node] = t.Replica
		}
	}
}

func (m *rows) step(t *rapid.T) {
	m.start()
	g := Group{Self: m.leader, Members: m.view(), Committed: true, Preferred: m.row.Preferred, Keep: true}
	for _, w := range m.row.Target {
		g.Want = append(g.Want, Want{w.Replica, w.Voter})
	}
	_, before := m.live()
	s := Next(g)
	switch s.Action {
	case AddNonvoter, Demote:
		m.members[s.Replica] = false
	case Promote:
		m.members[s.Replica] = true
	case Remove:
		delete(m.members, s.Replica)
	case Transfer:
		m.leader = s.Replica
	}
	voters, live := m.live()
	if live < before && live < 3 {
		t.Fatalf("%v leaves %d live voters of %d that there were; wished %v", s, live, before, m.row.Target)
	}
	if live <= voters/2 {
		t.Fatalf("%v: %d of %d voters alive", s, live, voters)
	}
}

// TestNextKeepsThree: rows are wished elsewhere and back again at any moment while
// nodes come and go. No step leaves fewer than three live voters where there were
// three, and in the end the group is as wished.
func TestNextKeepsThree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []fsm.NodeID{"a", "b", "c", "d", "e"}
		m := newRows(names[:3])
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "event") {
			case 0: // newcomers are alive
				var able []fsm.NodeID
				for _, n := range rapid.Permutation(names).Draw(t, "wish") {
					if !m.dead[n] || slices.ContainsFunc(m.row.Target, func(r controller.TargetReplica) bool { return r.Replica.Node == n }) {
						able = append(able, n)
					}
				}
				m.wish(able[:3])
			case 1:
				n := rapid.SampledFrom(names).Draw(t, "who")
				was := m.dead[n]
				m.dead[n] = !was && n != m.leader.Node
				if voters, live := m.live(); live <= voters/2 {
					m.dead[n] = was
				}
			default:
				m.step(t)
			}
		}
		clear(m.dead)
		for i := 0; !m.done(); i++ {
			if i > 40 {
				t.Fatalf("does not converge: %v wished, %v is, %v leads", m.row.Target, m.members, m.leader)
			}
			m.step(t)
		}
	})
}

func (m *rows) done() bool {
	for _, t := range m.row.Target {
		if !m.members[t.Replica] {
			return false
		}
	}
	return len(m.members) == len(m.row.Target) && m.leader.Node == m.row.Preferred
}
