//go:build linux

package faulttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
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

// churn joins a new node, and has it leave when it is over.
func churn(r *rig, rng *rand.Rand) (string, func(), error) {
	spare := len(r.nodes) - 1
	if r.spareIsIn { // it could not leave
		return drain(r, rng)
	}
	ctx, cancel := context.WithTimeout(r.ctx, joinWithin)
	defer cancel()
	r.born(spare)
	if err := r.join(ctx, spare); err != nil {
		r.say("%v", err)
		r.Kill(spare)
		return "a node that could not join", func() {}, nil
	}
	r.count.add("joined", 1)
	r.spareIsIn = true
	m := r.nodes[spare]
	m.mu.Lock()
	m.want, m.ran = true, true
	m.mu.Unlock()
	return "join " + r.Name(spare), func() { r.leave(rng, spare) }, nil
}

// join starts the spare node, which has nothing yet.
func (r *rig) join(ctx context.Context, spare int) error {
	if r.Nodes() == spare {
		_, err := r.Add(ctx)
		return err
	}
	old, err := filepath.Glob(filepath.Join(r.Data(spare), "*"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return r.Restart(ctx, spare)
}

// leave has the spare node leave; its process must end with 0.
func (r *rig) leave(rng *rand.Rand, spare int) {
	m, name := r.nodes[spare], r.Name(spare)
	begin := time.Now()
	expect := func(running bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.want, m.ran = running, running
	}
	expect(false)
	err := r.poll(leaveWithin, func() error {
		_, err := r.admin(1, r.someone(rng)).Leave(r.ctx, name)
		return err
	})
	if err != nil {
		expect(true)
		r.count.add("not left", 1)
		r.say("%s could not be asked to leave: %v", name, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, leaveWithin)
	defer cancel()
	if err := r.Ended(ctx, spare); err != nil {
		r.count.add("not left", 1)
		r.say("%s was to leave: %v", name, err)
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
	}
	r.spareIsIn = false
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
