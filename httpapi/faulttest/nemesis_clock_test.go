//go:build linux

package faulttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

var clockNemeses = []nemesis{
	{name: "clock-jump", needs: clocks, proof: "clocks moved", hurt: clockJump},
	{name: "clock-skew", needs: clocks, proof: "clocks moved", hurt: clockSkew},
	{name: "clock-strobe", needs: clocks, proof: "clocks moved", hurt: clockStrobe},
}

// clockJump sets clocks forward or back by an hour, and right again.
func clockJump(r *rig, rng *rand.Rand) (string, func(), error) {
	list, by := oneOf(anyone, leading, controlling, minority, everyone)(r, rng), time.Hour
	if rng.IntN(2) == 0 {
		by = -by
	}
	return fmt.Sprintf("clocks of %s jump by %v", r.name(list), by), r.moveClocks(list, func() time.Duration { return by }), nil
}

// clockSkew has every clock be off by up to two seconds.
func clockSkew(r *rig, rng *rand.Rand) (string, func(), error) {
	list := r.wanted()
	return "clocks are off by up to 2s", r.moveClocks(list, func() time.Duration {
		return time.Duration(rng.Int64N(int64(4*time.Second))) - 2*time.Second
	}), nil
}

// moveClocks moves clocks, and returns what sets them right.
func (r *rig) moveClocks(list []int, by func() time.Duration) (right func()) {
	for _, i := range list {
		r.setClock(i, by())
	}
	r.count.add("clocks moved", len(list))
	return func() {
		for _, i := range list {
			r.setClock(i, 0)
		}
	}
}

// clockStrobe sets clocks forward and back, again and again.
func clockStrobe(r *rig, rng *rand.Rand) (string, func(), error) {
	list, by := oneOf(anyone, leading, controlling, minority)(r, rng), time.Duration(100+rng.IntN(10_000))*time.Millisecond
	own := rand.New(rand.NewPCG(rng.Uint64(), 0))
	heal := r.during(func(ctx context.Context) {
		for ctx.Err() == nil {
			right := r.moveClocks(list, func() time.Duration { return by })
			wait(ctx, time.Duration(50+own.IntN(400))*time.Millisecond)
			right()
			wait(ctx, time.Duration(50+own.IntN(400))*time.Millisecond)
		}
	})
	return fmt.Sprintf("clocks of %s go forward and back by %v", r.name(list), by), heal, nil
}
