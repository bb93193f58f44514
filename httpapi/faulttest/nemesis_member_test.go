//go:build linux

package faulttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"
)

var memberNemeses = []nemesis{
	{name: "drain", proof: "drained", hurt: drain},
	{name: "churn", proof: "joined", spare: true, hurt: churn},
	{name: "mixed", needs: older, proof: "programs changed", hurt: changeProgram},
}

const (
	// joinWithin and leaveWithin bound what may take a while with other faults.
	joinWithin  = 30 * time.Second
	leaveWithin = 90 * time.Second
)

// drain moves leaderships away from a node, and allows them again.
func drain(r *rig, rng *rand.Rand) (string, func(), error) {
	victim := leading(r, rng)[0]
	name := r.Name(victim)
	if _, err := r.admin(20, r.wanted()...).Drain(r.ctx, name); err == nil {
		r.count.add("drained", 1)
	}
	return "drain " + name, func() {
		if _, err := r.admin(50, r.wanted()...).Undrain(r.ctx, name); err != nil {
			r.say("undrain %s: %v", name, err)
		}
	}, nil
}

// churn joins a new node, and has one leave when it is over: any but the founder,
// through which they join. Who left is the next to join, with nothing on its disk.
func churn(r *rig, rng *rand.Rand) (string, func(), error) {
	who := slices.IndexFunc(r.nodes, func(m *member) bool { return m.out })
	if who < 0 { // the last one could not leave
		return drain(r, rng)
	}
	ctx, cancel := context.WithTimeout(r.ctx, joinWithin)
	defer cancel()
	r.born(who)
	if err := r.join(ctx, who); err != nil {
		r.say("%v", err)
		if who < r.Nodes() {
			r.Kill(who)
		}
		return "a node that could not join", func() {}, nil
	}
	r.count.add("joined", 1)
	m := r.nodes[who]
	m.out = false
	m.expect(true)
	return "join " + r.Name(who), func() {
		list := slices.DeleteFunc(r.some(rng, len(r.nodes)), func(i int) bool { return i == 0 })
		r.leave(rng, list[0])
	}, nil
}

// join starts a node that has nothing yet, or nothing any more.
func (r *rig) join(ctx context.Context, who int) error {
	if who == r.Nodes() {
		_, err := r.Add(ctx)
		return err
	}
	old, err := filepath.Glob(filepath.Join(r.Data(who), "*"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return r.Restart(ctx, who)
}

// leave has a node leave; its process must end with 0.
func (r *rig) leave(rng *rand.Rand, who int) {
	m, name, begin := r.nodes[who], r.Name(who), time.Now()
	m.expect(false)
	err := r.poll(leaveWithin, func() error {
		_, err := r.admin(1, r.someone(rng)).Leave(r.ctx, name)
		return err
	})
	if err != nil {
		m.expect(true)
		r.count.add("not left", 1)
		r.say("%s could not be asked to leave: %v", name, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, leaveWithin)
	defer cancel()
	err = r.Ended(ctx, who)
	if err != nil {
		r.count.add("not left", 1)
		r.say("%s was to leave: %v", name, err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		m.expect(true) // it is still there
		return
	}
	m.out = true
	r.say("%s left after %v", name, time.Since(begin).Round(100*time.Millisecond))
}

// changeProgram restarts a node with the other build: the older one, with which all
// begin, or this tree's. One node always has the older one, so that there is a way
// back for the others.
func changeProgram(r *rig, rng *rand.Rand) (string, func(), error) {
	list := r.some(rng, len(r.nodes))
	newer := 0
	for _, i := range list {
		if r.newer[i] {
			newer++
		}
	}
	for _, i := range list {
		if !r.newer[i] && newer == len(list)-1 {
			continue
		}
		r.newer[i] = !r.newer[i]
		program, what := builds.old, "the older"
		if r.newer[i] {
			program, what = builds.current, "this tree's"
		}
		r.Use(i, program)
		r.restart(i)
		r.count.add("programs changed", 1)
		return fmt.Sprintf("%s runs %s program", r.Name(i), what), func() {}, nil
	}
	return "", nil, errors.New("no node may change its program")
}
