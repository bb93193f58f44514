package admit

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cairn/fsm"
)

// TestTurns: hunts in turn, of a hunt its teams in turn, of a team in order.
func TestTurns(t *testing.T) {
	var f fair
	for _, who := range []string{"a/x 1", "a/x 2", "a/x 3", "a/y 1", "b/z 1", "b/z 2", "a/y 2"} {
		f.push(named(who))
	}
	f.remove(named("a/x 9")) // not in it
	var got []string
	for w := f.pop(); w != nil; w = f.pop() {
		got = append(got, w.name())
	}
	want := []string{"a/x", "b/z", "a/y", "b/z", "a/x", "a/y", "a/x"}
	if !slices.Equal(got, want) {
		t.Fatalf("took %v, want %v", got, want)
	}
	if len(f.hunts) != 0 || f.size != 0 {
		t.Fatalf("left %+v", f)
	}
}

func named(who string) *waiter {
	var hunt, team string
	var n int
	fmt.Sscanf(who, "%1s/%1s %d", &hunt, &team, &n)
	return &waiter{flow: Flow{Hunt: fsm.HuntID(hunt), Team: fsm.TeamID(team)}}
}

func (w *waiter) name() string { return string(w.flow.Hunt) + "/" + string(w.flow.Team) }

// TestFairTwin plays random arrivals, turns and departures against lists that are
// searched: nobody is lost, doubled or overtaken by another of the same team, and
// no hunt that waits is passed over while another has two turns.
func TestFairTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f fair
		var in []*waiter          // in order of arrival
		turns := map[string]int{} // of each hunt since the same hunts have waited
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				w := &waiter{flow: Flow{
					Hunt: fsm.HuntID(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "hunt")),
					Team: fsm.TeamID(rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "team")),
				}}
				if !waits(in, w.flow.Hunt) {
					clear(turns)
				}
				f.push(w)
				in = append(in, w)
			case 2:
				w := f.pop()
				if w == nil {
					if len(in) > 0 {
						t.Fatalf("nobody's turn, but %d wait", len(in))
					}
					continue
				}
				first := slices.IndexFunc(in, func(o *waiter) bool { return o.flow == w.flow })
				if first < 0 || in[first] != w {
					t.Fatalf("%s was overtaken by its own", w.name())
				}
				in = slices.Delete(in, first, first+1)
				turns[string(w.flow.Hunt)]++
				for _, o := range in {
					if h := string(o.flow.Hunt); turns[string(w.flow.Hunt)] > turns[h]+1 {
						t.Fatalf("%s had %d turns, %s which waits %d", w.flow.Hunt, turns[string(w.flow.Hunt)], h, turns[h])
					}
				}
			case 3:
				if len(in) > 0 {
					i := rapid.IntRange(0, len(in)-1).Draw(t, "leaves")
					f.remove(in[i])
					in = slices.Delete(in, i, i+1)
					clear(turns)
				}
			}
			if f.size != len(in) {
				t.Fatalf("size %d, %d wait", f.size, len(in))
			}
			if w := f.longest(); (w == nil) != (len(in) == 0) {
				t.Fatalf("longest %v of %d", w, len(in))
			}
		}
	})
}

func waits(in []*waiter, hunt fsm.HuntID) bool {
	return slices.ContainsFunc(in, func(w *waiter) bool { return w.flow.Hunt == hunt })
}
