//go:build linux

package faulttest

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cairn/httpapi/client"
)

// measureEvery is how often the nodes' counters are read.
const measureEvery = time.Second

// leaderMeter adds up a counter over the lives of nodes. What a node counted after
// the last look of a life is lost: the sum is a lower bound.
type leaderMeter struct {
	mu   sync.Mutex
	last map[int]float64
	sum  float64
}

func (m *leaderMeter) take(node int, value float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil {
		m.last = map[int]float64{}
	}
	if was, known := m.last[node]; known && value >= was {
		m.sum += value - was
	} else if known {
		m.sum += value // a new life
	}
	m.last[node] = value
}

// begin forgets what was counted so far: it was the founding.
func (m *leaderMeter) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sum = 0
}

func (m *leaderMeter) total() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int(m.sum)
}

// measure reads the nodes' counts of leader changes until the rig ends.
func (r *rig) measure() {
	for wait(r.ctx, measureEvery) {
		for _, i := range r.wanted() {
			if v, ok := r.metric(i, "cairn_raft_leader_changes_total"); ok {
				r.meter.take(i, v)
			}
		}
	}
}

// metric is the sum of a metric's samples on a node.
func (r *rig) metric(i int, name string) (sum float64, ok bool) {
	ctx, cancel := context.WithTimeout(r.ctx, measureEvery/2)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.known.URLs[i]+"/metrics", nil)
	if err != nil {
		return 0, false
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(io.LimitReader(resp.Body, 8<<20)); s.Scan(); {
		if rest, is := strings.CutPrefix(s.Text(), name+"{"); is {
			if _, value, cut := strings.Cut(rest, "} "); cut {
				v, _ := strconv.ParseFloat(value, 64) // what is no number counts nothing
				sum, ok = sum+v, true
			}
		}
	}
	return sum, ok && resp.StatusCode == http.StatusOK
}

// someone is a node that should run.
func (r *rig) someone(rng *rand.Rand) int {
	list := r.wanted()
	return list[rng.IntN(len(list))]
}

// some are n different nodes that should run, if there are so many.
func (r *rig) some(rng *rand.Rand, n int) []int {
	list := r.wanted()
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(n, len(list))]
}

// others are the nodes that there may be without some.
func (r *rig) others(some ...int) (list []int) {
	for i := range r.nodes {
		if !slices.Contains(some, i) {
			list = append(list, i)
		}
	}
	return list
}

// ask asks nodes in a random order until one answers.
func (r *rig) ask(rng *rand.Rand, question func(ctx context.Context, cl *client.Client) error) {
	for _, i := range r.some(rng, len(r.nodes)) {
		ctx, cancel := context.WithTimeout(r.ctx, time.Second)
		err := question(ctx, r.admin(1, i))
		cancel()
		if err == nil {
			return
		}
	}
}

// leader is the node that leads most partitions, as far as can be told; else anyone.
func (r *rig) leader(rng *rand.Rand) int {
	leads := map[string]int{}
	r.ask(rng, func(ctx context.Context, cl *client.Client) error {
		table, err := cl.Routing(ctx)
		if err != nil {
			return err
		}
		for _, p := range table.Partitions {
			leads["http://"+strings.TrimPrefix(p.Leader, "http://")]++
		}
		return nil
	})
	best := -1
	for _, i := range r.wanted() {
		if n := leads[r.known.URLs[i]]; n > 0 && (best < 0 || n > leads[r.known.URLs[best]]) {
			best = i
		}
	}
	if best < 0 {
		return r.someone(rng)
	}
	return best
}

// controller is the node that leads the controller's group; else anyone.
func (r *rig) controller(rng *rand.Rand) int {
	found := -1
	r.ask(rng, func(ctx context.Context, cl *client.Client) error {
		cluster, err := cl.Cluster(ctx)
		if err != nil {
			return err
		}
		for _, n := range cluster.Nodes {
			if n.ID == cluster.ControllerLeader && cluster.ControllerLeader != "" {
				found = r.named(n.Name)
			}
		}
		return nil
	})
	if found < 0 || !slices.Contains(r.wanted(), found) {
		return r.someone(rng)
	}
	return found
}

// named is the number of a node, -1 if it is none of this rig's.
func (r *rig) named(name string) int {
	for i := range r.Nodes() {
		if r.Name(i) == name {
			return i
		}
	}
	return -1
}
