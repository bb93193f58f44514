package placement

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"cairn/fsm"
)

func rep(name string) fsm.Replica { return fsm.Replica{Node: fsm.NodeID(name), Incarnation: 1} }

// members reads "a* b c-" as members: * votes, ! is dead, - has not caught up,
// ~ is alive but not steady; the first is the leader.
func members(spec ...string) []Member {
	var out []Member
	for _, s := range spec {
		m := Member{Replica: rep(s[:1]), Alive: true, Steady: true, CaughtUp: true, Match: 10}
		for _, c := range s[1:] {
			switch c {
			case '*':
				m.Voter = true
			case '!':
				m.Alive, m.Steady, m.CaughtUp = false, false, false
			case '-':
				m.CaughtUp, m.Match = false, 5
			case '~':
				m.Steady = false
			}
		}
		out = append(out, m)
	}
	return out
}

func wants(spec ...string) []Want {
	var out []Want
	for _, s := range spec {
		out = append(out, Want{rep(s[:1]), len(s) > 1})
	}
	return out
}

func TestNext(t *testing.T) {
	type list = []string
	for _, tt := range []struct {
		name    string
		members list
		want    list
		prefer  string
		step    string
	}{
		{"at rest", list{"a*"}, list{"a*"}, "a", "wait "},
		{"a second node gets a copy", list{"a*"}, list{"a*", "b"}, "a", "add_nonvoter b"},
		{"which does not vote", list{"a*", "b"}, list{"a*", "b"}, "a", "wait "},
		{"a third comes", list{"a*", "b"}, list{"a*", "b*", "c*"}, "a", "add_nonvoter c"},
		{"two newcomers wait for each other", list{"a*", "b", "c-"}, list{"a*", "b*", "c*"}, "a", "wait "},
		{"and are promoted together", list{"a*", "b", "c"}, list{"a*", "b*", "c*"}, "a", "promote b"},
		{"back to back", list{"a*", "b*", "c"}, list{"a*", "b*", "c*"}, "a", "promote c"},
		{"even if the second falls behind", list{"a*", "b*", "c-"}, list{"a*", "b*", "c*"}, "a", "wait "},
		{"a live replica is replaced: add first", list{"a*", "b*", "c*"}, list{"a*", "b*", "d*"}, "a", "add_nonvoter d"},
		{"catch up", list{"a*", "b*", "c*", "d-"}, list{"a*", "b*", "d*"}, "a", "wait "},
		{"promote", list{"a*", "b*", "c*", "d"}, list{"a*", "b*", "d*"}, "a", "promote d"},
		{"then remove", list{"a*", "b*", "c*", "d*"}, list{"a*", "b*", "d*"}, "a", "remove c"},
		{"a dead one is replaced: remove first", list{"a*", "b*", "c*!"}, list{"a*", "b*", "d*"}, "a", "remove c"},
		{"but never below a live majority", list{"a*", "b*!", "c*!"}, list{"a*", "b*", "d*"}, "a", "add_nonvoter d"},
		{"a leader that is to go hands over", list{"a*", "b*", "c*"}, list{"b*", "c*"}, "c", "transfer c"},
		{"to somebody who is caught up", list{"a*", "b*", "c*-"}, list{"b*", "c*"}, "c", "transfer b"},
		{"who leaves stays while a wished one is dead", list{"a*", "b*", "c*", "d*!"}, list{"a*", "b*", "d*"}, "a", "wait "},
		{"or is only back for a moment", list{"a*", "b*", "c*", "d*~"}, list{"a*", "b*", "d*"}, "a", "remove c"},
		{"or to nobody", list{"a*", "b*-", "c*-"}, list{"b*", "c*"}, "c", "wait "},
		{"preferred leader", list{"a*", "b*", "c*"}, list{"a*", "b*", "c*"}, "b", "transfer b"},
		{"not before it is steady", list{"a*", "b*~", "c*"}, list{"a*", "b*", "c*"}, "b", "wait "},
		{"a voter too many is demoted", list{"a*", "b*"}, list{"a*", "b"}, "a", "demote b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Next(Group{
				Self: rep(tt.members[0][:1]), Members: members(tt.members...), ConfigIndex: 5, Committed: true,
				Want: wants(tt.want...), Preferred: fsm.NodeID(tt.prefer), Keep: true,
			})
			if got := fmt.Sprintf("%s %s", s.Action, s.Replica.Node); got != tt.step {
				t.Errorf("got %q (%s), want %q", got, s.Why, tt.step)
			}
		})
	}
}

// TestNextRemovesThePredecessor: a node's replica under a new name means that the
// old one is gone, though it answered a moment ago.
func TestNextRemovesThePredecessor(t *testing.T) {
	later := fsm.Replica{Node: "c", Incarnation: 2}
	g := Group{
		Self: rep("a"), Members: members("a*", "b*", "c*"), ConfigIndex: 5, Committed: true,
		Want: append(wants("a*", "b*"), Want{later, true}),
	}
	if s := Next(g); s.Action != Remove || s.Replica != rep("c") {
		t.Errorf("got %v of %v, want the old replica removed first", s.Action, s.Replica)
	}
}

// TestNextGivesWay: a leader whose node is wished again under a new name hands
// over: the new replica cannot start beside it.
func TestNextGivesWay(t *testing.T) {
	later := fsm.Replica{Node: "a", Incarnation: 2}
	g := Group{
		Self: rep("a"), Members: members("a*", "b*", "c*"), ConfigIndex: 5, Committed: true,
		Want: append(wants("b*", "c*"), Want{later, true}),
	}
	if s := Next(g); s.Action != Transfer || s.Replica == rep("a") {
		t.Errorf("got %v of %v, want the leader to hand over", s.Action, s.Replica)
	}
	g.Self = rep("b")
	if s := Next(g); s.Action != Remove || s.Replica != rep("a") {
		t.Errorf("got %v of %v, want the old replica removed", s.Action, s.Replica)
	}
}

// TestNextLetsGo: a member of the controller that leaves goes, dead voters or not: it
// ends soon, and would count among the voters then.
func TestNextLetsGo(t *testing.T) {
	g := Group{Self: rep("a"), Members: members("a*", "b*", "c*!", "d*"), ConfigIndex: 5, Committed: true, Want: wants("a*", "c*", "d*", "b")}
	if s := Next(g); s.Action != Demote || s.Replica != rep("b") {
		t.Errorf("got %v of %v, want the one that leaves demoted", s.Action, s.Replica)
	}
}

func TestNextWaitsForTheLastChange(t *testing.T) {
	g := Group{Self: rep("a"), Members: members("a*", "b*"), ConfigIndex: 11, Committed: true, Want: wants("a*", "b*", "c*")}
	if s := Next(g); s.Action != Wait {
		t.Errorf("a live voter lacks the last change and still: %v", s)
	}
	g.ConfigIndex, g.Committed = 5, false
	if s := Next(g); s.Action != Wait {
		t.Errorf("the last change is not committed and still: %v", s)
	}
}

// TestNextConverges carries steps out on a model in which members come and go:
// a step never leaves fewer live voters than a majority unless it was so before,
// and once everybody stays the group becomes what is wished within few steps.
func TestNextConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c", "d", "e", "f"}
		m := newModel(rapid.SampledFrom([]int{1, 3}).Draw(t, "voters"), names)
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "event") {
			case 0:
				m.wish(rapid.Permutation(names).Draw(t, "wish")[:rapid.SampledFrom([]int{1, 3, 5}).Draw(t, "size")])
			case 1:
				n := rapid.SampledFrom(names).Draw(t, "who")
				m.dead[n] = !m.dead[n] && m.mayDie(n)
			default:
				m.step(t)
			}
		}
		clear(m.dead)
		for i := 0; !m.done(); i++ {
			if i > 40 {
				t.Fatalf("does not converge: %v wished, %v is", m.wished, m.voters)
			}
			m.step(t)
		}
	})
}

// model is a group whose steps succeed at once.
type model struct {
	voters map[string]bool // members; true: votes
	dead   map[string]bool
	wished []string
	leader string
}

func newModel(voters int, names []string) *model {
	m := &model{voters: map[string]bool{}, dead: map[string]bool{}, leader: "a"}
	for _, n := range names[:voters] {
		m.voters[n] = true
	}
	m.wished = names[:voters]
	return m
}

func (m *model) wish(names []string) { m.wished = names }

// mayDie keeps a majority alive, or nothing could be committed anyway.
func (m *model) mayDie(name string) bool {
	if name == m.leader {
		return false
	}
	live, all := 0, 0
	for n, votes := range m.voters {
		if votes {
			all++
			if !m.dead[n] && n != name {
				live++
			}
		}
	}
	return !m.voters[name] || live > all/2
}

func (m *model) step(t *rapid.T) {
	g := Group{Self: rep(m.leader), Committed: true}
	for n, votes := range m.voters {
		g.Members = append(g.Members, Member{Replica: rep(n), Voter: votes, Alive: !m.dead[n], Steady: !m.dead[n], CaughtUp: !m.dead[n]})
	}
	for _, n := range m.wished {
		g.Want = append(g.Want, Want{rep(n), true})
	}
	g.Preferred = fsm.NodeID(m.wished[0])
	s := Next(g)
	n := string(s.Replica.Node)
	switch s.Action {
	case AddNonvoter:
		m.voters[n] = false
	case Promote:
		m.voters[n] = true
	case Demote:
		m.voters[n] = false
	case Remove:
		delete(m.voters, n)
	case Transfer:
		m.leader = n
	}
	live, all := 0, 0
	for n, votes := range m.voters {
		if votes {
			all++
			if !m.dead[n] {
				live++
			}
		}
	}
	if live <= all/2 {
		t.Fatalf("%v: %d of %d voters alive", s, live, all)
	}
}

func (m *model) done() bool {
	if len(m.voters) != len(m.wished) || m.leader != m.wished[0] {
		return false
	}
	for _, n := range m.wished {
		if !m.voters[n] {
			return false
		}
	}
	return true
}
