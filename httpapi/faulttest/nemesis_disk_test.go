//go:build linux

package faulttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// fatal is how a node ends whose disk fails, refusal how one that cannot start with
// what it finds.
var fatal, refusal = []string{"exit status 70"}, []string{"exit status 70", "exit status 1"}

var diskNemeses = []nemesis{
	{name: "slow-disk", needs: disks, proof: "slow disks", excuses: fatal, hurt: slowDisk},
	{name: "eio", needs: disks, proof: "failing disks", excuses: refusal, hurt: failSyncs},
	{name: "enospc", needs: disks, proof: "failing disks", excuses: refusal, hurt: failWrites},
	{name: "eio-powercut", needs: disks, proof: "power cuts", excuses: refusal, hurt: failThenCut},
	{name: "powercut-one", needs: disks, proof: "power cuts", hurt: powerCut(oneOf(anyone, leading))},
	{name: "powercut-minority", needs: disks, proof: "power cuts", hurt: powerCut(minority)},
	{name: "powercut-all", needs: disks, proof: "power cuts", dark: true, hurt: powerCut(everyone)},
	{name: "bitflip", proof: "files damaged", excuses: refusal, hurt: decay(false)},
	{name: "truncate", proof: "files damaged", excuses: refusal, hurt: decay(true)},
}

// slowDisk makes syncs slow, up to far beyond what a node may lead with.
func slowDisk(r *rig, rng *rand.Rand) (string, func(), error) {
	list, delay := oneOf(anyone, leading, controlling, minority)(r, rng), time.Duration(20+rng.IntN(800))*time.Millisecond
	for _, i := range list {
		r.disks[i].fs.DelaySyncs(delay)
	}
	r.count.add("slow disks", len(list))
	return fmt.Sprintf("syncs of %s take %v longer", r.name(list), delay), func() {
		for _, i := range list {
			r.disks[i].fs.DelaySyncs(0)
		}
	}, nil
}

// failSyncs has syncs fail, and forget. The node must end; its supervisor starts it
// again, perhaps for nothing.
func failSyncs(r *rig, rng *rand.Rand) (string, func(), error) {
	list := fewOrLeader(r, rng)
	for _, i := range list {
		r.disks[i].fs.FailSyncs(syscall.EIO)
	}
	r.count.add("failing disks", len(list))
	return "syncs fail on " + r.name(list), func() {
		for _, i := range list {
			r.disks[i].fs.FailSyncs(0)
		}
	}, nil
}

// endWithin is how long a node has to end whose disk fails.
const endWithin = 3 * time.Second

// failThenCut has a sync fail, so that the kernel forgets what it shows, lets the node
// start on what is shown, and cuts the power later. It is always the same disk that
// lies: of two of them no quorum could be sure.
func failThenCut(r *rig, rng *rand.Rand) (string, func(), error) {
	if r.liar == nil {
		r.liar = fewOrLeader(r, rng)
	}
	i, before := r.liar[0], len(r.deaths())
	r.disks[i].fs.FailSyncs(syscall.EIO)
	err := r.poll(endWithin, func() error {
		if len(r.deaths()) == before {
			return errors.New("it goes on")
		}
		return nil
	})
	r.disks[i].fs.FailSyncs(0)
	if err != nil {
		r.say("syncs fail on %s for %v: %v", r.name(r.liar), endWithin, err)
	}
	return "a sync failed on " + r.name(r.liar) + ", then a power cut", func() {
		if err := r.powerCut(false, i); err != nil {
			r.t.Error(err)
		}
		r.up(i)
	}, nil
}

// failWrites has the disk be full.
func failWrites(r *rig, rng *rand.Rand) (string, func(), error) {
	list := fewOrLeader(r, rng)
	for _, i := range list {
		r.disks[i].fs.FailWrites(syscall.ENOSPC)
	}
	r.count.add("failing disks", len(list))
	return "the disk is full on " + r.name(list), func() {
		for _, i := range list {
			r.disks[i].fs.FailWrites(0)
		}
	}, nil
}

// powerCut ends nodes without what they had not synced, and starts them later.
func powerCut(who pick) func(*rig, *rand.Rand) (string, func(), error) {
	return func(r *rig, rng *rand.Rand) (string, func(), error) {
		list, tear := who(r, rng), rng.IntN(2) == 0
		what := "power cut of " + r.name(list)
		if tear {
			what += ", torn"
		}
		return what, func() { r.up(list...) }, r.powerCut(tear, list...)
	}
}

// refuseWithin is how long a node with a damaged file has to serve or to end.
const refuseWithin = 20 * time.Second

// decay damages a file of a node while it is down. One node's data may be damaged at a
// time: it stays the same one until the cluster is whole again. If it refuses to
// start, the damage is undone, as an operator would who has a copy.
func decay(truncate bool) func(*rig, *rand.Rand) (string, func(), error) {
	return func(r *rig, rng *rand.Rand) (string, func(), error) {
		victim := r.victim(rng)
		r.down(victim)
		d, err := rot(rng, r.Data(victim), truncate)
		if err != nil {
			r.up(victim)
			return "", nil, err
		}
		r.count.add("files damaged", 1)
		return fmt.Sprintf("damage on %s: %s", r.name([]int{victim}), d.what), func() { r.nurse(victim, d) }, nil
	}
}

// victim is the one node whose data may be damaged now.
func (r *rig) victim(rng *rand.Rand) int {
	if r.sick == nil || r.whole() == nil {
		r.sick = &sickness{node: r.someone(rng)}
	}
	return r.sick.node
}

// sickness is a node whose data may not be whole.
type sickness struct{ node int }

// nurse starts a damaged node.
func (r *rig) nurse(victim int, d *damage) {
	before := len(r.deaths())
	r.up(victim)
	err := r.poll(refuseWithin, func() error {
		if len(r.deaths()) > before+1 {
			return nil
		}
		_, err := r.admin(1, victim).Ready(r.ctx)
		return err
	})
	if err == nil && len(r.deaths()) <= before+1 {
		return
	}
	r.say("%s does not serve with %s (%v): that is undone", r.Name(victim), d.what, err)
	r.count.add("damage undone", 1)
	r.down(victim)
	if err := d.undo(); err != nil {
		r.t.Error(err)
	}
	r.up(victim)
}
