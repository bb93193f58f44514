//go:build linux

package faulttest

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"cairn/httpapi/faulttest/netns"
	"cairn/store/lazyfs"
)

const (
	// quiet is how long nothing is wrong at first, and calm at the end.
	quiet = 4 * time.Second
	calm  = 3 * time.Second
	// A fault lasts from faultLeast to faultMost, and the pause to the next from
	// pauseLeast to pauseMost.
	faultLeast, faultMost = 3 * time.Second, 8 * time.Second
	pauseLeast, pauseMost = 2 * time.Second, 5 * time.Second
	// dawn is how much longer the pause is after a fault that left nobody with a quorum.
	dawn = 6 * time.Second
)

// plan is one run.
type plan struct {
	nemesis
	seed  uint64
	lasts time.Duration

	// mutant is which deliberate fault the nodes' program is to have, of
	// faulttest.Mutants. Then the suite is on trial: it has to find it.
	mutant string
}

// spares is how many nodes may join.
func (p *plan) spares() int {
	if p.spare {
		return 1
	}
	return 0
}

// available is what a rig for a plan can have on this machine.
func available(p *plan) need {
	has := machine.has
	if p.needs&disks == 0 {
		has &^= disks
	}
	if p.needs&clocks == 0 {
		has &^= clocks
	}
	return has
}

// machine is what can be had here, and why not the rest.
var machine struct {
	has     need
	without []string
}

// probe finds out what the machine has.
func probe() {
	machine.has = clocks
	lacks := func(what string, err error) { machine.without = append(machine.without, "NO "+what+": "+err.Error()) }
	if w, err := netns.New(1, 0); err != nil {
		lacks("NETWORK FAULTS", err)
	} else {
		w.Close()
		machine.has |= network
	}
	if err := probeDisk(); err != nil {
		lacks("DISK FAULTS", err)
	} else {
		machine.has |= disks
	}
	switch {
	case builds.old != "":
		machine.has |= older
	case askedForOld():
		machine.without = append(machine.without, "NO MIXED VERSIONS: CAIRN_OLD_COMMIT names no commit, and there is no tag")
	}
}

func probeDisk() error {
	var dirs [2]string
	for i := range dirs {
		dir, err := os.MkdirTemp("", "cairn-disk-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		dirs[i] = dir
	}
	fs, err := lazyfs.Mount(dirs[0], dirs[1], 0)
	if err != nil {
		return err
	}
	return fs.Unmount()
}

// nemesisNamed finds one; false if there is none.
func nemesisNamed(name string) (nemesis, bool) {
	for _, n := range nemeses() {
		if n.name == name {
			return n, true
		}
	}
	return nemesis{}, false
}

// between draws a time.
func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)))
}

// haunt hurts the rig and heals it, in turn, until the time is nearly over.
func (r *rig) haunt(p *plan, end time.Duration) {
	rng := rand.New(rand.NewPCG(p.seed, 1))
	for pause := quiet; ; pause = between(rng, pauseLeast, pauseMost) {
		lasts := between(rng, faultLeast, faultMost)
		if r.log.Now()+pause+faultLeast+calm > end || !wait(r.ctx, pause) {
			return
		}
		lasts = min(lasts, end-calm-r.log.Now())
		n := 1
		if p.mix && rng.IntN(2) == 0 {
			n = 2
		}
		var heals []func()
		for range n {
			if heal := r.hurt(p, rng); heal != nil {
				heals = append(heals, heal)
			}
		}
		wait(r.ctx, lasts)
		for _, heal := range heals {
			heal()
		}
		if p.dark {
			wait(r.ctx, dawn)
		}
	}
}

// hurt begins one fault, and returns what ends it; nil if it could not begin.
func (r *rig) hurt(p *plan, rng *rand.Rand) (end func()) {
	what, heal, err := p.nemesis.hurt(r, rng)
	if err != nil {
		r.t.Errorf("%s: %v", p.name, err)
		if heal == nil {
			return nil
		}
	}
	r.count.add("faults", 1)
	r.say("%s", what)
	over := r.log.Fault(what)
	return func() {
		heal()
		over()
		r.say("over: %s", what)
	}
}

func TestNemesesHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range nemeses() {
		if n.name == "" || seen[n.name] || n.proof == "" || n.hurt == nil {
			t.Errorf("%+v", n)
		}
		seen[n.name] = true
	}
	for _, n := range []string{"short", "all"} {
		if found, ok := nemesisNamed(n); !ok || found.needs == 0 {
			t.Errorf("%s: %+v", n, found)
		}
	}
}
