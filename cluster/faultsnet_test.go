package cluster

import (
	"math/rand/v2"
	"time"
)

// kill is the end of a process, at this very moment: nothing that it writes from
// now on arrives anywhere. Its kernel tells everybody who is connected; without
// power nobody does, and whoever calls waits, until it listens again.
func (m *memNet) kill(name string, power bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if power {
		m.dark[name] = true
	} else if l := m.listeners[name]; l != nil {
		l.Close()
	}
	for e := range m.ends {
		if e.from != name && e.to != name {
			continue
		}
		e.died.Do(func() { close(e.dead) })
		if !power && e.from == name {
			e.Conn.Close()
		}
	}
}

// hold keeps what one node sends to another, or lets it go on: a link that loses
// everything, for TCP.
func (m *memNet) hold(from, to string, on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held[[2]string{from, to}] = on
	m.wake()
}

// delay makes every message from one node to another that much late; 0: no more.
func (m *memNet) delay(from, to string, by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lag[[2]string{from, to}] = by
}

// refuse cuts what is open between two nodes and refuses new connections, or no
// more.
func (m *memNet) refuse(a, b string, on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut[[2]string{a, b}], m.cut[[2]string{b, a}] = on, on
	for e := range m.ends {
		if on && (e.from == a && e.to == b || e.from == b && e.to == a) {
			e.Close()
		}
	}
}

// repair ends all that is wrong with the network, but for the want of power.
func (m *memNet) repair() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.cut)
	clear(m.late)
	clear(m.lag)
	clear(m.mute)
	clear(m.held)
	m.wake()
}

// shape is a way to take links away: who still reaches whom.
type shape struct {
	name  string
	least int // nodes
	links func(nodes []string, rng *rand.Rand) [][2]string
}

// shapes of a partition. The nodes are in a random order.
var shapes = []shape{
	{"isolate one", 2, func(nodes []string, _ *rand.Rand) [][2]string { return between(nodes[:1], nodes[1:]) }},
	{"halves", 3, func(nodes []string, _ *rand.Rand) [][2]string {
		return between(nodes[:len(nodes)/2], nodes[len(nodes)/2:])
	}},
	{"majority and minority", 5, func(nodes []string, _ *rand.Rand) [][2]string { return between(nodes[:2], nodes[2:]) }},
	{"one hears nobody", 2, func(nodes []string, _ *rand.Rand) [][2]string { return oneWay(nodes[1:], nodes[:1]) }},
	{"one reaches nobody", 2, func(nodes []string, _ *rand.Rand) [][2]string { return oneWay(nodes[:1], nodes[1:]) }},
	{"one link, one way", 2, func(nodes []string, _ *rand.Rand) [][2]string { return oneWay(nodes[:1], nodes[1:2]) }},
	{"bridge", 3, func(nodes []string, _ *rand.Rand) [][2]string {
		half := (len(nodes) - 1) / 2
		return between(nodes[1:1+half], nodes[1+half:]) // nodes[0] reaches both
	}},
	{"majority ring", 5, func(nodes []string, _ *rand.Rand) (links [][2]string) {
		for i, a := range nodes { // each reaches its two neighbours
			for j, b := range nodes {
				if d := (j - i + len(nodes)) % len(nodes); d > 1 && d < len(nodes)-1 {
					links = append(links, [2]string{a, b})
				}
			}
		}
		return links
	}},
	{"random links", 3, func(nodes []string, rng *rand.Rand) (links [][2]string) {
		for _, link := range append(between(nodes[:1], nodes[1:]), between(nodes[1:2], nodes[2:])...) {
			if rng.IntN(2) == 0 {
				links = append(links, link)
			}
		}
		return links
	}},
}

// oneWay are the links from some nodes to others, between those in both directions.
func oneWay(from, to []string) (links [][2]string) {
	for _, a := range from {
		for _, b := range to {
			links = append(links, [2]string{a, b})
		}
	}
	return links
}

func between(some, others []string) [][2]string {
	return append(oneWay(some, others), oneWay(others, some)...)
}
