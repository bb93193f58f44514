package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"cairn/cluster/group"
)

// nemesis is one kind of harm. do does it, at once or for some time, and undoes it.
// What it draws comes from rng, which is its own. It returns what it did; empty: there
// was nothing to be done.
type nemesis struct {
	name string
	do   func(w *faultWorld, rng *rand.Rand) string
}

// nemeses by what they go for. A run has one, two or all of the kinds.
var nemeses = map[string][]nemesis{
	"crash": {
		{"crash", func(w *faultWorld, rng *rand.Rand) string { return w.strike(rng, false) }},
	},
	"power": {
		{"power cut", func(w *faultWorld, rng *rand.Rand) string { return w.strike(rng, true) }},
	},
	"partition": {
		{"partition", func(w *faultWorld, rng *rand.Rand) string { return w.split(rng, shapes) }},
		{"flapping", (*faultWorld).flap},
	},
	"silence": {
		{"silence", (*faultWorld).gag},
		{"silence", func(w *faultWorld, rng *rand.Rand) string { return w.split(rng, shapes) }},
	},
	"delay": {{"delay", (*faultWorld).lagging}},
	"disk":  {{"slow disk", (*faultWorld).sluggish}},
	"clock": {{"clock", (*faultWorld).skewed}},
	"members": {
		{"join", (*faultWorld).join}, {"leave", (*faultWorld).leave}, {"drain", (*faultWorld).drain},
	},
	"leaders": {
		{"transfer", (*faultWorld).transfer},
		{"election", (*faultWorld).election},
		{"snapshot", (*faultWorld).snapshot},
		{"two leaders", (*faultWorld).twoLeaders},
		{"lagging catalogue", (*faultWorld).lagCatalogue},
	},
}

// span draws a time between two, the short ones more often.
func span(rng *rand.Rand, from, to time.Duration) time.Duration {
	f := rng.Float64()
	return from + time.Duration(f*f*float64(to-from))
}

// linger lets a fault last for a time between two.
func (w *faultWorld) linger(rng *rand.Rand, from, to time.Duration) {
	time.Sleep(span(rng, from, to) * w.stretch)
}

// some draws some of the nodes that run, in a random order: one, a minority, a majority
// or all of them, the smaller numbers more often.
func (w *faultWorld) some(rng *rand.Rand) []int {
	up := w.running()
	rng.Shuffle(len(up), func(i, j int) { up[i], up[j] = up[j], up[i] })
	if len(up) == 0 {
		return nil
	}
	switch rng.IntN(6) {
	case 0, 1, 2:
		return up[:1]
	case 3:
		return up[:(len(up)+1)/2-min(1, len(up)%2)]
	case 4:
		return up[:len(up)/2+1]
	default:
		return up
	}
}

// strike ends processes, and starts them again after a while.
func (w *faultWorld) strike(rng *rand.Rand, power bool) string {
	victims := w.some(rng)
	if len(victims) == 0 {
		return ""
	}
	w.die(rng, victims, power)
	for i, v := range victims {
		if i == 0 || rng.IntN(2) == 0 {
			w.linger(rng, 0, 15*time.Second)
		}
		w.revive(v)
	}
	return fmt.Sprint("nodes ", victims)
}

// revive starts a node that does not run, if it is still a member.
func (w *faultWorld) revive(i int) {
	if sn := w.nodes[i]; w.alive(i) == nil && sn.used.Load() && !sn.left.Load() {
		w.start(i)
	}
}

// names of all machines that were ever used, in a random order.
func (w *faultWorld) names(rng *rand.Rand) (names []string) {
	for _, sn := range w.nodes {
		if sn.used.Load() {
			names = append(names, sn.name)
		}
	}
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}

// split takes links away, for a while: what they should carry waits, or connections
// are refused.
func (w *faultWorld) split(rng *rand.Rand, shapes []shape) string {
	names := w.names(rng)
	s := shapes[rng.IntN(len(shapes))]
	if len(names) < s.least {
		return ""
	}
	links := s.links(names, rng)
	refused := rng.IntN(2) == 0
	set := func(on bool) {
		for _, l := range links {
			if refused && slices.Contains(links, [2]string{l[1], l[0]}) {
				w.net.refuse(l[0], l[1], on)
			} else {
				w.net.hold(l[0], l[1], on)
			}
		}
	}
	set(true)
	w.linger(rng, 500*time.Millisecond, 20*time.Second)
	set(false)
	return fmt.Sprintf("%s of %v, refused %t", s.name, names, refused)
}

// flap cuts a node off and lets it back, again and again.
func (w *faultWorld) flap(rng *rand.Rand) string {
	name := w.names(rng)[0]
	times := 2 + rng.IntN(8)
	for range times {
		w.net.isolate(name, true)
		w.linger(rng, 100*time.Millisecond, 4*time.Second)
		w.net.isolate(name, false)
		w.linger(rng, 100*time.Millisecond, 3*time.Second)
	}
	return fmt.Sprintf("%s, %d times", name, times)
}

// gag keeps whatever a node sends or is sent.
func (w *faultWorld) gag(rng *rand.Rand) string {
	name := w.names(rng)[0]
	w.net.silence(name, true)
	w.linger(rng, 500*time.Millisecond, 20*time.Second)
	w.net.silence(name, false)
	return name
}

// lagging makes some links late, each by its own time.
func (w *faultWorld) lagging(rng *rand.Rand) string {
	names := w.names(rng)
	links := between(names[:1], names[1:])
	if rng.IntN(2) == 0 {
		links = append(links, between(names[1:], names[1:])...)
	}
	most := span(rng, 5*time.Millisecond, 1500*time.Millisecond)
	for _, l := range links {
		w.net.delay(l[0], l[1], time.Duration(rng.Int64N(int64(most))))
	}
	w.linger(rng, time.Second, 20*time.Second)
	for _, l := range links {
		w.net.delay(l[0], l[1], 0)
	}
	return fmt.Sprintf("%d links by up to %v", len(links), most)
}

// sluggish makes some nodes' disks slow.
func (w *faultWorld) sluggish(rng *rand.Rand) string {
	victims := w.some(rng)
	by := span(rng, 5*time.Millisecond, 3*time.Second)
	set := func(by time.Duration) {
		for _, i := range victims {
			w.nodes[i].disk.Slow(by)
		}
	}
	set(by)
	w.linger(rng, time.Second, 20*time.Second)
	set(0)
	return fmt.Sprintf("nodes %v by %v", victims, by)
}

// skewed sets the wall clocks of some nodes, forwards or back, by a little or by up to
// an hour, and they stay so for a while.
func (w *faultWorld) skewed(rng *rand.Rand) string {
	victims := w.some(rng)
	most := span(rng, 10*time.Millisecond, time.Hour)
	for _, i := range victims {
		w.nodes[i].skew.Store(rng.Int64N(2*int64(most)) - int64(most))
	}
	w.linger(rng, 0, 20*time.Second)
	for _, i := range victims {
		if rng.IntN(3) > 0 { // the others stay off until the end
			w.nodes[i].skew.Store(0)
		}
	}
	return fmt.Sprintf("nodes %v by up to %v", victims, most)
}

// join starts another node.
func (w *faultWorld) join(rng *rand.Rand) string {
	i := slices.IndexFunc(w.nodes, func(sn *simNode) bool { return !sn.used.Load() })
	if i < 0 || w.alive(0) == nil {
		return ""
	}
	if !w.start(i) {
		return fmt.Sprintf("node %d did not find the cluster", i)
	}
	return fmt.Sprint("node ", i)
}

// leave asks a node that is not the founder, through which others join, to leave.
func (w *faultWorld) leave(rng *rand.Rand) string {
	up := w.running()
	if len(up) < 4 {
		return ""
	}
	i := up[1+rng.IntN(len(up)-1)]
	l := w.alive(i)
	if l == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
	defer cancel()
	if err := l.node.Leave(ctx, l.node.ID()); err != nil {
		return ""
	}
	return fmt.Sprint("node ", i)
}

// farewells ends the processes of nodes that have left.
func (w *faultWorld) farewells() {
	for _, i := range w.running() {
		if w.nodes[i].left.Load() {
			w.retire(i)
		}
	}
}

// drain has a node lead nothing, for a while.
func (w *faultWorld) drain(rng *rand.Rand) string {
	up := w.running()
	if len(up) == 0 {
		return ""
	}
	i := up[rng.IntN(len(up))]
	l := w.alive(i)
	if l == nil {
		return ""
	}
	set := func(on bool) {
		ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
		defer cancel()
		_ = l.node.Drain(ctx, l.node.ID(), on) // heal sees to those that stay
	}
	set(true)
	w.linger(rng, 0, 15*time.Second)
	set(false)
	return fmt.Sprint("node ", i)
}

// groups returns the replicas of a random group, the controller's among them, on nodes
// that run.
func (w *faultWorld) groups(rng *rand.Rand) (out []*group.Group) {
	which := uint32(rng.IntN(w.partitions + 1))
	for _, i := range w.running() {
		if l := w.alive(i); l != nil {
			if g := l.node.localGroup(which); g != nil {
				out = append(out, g)
			}
		}
	}
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// transfer hands a leadership to another voter that runs.
func (w *faultWorld) transfer(rng *rand.Rand) string {
	all := w.groups(rng)
	for _, g := range all {
		if !g.Leads() {
			continue
		}
		conf, err := g.Configuration()
		if err != nil {
			return ""
		}
		for _, to := range all {
			if s, in := conf.Has(to.Replica()); in && s.Voter && to != g {
				err := g.TransferTo(to.Replica())
				return fmt.Sprintf("%s to %s: %v", g.Name(), to.Replica(), err)
			}
		}
	}
	return ""
}

// election has a follower stand though its leader is well.
func (w *faultWorld) election(rng *rand.Rand) string {
	for _, g := range w.groups(rng) {
		if !g.Leads() && g.Nominate(g.Term(), g.Leader()) {
			return fmt.Sprintf("%s, %s", g.Name(), g.Replica())
		}
	}
	return ""
}

// holder is the number of the node that runs a replica.
func (w *faultWorld) holder(g *group.Group) int {
	return slices.IndexFunc(w.nodes, func(sn *simNode) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return sn.node != nil && sn.node.ID() == g.Replica().Node
	})
}

// twoLeaders deafens a leader, has a follower take its place, and lets the leader hear
// old news of the others before it hears of its successor.
func (w *faultWorld) twoLeaders(rng *rand.Rand) string {
	all := w.groups(rng)
	lead := slices.IndexFunc(all, (*group.Group).Leads)
	if lead < 0 || len(all) < 3 {
		return ""
	}
	old := all[lead]
	others := slices.Delete(slices.Clone(all), lead, lead+1)
	deaf := w.holder(old)
	if deaf < 0 {
		return ""
	}
	hold := func(i int, on bool) {
		if from := w.holder(others[i]); from >= 0 {
			w.net.hold(w.nodes[from].name, w.nodes[deaf].name, on)
		}
	}
	for i := range others {
		hold(i, true)
	}
	time.Sleep(span(rng, 0, 300*time.Millisecond))
	stands := others[0].Nominate(others[0].Term(), old.Replica())
	time.Sleep(span(rng, 20*time.Millisecond, time.Second))
	for i := len(others) - 1; i >= 0; i-- { // the successor last
		hold(i, false)
		time.Sleep(span(rng, 0, 300*time.Millisecond))
	}
	return fmt.Sprintf("%s, %s beside %s: %t", old.Name(), others[0].Replica(), old.Replica(), stands)
}

// lagCatalogue keeps what the controller's leader sends from a node, and has that node
// lead partitions meanwhile.
func (w *faultWorld) lagCatalogue(rng *rand.Rand) string {
	lead, late := -1, -1
	for _, i := range w.some(rng) {
		if l := w.alive(i); l != nil && !l.node.control.group.Leads() {
			late = i
		}
	}
	for _, i := range w.running() {
		if l := w.alive(i); l != nil && l.node.control.group.Leads() {
			lead = i
		}
	}
	l := w.alive(max(late, 0))
	if lead < 0 || late < 0 || l == nil {
		return ""
	}
	from, to := w.nodes[lead].name, w.nodes[late].name
	w.net.hold(from, to, true)
	time.Sleep(span(rng, 0, 5*time.Second))
	moved := 0
	for _, r := range l.node.replicas.all() {
		if r.group.Nominate(r.group.Term(), r.group.Leader()) {
			moved++
		}
	}
	time.Sleep(span(rng, 0, 2*time.Second))
	w.net.hold(from, to, false)
	return fmt.Sprintf("%s hears nothing of %s and stands for %d partitions", to, from, moved)
}

// snapshot has a replica begin its next life with a snapshot.
func (w *faultWorld) snapshot(rng *rand.Rand) string {
	for _, g := range w.groups(rng) {
		if g.Snapshot() == nil {
			return fmt.Sprintf("%s, %s", g.Name(), g.Replica())
		}
	}
	return ""
}
