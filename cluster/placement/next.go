package placement

import "cairn/fsm"

// Action is what a Step does to a group.
type Action uint8

const (
	Wait        Action = iota // nothing now; look again later
	AddNonvoter               // start copying to a new replica
	Promote                   // make a non-voter that caught up a voter
	Demote                    // make a voter a non-voter
	Remove                    // remove a member
	Transfer                  // hand leadership to a voter
)

// String names the action for logs.
func (a Action) String() string {
	return [...]string{"wait", "add_nonvoter", "promote", "demote", "remove", "transfer"}[a]
}

// Step is one change of a group. Why says for whom reads the log.
type Step struct {
	Action  Action
	Replica fsm.Replica
	Why     string
}

// Want is one wished replica of a group.
type Want struct {
	Replica fsm.Replica
	Voter   bool
}

// Member is one member of a group's configuration as its leader sees it.
type Member struct {
	Replica  fsm.Replica
	Voter    bool
	Alive    bool   // answers appends
	Steady   bool   // has done so for a while: leadership may go there unprompted
	Match    uint64 // its log equals the leader's up to here
	CaughtUp bool   // Match is close to the leader's last entry
}

// Group is what a leader knows of its group.
type Group struct {
	Self        fsm.Replica
	Members     []Member // the configuration, Self among them (alive, caught up)
	ConfigIndex uint64
	Committed   bool // the configuration's entry is
	Want        []Want
	Preferred   fsm.NodeID
	// Keep has a live voter stay while a wished one is not alive. Not for the
	// controller: a member that leaves the cluster ends whether or not its group has
	// let it go.
	Keep bool
}

// Next returns the next step that brings a group closer to what is wished.
//
// Order, and why:
//
//  1. One change at a time: while the last one is not committed, or a live voter
//     has not got it, wait. (A voter that missed it may refuse its new peer's vote.)
//  2. A dead member that is no longer wished goes first: it counts in the quorum
//     and answers nothing. Only while the rest keeps a live majority.
//     A leader whose own node is wished under a later name hands over for the
//     same reason: its successor cannot start before it has gone.
//  3. Missing replicas are added as non-voters, which cost no quorum.
//  4. They are promoted once they have caught up; two newcomers back to back, so
//     that the number of voters is even for as short as possible.
//  5. Only when every wished voter votes does anybody else leave, and with Keep no
//     live voter before they are alive; a leader that is to leave hands over first.
//  6. At rest, leadership goes to the preferred node, if it has been steady.
func Next(g Group) Step {
	if !g.Committed {
		return Step{Why: "a change is not committed yet"}
	}
	for _, m := range g.Members {
		if m.Voter && m.Alive && m.Match < g.ConfigIndex {
			return Step{Why: "a live voter has not got the last change"}
		}
	}
	for _, decide := range []func(Group) (Step, bool){removeDead, giveWay, add, promote, retire, prefer} {
		if s, ok := decide(g); ok {
			return s
		}
	}
	return Step{Why: "as wished"}
}

func (g Group) wanted(r fsm.Replica) (Want, bool) {
	for _, w := range g.Want {
		if w.Replica == r {
			return w, true
		}
	}
	return Want{}, false
}

func (g Group) member(r fsm.Replica) (Member, bool) {
	for _, m := range g.Members {
		if m.Replica == r {
			return m, true
		}
	}
	return Member{}, false
}

// quorumWithout reports whether the live voters other than r are a majority of
// the voters other than r.
func (g Group) quorumWithout(r fsm.Replica) bool {
	voters, live := 0, 0
	for _, m := range g.Members {
		if m.Voter && m.Replica != r {
			voters++
			if m.Alive {
				live++
			}
		}
	}
	return live > voters/2
}

// missing reports whether a wished voter is not alive.
func (g Group) missing() bool {
	for _, w := range g.Want {
		if m, ok := g.member(w.Replica); w.Voter && (!ok || !m.Alive) {
			return true
		}
	}
	return false
}

func removeDead(g Group) (Step, bool) {
	for _, m := range g.Members {
		if _, wanted := g.wanted(m.Replica); wanted || m.Replica == g.Self || m.Alive && !g.succeeded(m.Replica) {
			continue
		}
		if !m.Voter || g.quorumWithout(m.Replica) {
			return Step{Remove, m.Replica, "it is dead and no longer wished"}, true
		}
	}
	return Step{}, false
}

// succeeded reports whether a later replica of the same node is wished: then
// this one's data is gone, however recently it answered.
func (g Group) succeeded(r fsm.Replica) bool {
	for _, w := range g.Want {
		if w.Replica.Node == r.Node && w.Replica.Incarnation > r.Incarnation {
			return true
		}
	}
	return false
}

// giveWay hands over when the leader's node is wished again, under a new name.
func giveWay(g Group) (Step, bool) {
	if _, wanted := g.wanted(g.Self); wanted || !g.succeeded(g.Self) {
		return Step{}, false
	}
	for _, m := range g.Members {
		if w, _ := g.wanted(m.Replica); w.Voter && m.Voter && m.Alive && m.CaughtUp && m.Replica != g.Self {
			return Step{Transfer, m.Replica, "the leader's successor on its node waits for it to go"}, true
		}
	}
	return Step{}, false
}

func add(g Group) (Step, bool) {
	for _, w := range g.Want {
		if _, ok := g.member(w.Replica); !ok {
			return Step{AddNonvoter, w.Replica, "it is wished and missing"}, true
		}
	}
	return Step{}, false
}

func promote(g Group) (Step, bool) {
	voters := 0
	var ready, late []Member
	for _, m := range g.Members {
		w, _ := g.wanted(m.Replica)
		switch {
		case m.Voter:
			voters++
		case w.Voter && m.Alive && m.CaughtUp:
			ready = append(ready, m)
		case w.Voter:
			late = append(late, m)
		}
	}
	switch {
	case len(ready) == 0 && len(late) == 0:
		return Step{}, false
	case len(ready) == 0:
		return Step{Why: "a wished voter has not caught up"}, true
	case voters%2 == 1 && len(late) > 0 && len(ready) == 1 && voters < 3:
		return Step{Why: "two newcomers are to be promoted together and one has not caught up"}, true
	}
	return Step{Promote, ready[0].Replica, "it has caught up"}, true
}

func retire(g Group) (Step, bool) {
	self, ok := g.wanted(g.Self)
	leaves := !ok || !self.Voter
	for _, m := range g.Members {
		w, wanted := g.wanted(m.Replica)
		switch {
		case wanted && (w.Voter || !m.Voter):
			continue
		case m.Replica == g.Self:
			continue
		case m.Voter && !g.quorumWithout(m.Replica):
			return Step{Why: "a member can only leave while the others have a live majority"}, true
		case g.Keep && m.Voter && m.Alive && g.missing():
			return Step{Why: "a live voter stays while a wished one is not alive"}, true
		case wanted:
			return Step{Demote, m.Replica, "it is wished as a non-voter"}, true
		default:
			return Step{Remove, m.Replica, "it is no longer wished"}, true
		}
	}
	if !leaves {
		return Step{}, false
	}
	best, found := fsm.Replica{}, false
	for _, m := range g.Members {
		if w, _ := g.wanted(m.Replica); w.Voter && m.Voter && m.Alive && m.CaughtUp && m.Replica != g.Self {
			if !found || m.Replica.Node == g.Preferred {
				best, found = m.Replica, true
			}
		}
	}
	if !found {
		return Step{Why: "the leader is to leave and nobody can take over yet"}, true
	}
	return Step{Transfer, best, "the leader is no longer wished here"}, true
}

func prefer(g Group) (Step, bool) {
	if g.Self.Node == g.Preferred {
		return Step{}, false
	}
	for _, m := range g.Members {
		if m.Replica.Node == g.Preferred && m.Voter && m.Alive && m.Steady && m.CaughtUp {
			return Step{Transfer, m.Replica, "it is the preferred leader"}, true
		}
	}
	return Step{}, false
}
