//go:build linux

package faulttest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// need is what a nemesis asks of the machine and of the rig.
type need uint

const (
	network need = 1 << iota // hosts of package netns
	disks                    // mounts of package lazyfs
	clocks                   // the build whose clock can be moved
	older                    // the build of an older commit
)

// nemesis is a way to hurt a rig.
type nemesis struct {
	name  string
	needs need
	proof string // what must have been counted, or the run proves nothing; see rig.counted
	// excuses: how nodes may end by themselves under it, because their disk is broken.
	excuses []string
	spare   bool // it joins a node
	mix     bool // it is one of several others at a time, or two
	// dark: nobody has a quorum meanwhile, so nothing is asked of that time, and it
	// takes longer until there are leaders again.
	dark bool
	// hurt begins a fault and says what it is; heal ends it.
	hurt func(*rig, *rand.Rand) (what string, heal func(), err error)
}

// pick chooses nodes that should run.
type pick func(*rig, *rand.Rand) []int

func anyone(r *rig, rng *rand.Rand) []int        { return []int{r.someone(rng)} }
func leading(r *rig, rng *rand.Rand) []int       { return []int{r.leader(rng)} }
func controlling(r *rig, rng *rand.Rand) []int   { return []int{r.controller(rng)} }
func minority(r *rig, rng *rand.Rand) []int      { return r.some(rng, (len(r.wanted())-1)/2) }
func majority(r *rig, rng *rand.Rand) []int      { return r.some(rng, len(r.wanted())/2+1) }
func everyone(r *rig, _ *rand.Rand) []int        { return r.wanted() }
func fewOrLeader(r *rig, rng *rand.Rand) []int   { return oneOf(anyone, leading, controlling)(r, rng) }
func leaderAndMore(r *rig, rng *rand.Rand) []int { return union(leading(r, rng), anyone(r, rng)) }

func oneOf(picks ...pick) pick {
	return func(r *rig, rng *rand.Rand) []int { return picks[rng.IntN(len(picks))](r, rng) }
}

func union(a, b []int) []int {
	list := slices.Concat(a, b)
	slices.Sort(list)
	return slices.Compact(list)
}

// name tells nodes.
func (r *rig) name(list []int) string {
	var names []string
	for _, i := range list {
		names = append(names, fmt.Sprintf("n%d", i+1))
	}
	return strings.Join(names, " ")
}

// nemeses are all there are, in the order in which "make jepsen" runs them. The last
// ones choose among the others.
func nemeses() []nemesis {
	list := slices.Concat(processNemeses, networkNemeses, diskNemeses, clockNemeses, memberNemeses)
	return append(list,
		anyOf("short", list, "kill-one", "kill-leader", "kill-controller", "pause-leader", "pause-one",
			"halves", "isolate-leader", "mute", "powercut-one"),
		anyOf("partitions-and-crashes", list, "kill-one", "kill-leader", "kill-minority", "pause-leader", "pause-minority",
			"halves", "isolate", "isolate-leader", "mute", "deaf", "bridge", "ring", "flap", "loss"),
		anyOf("all", list),
	)
}

// anyOf is a nemesis that is one of the others at a time; all of them if none is named.
func anyOf(name string, list []nemesis, names ...string) nemesis {
	out := nemesis{name: name, proof: "faults", mix: true}
	var pool []nemesis
	for _, n := range list {
		if n.needs&older == 0 && (len(names) == 0 || slices.Contains(names, n.name)) {
			pool = append(pool, n)
			out.needs |= n.needs
			out.excuses = append(out.excuses, n.excuses...)
			out.spare = out.spare || n.spare
		}
	}
	out.hurt = func(r *rig, rng *rand.Rand) (string, func(), error) {
		able := slices.DeleteFunc(slices.Clone(pool), func(n nemesis) bool { return n.needs&^r.has != 0 })
		return able[rng.IntN(len(able))].hurt(r, rng)
	}
	return out
}

// counted is a count of what was done.
func (r *rig) counted(what string) int {
	if r.network != nil {
		switch sum := r.network.Total(); what {
		case "packets dropped":
			return int(sum.Dropped)
		case "packets delayed":
			return int(sum.Delayed)
		case "packets passed":
			return int(sum.Passed)
		}
	}
	if what == "leader changes" {
		return r.meter.total()
	}
	return r.count.of(what)
}

// deaths are the ends of nodes that nobody ended.
func (r *rig) deaths() (list []string) {
	for _, m := range r.nodes {
		m.mu.Lock()
		list = append(list, m.deaths...)
		m.mu.Unlock()
	}
	return list
}
