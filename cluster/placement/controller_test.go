package placement

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cairn/fsm"
)

// controllersOf reads "a* b/x c*! d-" as members, the longest-standing first: *
// votes, ! is not usable, - leaves, ~ is shunned, /x is in zone x.
func controllersOf(spec string) (members []ControllerNode, voters map[fsm.Replica]bool) {
	voters = map[fsm.Replica]bool{}
	for at, s := range strings.Fields(spec) {
		m := ControllerNode{Replica: rep(s[:1]), Joined: fsm.Time(at), Usable: true}
		for i, c := range s[1:] {
			switch c {
			case '*':
				voters[m.Replica] = true
			case '!':
				m.Usable = false
			case '-':
				m.Leaving = true
			case '~':
				m.Shunned = true
			case '/':
				m.Zone = s[i+2 : i+3]
			}
		}
		members = append(members, m)
	}
	return members, voters
}

// wantedVoters names the wished voters, in order of input.
func wantedVoters(want []Want) string {
	s := ""
	for _, w := range want {
		if w.Voter {
			s += string(w.Replica.Node)
		}
	}
	return s
}

func TestControllerPreferred(t *testing.T) {
	for _, tt := range []struct{ why, members, want string }{
		{"it does well", "a* b* c*", ""},
		{"whatever the others are", "a* b*~ c*!", ""},
		{"a drained or slow leader", "a*~ b* c*", "b"},
		{"one that leaves", "a*- b* c*", "b"},
		{"to nobody who is drained, slow, dead or leaves", "a*~ b*~ c*! d*- e*", "e"},
		{"nor to who does not vote", "a*~ b c*", "c"},
		{"there is nobody", "a*~ b*~ c", ""},
	} {
		members, voters := controllersOf(tt.members)
		got := ControllerPreferred(members, func(r fsm.Replica) bool { return voters[r] }, members[0].Replica)
		if string(got) != tt.want {
			t.Errorf("%s: %s prefers %q, want %q", tt.why, tt.members, got, tt.want)
		}
	}
}

func TestControllerWant(t *testing.T) {
	for _, tt := range []struct{ why, members, want string }{
		{"nobody", "", ""},
		{"alone", "a*", "a"},
		{"two: a second vote would only be one more to lose", "a* b", "a"},
		{"three: two newcomers at once", "a* b c", "abc"},
		{"or the second of them", "a* b* c", "abc"},
		{"four", "a* b* c* d", "abc"},
		{"five: the fourth first", "a* b* c* d e", "abcd"},
		{"then the fifth", "a* b* c* d* e", "abcde"},
		{"more", "a* b* c* d* e* f g", "abcde"},

		{"a dead voter stays while nobody can replace it", "a* b* c*!", "abc"},
		{"nor does the group grow by a dead one", "a* b!", "a"},
		{"nor by one of two", "a* b c!", "a"},
		{"it is replaced", "a* b* c*! d", "abd"},
		{"even the founder", "a*! b* c* d", "bcd"},
		{"one at a time", "a*! b*! c* d* e* f g", "acdef"},
		{"who is back does not replace who does well", "a b* c* d*", "bcd"},
		{"in between there are four, and the dead one goes", "a*! b* c* d*", "bcd"},
		{"first grow, then replace", "a*! b* c* d e f", "abcd"},

		{"one that leaves is replaced", "a*- b* c* d", "bcd"},
		{"or missed", "a* b* c*-", "ab"},
		{"until one voter is enough", "a* b* c-", "a"},
		{"it stays while nobody else can vote", "a*- b!", "a"},
		{"everybody leaves", "a*- b*- c*-", "abc"},
		{"all but a dead one", "a*- b*- c*- d!", "abc"},
		{"the dead one goes before the one that leaves", "a* b* c*- d*! e*!", "abcd"},

		{"a newcomer in a new zone", "a*/x b/x c/y d/z", "acd"},
		{"zones do not replace who does well", "a*/x b*/x c*/x d/y e!/y", "abc"},
		{"but who replaces", "a*/x b*/y c*!/z d/x e!/x f/z", "abcf"},
		{"and who goes", "a*/x b*/x c*/y d*/z", "acd"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			members, voters := controllersOf(tt.members)
			want := ControllerWant(members, func(r fsm.Replica) bool { return voters[r] })
			if got := wantedVoters(want); got != tt.want {
				t.Errorf("%s: voters %s, want %s", tt.members, got, tt.want)
			}
			for i, w := range want {
				if w.Replica != members[i].Replica {
					t.Errorf("%s: the order of input is lost: %v", tt.members, want)
				}
			}
		})
	}
}

// TestControllerWantConverges lets members come, die, return and leave and
// carries the wishes out, one at a time: from three voters on a wish changes at
// most one, and once that ends a few wishes lead to rest.
func TestControllerWantConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members, voters := controllersOf("a*")
		step := func() bool {
			want := ControllerWant(members, func(r fsm.Replica) bool { return voters[r] })
			added, dropped := 0, 0
			for _, w := range want {
				switch {
				case w.Voter && !voters[w.Replica]:
					added++
					if i := slices.IndexFunc(members, func(m ControllerNode) bool { return m.Replica == w.Replica }); !members[i].Usable || members[i].Leaving {
						t.Fatalf("%+v is to become a voter", members[i])
					}
				case !w.Voter && voters[w.Replica]:
					dropped++
				}
			}
			if dropped > 1 || len(voters) >= 3 && added > 1 || added > 2 || len(want) != len(members) {
				t.Fatalf("%d voters: %d added, %d dropped of %+v: %v", len(voters), added, dropped, members, want)
			}
			clear(voters)
			for _, w := range want {
				if w.Voter {
					voters[w.Replica] = true
				}
			}
			if len(voters) == 0 {
				t.Fatalf("nobody votes")
			}
			return added+dropped > 0
		}
		for k := range rapid.IntRange(0, 40).Draw(t, "events") {
			i := rapid.IntRange(0, len(members)-1).Draw(t, "who")
			switch rapid.IntRange(0, 5).Draw(t, "event") {
			case 0, 1:
				members = append(members, ControllerNode{
					Replica: rep(fmt.Sprint("n", k)), Joined: fsm.Time(k + 1), Usable: true, Zone: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "zone"),
				})
			case 2:
				members[i].Usable = !members[i].Usable
			case 3:
				members[i].Leaving = true
			case 4:
				if members[i].Leaving && !voters[members[i].Replica] {
					members = slices.Delete(members, i, i+1)
				}
			}
			step()
		}
		steps := 0
		for step() {
			if steps++; steps > 2*MaxControllerVoters {
				t.Fatalf("no rest: %+v, voters %v", members, voters)
			}
		}
		checkControllers(t, members, voters)
	})
}

// checkControllers holds voters at rest to what ControllerWant promises.
func checkControllers(t *rapid.T, members []ControllerNode, voters map[fsm.Replica]bool) {
	stay, fit, bad := 0, 0, 0
	for _, m := range members {
		if !m.Leaving {
			stay++
		}
		if m.Usable && !m.Leaving {
			fit++
		}
		if voters[m.Replica] && (!m.Usable || m.Leaving) {
			bad++
		}
	}
	number := map[int]int{0: 1, 1: 1, 2: 1, 3: 3, 4: 3}[min(stay, 5)]
	if stay >= 5 {
		number = 5
	}
	switch {
	case len(voters)%2 == 0 || len(voters) > number && fit > number/2:
		t.Fatalf("%d voters of %d members: %+v", len(voters), stay, members)
	case fit >= number && (bad > 0 || len(voters) != number):
		t.Fatalf("%d voters, %d of them bad, with %d usable members: %+v %v", len(voters), bad, fit, members, voters)
	case bad > 0 && fit >= len(voters):
		t.Fatalf("%d bad voters with %d usable members: %+v %v", bad, fit, members, voters)
	}
}
