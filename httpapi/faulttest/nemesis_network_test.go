//go:build linux

package faulttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"cairn/httpapi/faulttest/netns"
)

const (
	dropped = "packets dropped"
	delayed = "packets delayed"
)

var networkNemeses = []nemesis{
	{name: "halves", needs: network, proof: dropped, hurt: partition(halves)},
	{name: "isolate", needs: network, proof: dropped, hurt: partition(isolated(anyone))},
	{name: "isolate-leader", needs: network, proof: dropped, hurt: partition(isolated(leading))},
	{name: "isolate-controller", needs: network, proof: dropped, hurt: partition(isolated(controlling))},
	{name: "deaf", needs: network, proof: dropped, hurt: partition(deaf)},
	{name: "mute", needs: network, proof: dropped, hurt: partition(mute)},
	{name: "bridge", needs: network, proof: dropped, hurt: partition(bridge)},
	{name: "ring", needs: network, proof: dropped, hurt: partition(ring)},
	{name: "flap", needs: network, proof: dropped, hurt: flap},
	{name: "loss", needs: network, proof: dropped, hurt: partition(lossy)},
	{name: "delay", needs: network, proof: delayed, hurt: partition(late)},
	{name: "lost-answers", needs: network, proof: dropped, hurt: partition(lostAnswers)},
}

// fault is what some links become, and what that is called.
type fault func(*rig, *rand.Rand) (map[way]netns.Link, string)

func partition(f fault) func(*rig, *rand.Rand) (string, func(), error) {
	return func(r *rig, rng *rand.Rand) (string, func(), error) {
		links, what := f(r, rng)
		return what, r.links.impose(links), nil
	}
}

func halves(r *rig, rng *rand.Rand) (map[way]netns.Link, string) {
	some := minority(r, rng)
	return both(some, r.others(some...), netns.Link{Drop: true}), "cut off from the others " + r.name(some)
}

func isolated(who pick) fault {
	return func(r *rig, rng *rand.Rand) (map[way]netns.Link, string) {
		some := who(r, rng)
		return both(some, r.others(some...), netns.Link{Drop: true}), "isolate " + r.name(some)
	}
}

// deaf nodes hear nobody, and all hear them.
func deaf(r *rig, rng *rand.Rand) (map[way]netns.Link, string) {
	some := fewOrLeader(r, rng)
	return cut(r.others(some...), some), "deaf " + r.name(some)
}

// mute nodes hear all, and nobody hears them.
func mute(r *rig, rng *rand.Rand) (map[way]netns.Link, string) {
	some := fewOrLeader(r, rng)
	return cut(some, r.others(some...)), "mute " + r.name(some)
}

// bridge: two halves that see each other only through one node.
func bridge(r *rig, rng *rand.Rand) (map[way]netns.Link, string) {
	list := r.some(rng, len(r.nodes))
	middle := len(list) / 2
	return both(list[:middle], list[middle+1:], netns.Link{Drop: true}),
		fmt.Sprintf("%s and %s see each other only through %s", r.name(list[:middle]), r.name(list[middle+1:]), r.name(list[middle:middle+1]))
}

// ring: every node sees a majority, itself included, and no two see the same one.
func ring(r *rig, rng *rand.Rand) (map[way]netns.Link, string) {
	list := r.some(rng, len(r.nodes))
	n := len(list)
	seen := n / 2 / 2 // neighbours on each side
	fault := map[way]netns.Link{}
	for a := range list {
		for b := range list {
			if apart := min((a-b+n)%n, (b-a+n)%n); apart > seen {
				fault[way{list[a], list[b]}] = netns.Link{Drop: true}
			}
		}
	}
	return fault, "a ring of " + r.name(list)
}

// flap cuts and mends, every few hundred milliseconds.
func flap(r *rig, rng *rand.Rand) (string, func(), error) {
	own := rand.New(rand.NewPCG(rng.Uint64(), 0))
	heal := r.during(func(ctx context.Context) {
		for ctx.Err() == nil {
			links, _ := []fault{halves, isolated(leading), mute, deaf}[own.IntN(4)](r, own)
			lift := r.links.impose(links)
			wait(ctx, time.Duration(200+own.IntN(1300))*time.Millisecond)
			lift()
			wait(ctx, time.Duration(100+own.IntN(700))*time.Millisecond)
		}
	})
	return "cut and mend again and again", heal, nil
}

// hosts are all nodes and players.
func (r *rig) hosts() (list []int) {
	for i := range len(r.nodes) + players {
		list = append(list, i)
	}
	return list
}

// lossy loses and doubles packets, everywhere.
func lossy(r *rig, rng *rand.Rand) (map[way]netns.Link, string) {
	link := netns.Link{Loss: 0.05 + 0.25*rng.Float64(), Duplicate: 0.1 * rng.Float64()}
	return every(r.hosts(), r.hosts(), link), fmt.Sprintf("lose %.0f %% of all packets, double %.0f %%", link.Loss*100, link.Duplicate*100)
}

// late delays packets between all nodes, or those of some.
func late(r *rig, rng *rand.Rand) (map[way]netns.Link, string) {
	delay := time.Duration(50+rng.IntN(250)) * time.Millisecond
	link := netns.Link{Delay: delay, Jitter: delay / 3}
	some := r.others()
	if rng.IntN(2) == 0 {
		some = fewOrLeader(r, rng)
	}
	slices.Sort(some)
	return both(some, r.others(), link), fmt.Sprintf("delay packets of %s by %v", r.name(some), delay)
}

// lostAnswers: what some nodes answer does not reach the clients.
func lostAnswers(r *rig, rng *rand.Rand) (map[way]netns.Link, string) {
	some := leaderAndMore(r, rng)
	return cut(some, r.hosts()[len(r.nodes):]), "lose the answers to clients of " + r.name(some)
}
