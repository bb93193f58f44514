package placement

import (
	"math/rand/v2"
	"testing"
	"time"
)

// The size that must plan in well under a second.
const (
	largeNodes      = 1000
	largePartitions = 4096
)

var threeZones = []string{"x", "y", "z"}

// TestPlanLarge lets a large cluster live through its life, to rest after each
// stage: founding, a wave of joins, deaths of a tenth, their return, leaves, zones,
// the death of a zone.
func TestPlanLarge(t *testing.T) {
	if testing.Short() || raced {
		t.Skip("takes seconds")
	}
	w := newWorld(largePartitions)
	w.nodes[0].Zone = "x"
	for _, stage := range []struct {
		name   string
		events int
		do     func(k int) // the k-th of them; then it is planned once
	}{
		{"600 nodes found it", 1, func(int) { w.join(599, "x") }},
		{"400 more join", 1, func(int) { w.join(400, "x") }},
		{"a tenth dies, one after another", 100, func(k int) { w.nodes[10*k+3].Dead = true }},
		{"and comes back", 100, func(k int) { w.nodes[10*k+3].Dead = false }},
		{"20 leave", 20, func(k int) { w.nodes[50*k+7].Leaving = true }},
		{"there are three zones", 1, func(int) {
			for k := range w.nodes {
				w.nodes[k].Zone = threeZones[k%3]
			}
		}},
		{"one of them dies", 1, func(int) {
			for k := range w.nodes {
				w.nodes[k].Dead = w.nodes[k].Zone == "x"
			}
		}},
	} {
		made, handed, plans := w.made, w.handed, 0
		var longest, total time.Duration
		for changed := true; changed || plans < stage.events; plans++ {
			if plans < stage.events {
				stage.do(plans)
			}
			v := w.view()
			began := time.Now()
			changes := Plan(v)
			took := time.Since(began)
			longest, total = max(longest, took), total+took
			w.apply(changes)
			if changed = len(changes) > 0; plans > 3*largePartitions {
				t.Fatalf("%s: no rest after %d plans", stage.name, plans)
			}
		}
		w.mustRest(t)
		w.depart()
		t.Logf("%s: %d plans in %v, the longest %v; %d replicas made, %d leaderships of fit nodes moved",
			stage.name, plans, total.Round(time.Millisecond), longest.Round(time.Microsecond), w.made-made, w.handed-handed)
	}
}

// largeWorld is a large cluster at rest, with rates or without.
func largeWorld(zones []string, rates bool) *world {
	w := newWorld(largePartitions)
	w.nodes[0].Zone = zones[0]
	for k := 1; k < largeNodes; k++ {
		w.join(1, zones[k%len(zones)])
	}
	rest := func() {
		for changes := Plan(w.view()); len(changes) > 0; changes = Plan(w.view()) {
			w.apply(changes)
		}
	}
	w.apply(Plan(w.view()))
	w.nodes[0].Leaving = true // which is faster than to give away in small portions
	rest()
	w.depart()
	if rates {
		r := rand.New(rand.NewPCG(1, 2))
		for range w.table {
			w.rate = append(w.rate, 1000*r.ExpFloat64())
		}
	}
	rest()
	return w
}

// BenchmarkPlan plans for a large cluster.
func BenchmarkPlan(b *testing.B) {
	for _, bench := range []struct {
		name  string
		zones []string
		rates bool
		event func(w *world)
	}{
		{"rest", []string{"x"}, false, func(*world) {}},
		{"rest with zones", threeZones, false, func(*world) {}},
		{"rest with zones and rates", threeZones, true, func(*world) {}},
		{"join", []string{"x"}, false, func(w *world) { w.join(1, "x") }},
		{"death", []string{"x"}, false, func(w *world) { w.nodes[500].Dead = true }},
		{"death of a zone", threeZones, false, func(w *world) {
			for i := range w.nodes {
				w.nodes[i].Dead = w.nodes[i].Zone == "z"
			}
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			w := largeWorld(bench.zones, bench.rates)
			bench.event(w)
			v := w.view()
			b.ReportAllocs()
			for b.Loop() {
				Plan(v)
			}
		})
	}
	b.Run("founding", func(b *testing.B) {
		w := newWorld(largePartitions)
		w.join(largeNodes-1, "")
		v := w.view()
		b.ReportAllocs()
		for b.Loop() {
			Plan(v)
		}
	})
}
