//go:build linux

package faulttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

var processNemeses = []nemesis{
	{name: "kill-one", proof: "killed", hurt: kill(anyone)},
	{name: "kill-leader", proof: "killed", hurt: kill(leading)},
	{name: "kill-controller", proof: "killed", hurt: kill(controlling)},
	{name: "kill-minority", proof: "killed", hurt: kill(oneOf(minority, leaderAndMore))},
	{name: "kill-majority", proof: "killed", dark: true, hurt: kill(majority)},
	{name: "kill-all", proof: "killed", dark: true, hurt: kill(everyone)},
	{name: "pause-one", proof: "paused", hurt: pause(anyone)},
	{name: "pause-leader", proof: "paused", hurt: pause(leading)},
	{name: "pause-controller", proof: "paused", hurt: pause(controlling)},
	{name: "pause-minority", proof: "paused", hurt: pause(oneOf(minority, leaderAndMore))},
	{name: "pause-majority", proof: "paused", dark: true, hurt: pause(majority)},
	{name: "starve", proof: "starved", hurt: starve(oneOf(anyone, leading, controlling, minority))},
	{name: "rolling-restart", proof: "restarted", hurt: rollingRestart},
}

// kill ends nodes with SIGKILL. They come back when it is over, or some of them at
// once.
func kill(who pick) func(*rig, *rand.Rand) (string, func(), error) {
	return func(r *rig, rng *rand.Rand) (string, func(), error) {
		list := who(r, rng)
		r.down(list...)
		if rng.IntN(3) > 0 {
			return "kill " + r.name(list), func() { r.up(list...) }, nil
		}
		early := list[:1+rng.IntN(len(list))]
		r.up(early...)
		return fmt.Sprintf("kill %s, start %s at once", r.name(list), r.name(early)), func() { r.up(list...) }, nil
	}
}

// pause stops nodes where they stand, with SIGSTOP: their connections stay.
func pause(who pick) func(*rig, *rand.Rand) (string, func(), error) {
	return func(r *rig, rng *rand.Rand) (string, func(), error) {
		list := who(r, rng)
		for _, i := range list {
			r.signal(i, syscall.SIGSTOP)
		}
		r.count.add("paused", len(list))
		return "pause " + r.name(list), func() {
			for _, i := range list {
				r.signal(i, syscall.SIGCONT)
			}
		}, nil
	}
}

// starvePeriod is the time in which a starved node runs for a share.
const starvePeriod = 100 * time.Millisecond

// starve has nodes run for only a tenth to a half of the time.
func starve(who pick) func(*rig, *rand.Rand) (string, func(), error) {
	return func(r *rig, rng *rand.Rand) (string, func(), error) {
		list, share := who(r, rng), 0.1+0.4*rng.Float64()
		runs := time.Duration(share * float64(starvePeriod))
		r.count.add("starved", len(list))
		heal := r.during(func(ctx context.Context) {
			for ctx.Err() == nil {
				for _, i := range list {
					r.signal(i, syscall.SIGSTOP)
				}
				wait(ctx, starvePeriod-runs)
				for _, i := range list {
					r.signal(i, syscall.SIGCONT)
				}
				wait(ctx, runs)
			}
		})
		return fmt.Sprintf("let %s run for %.0f %% of the time", r.name(list), share*100), heal, nil
	}
}

// during runs f until what it returns is called.
func (r *rig) during(f func(ctx context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(r.ctx)
	var one sync.WaitGroup
	one.Go(func() { f(ctx) })
	return func() {
		cancel()
		one.Wait()
	}
}

// rollingRestart restarts nodes in turn by SIGTERM, each when the last one is ready
// again, or not.
func rollingRestart(r *rig, rng *rand.Rand) (string, func(), error) {
	list, patient := r.some(rng, len(r.nodes)), rng.IntN(2) == 0
	heal := r.during(func(ctx context.Context) {
		for _, i := range list {
			if ctx.Err() != nil {
				return
			}
			r.restart(i)
			for until := time.Now().Add(10 * time.Second); patient && time.Now().Before(until) && wait(ctx, pollEvery); {
				if _, err := r.admin(1, i).Ready(ctx); err == nil {
					break
				}
			}
		}
	})
	if patient {
		return "restart in turn " + r.name(list), heal, nil
	}
	return "restart without patience " + r.name(list), heal, nil
}
