package placement

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cairn/fsm"
)

// noisy returns rates that are measured up to Noise too high or too low.
func noisy(r *rand.Rand, rate []float64) []float64 {
	out := slices.Clone(rate)
	for i := range out {
		out[i] *= 1 - Noise + 2*Noise*r.Float64()
	}
	return out
}

// measure returns the rates of nodes, in the order of id, by replica and by
// leadership.
func (w *world) measure(rate []float64) (replicas, leads []float64) {
	at := map[fsm.NodeID]int{}
	for i, n := range w.nodes {
		at[n.ID] = i
	}
	replicas, leads = make([]float64, len(w.nodes)), make([]float64, len(w.nodes))
	for i, row := range w.table {
		leads[at[row.Preferred]] += rate[i]
		for _, t := range row.Target {
			replicas[at[t.Replica.Node]] += rate[i]
		}
	}
	return replicas, leads
}

// peak is the highest over the mean.
func peak(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return slices.Max(x) / (sum / float64(len(x)))
}

// drawRates draws true rates: alike, skewed, or with a few that are very busy.
func drawRates(t *rapid.T, r *rand.Rand, partitions int) []float64 {
	rate := make([]float64, partitions)
	kind := rapid.SampledFrom([]string{"alike", "skewed", "busy few", "two kinds"}).Draw(t, "rates")
	scale := rapid.SampledFrom([]float64{1, 20, 1000}).Draw(t, "scale")
	for i := range rate {
		switch kind {
		case "alike":
			rate[i] = scale
		case "skewed":
			rate[i] = scale * math.Pow(r.Float64(), -0.8)
		case "busy few":
			rate[i] = scale
			if r.IntN(10) == 0 {
				rate[i] *= 20
			}
		case "two kinds":
			rate[i] = scale * float64(1+r.IntN(2))
		}
	}
	return rate
}

// lateRows is how many rows may change in 100 plans after 200 quiet ones: few
// exchanges that pay need a rare measurement to be sure of it.
const lateRows = 16

// TestPlanNoise measures rates anew, up to Noise off, for every plan. Whatever
// they are the table comes to rest and stays there, as even in counts as without
// rates.
func TestPlanNoise(t *testing.T) {
	late, runs, restless, most := 0, 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w, rate, r := drawBusy(t)
		changed := 0
		for quiet := 0; quiet < 200; quiet++ {
			w.rate = noisy(r, rate)
			if n := w.round(t); n > 0 {
				changed, quiet = changed+n, 0
			}
			if changed > 10*len(w.table) {
				t.Fatalf("%d changes of %d partitions and no rest", changed, len(w.table))
			}
		}
		again := 0
		for range 100 {
			w.rate = noisy(r, rate)
			again += w.round(t)
		}
		if again > lateRows {
			t.Fatalf("%d rows changed at rest", again)
		}
		w.mustRest(t)
		if runs, late, most = runs+1, late+again, max(most, changed); again > 0 {
			restless++
		}
	})
	t.Logf("%d runs: at most %d rows changed before rest; in 100 plans at rest %d rows, in %d of the runs", runs, most, late, restless)
}

// drawBusy draws a cluster at rest and true rates for it.
func drawBusy(t *rapid.T) (*world, []float64, *rand.Rand) {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	w := newWorld(rapid.IntRange(1, 64).Draw(t, "partitions"))
	w.slow = rapid.IntRange(0, 2).Draw(t, "slow")
	for _, zone := range []string{"", "x", "y", "z"}[:rapid.IntRange(1, 4).Draw(t, "zones")] {
		w.join(rapid.IntRange(0, 8).Draw(t, "joining"), zone)
	}
	w.settle(t)
	return w, drawRates(t, r, len(w.table)), r
}

// order is what a plan at rest may only lower, whatever the noise: sums of
// squares of the nodes' counts of replicas, of their true rates, and the same of
// leaderships, the first that differs deciding.
func (w *world) order(rate []float64) (out []float64) {
	alike := make([]float64, len(rate))
	for i := range alike {
		alike[i] = 1
	}
	counts, leads := w.measure(alike)
	rates, leadRates := w.measure(rate)
	for _, x := range [][]float64{counts, rates, leads, leadRates} {
		sum := 0.0
		for _, v := range x {
			sum += v * v
		}
		out = append(out, math.Round(sum))
	}
	return out
}

// TestPlanNoiseCannotCycle shows why it rests: each plan lowers an order that
// does not depend on what is measured.
func TestPlanNoiseCannotCycle(t *testing.T) {
	plans := 0
	rapid.Check(t, func(t *rapid.T) {
		w, rate, r := drawBusy(t)
		w.slow = 0
		for range 100 {
			w.rate = noisy(r, rate)
			before := w.order(rate)
			if w.round(t) == 0 {
				continue
			}
			plans++
			if after := w.order(rate); slices.Compare(after, before) >= 0 {
				t.Fatalf("%v became %v", before, after)
			}
		}
	})
	t.Logf("%d plans with changes", plans)
}

// TestPlanRates shows what exchanges are worth: partitions whose rates are Zipf's,
// and a few that are very busy.
func TestPlanRates(t *testing.T) {
	for _, tt := range []struct {
		nodes, partitions int
		kind              string
		replicas, leads   float64 // the most that the busiest node may have, in means
	}{
		{3, 16, "zipf", 1.01, 2},
		{6, 16, "zipf", 2, 3},
		{6, 64, "zipf", 1.5, 1.5},
		{20, 256, "zipf", 2, 4},
		{20, 256, "busy few", 1.5, 2},
		{100, 1024, "busy few", 1.6, 2},
	} {
		w := newWorld(tt.partitions)
		w.join(tt.nodes-1, "")
		w.settle(t)
		r := rand.New(rand.NewPCG(1, 2))
		rate := make([]float64, tt.partitions)
		for i := range rate {
			rate[i] = 100
			switch {
			case tt.kind == "zipf":
				rate[i] = 1e5 / math.Pow(float64(i+1), 0.8)
			case r.IntN(16) == 0:
				rate[i] = 1000
			}
		}
		before, beforeLeads := w.measure(rate)
		w.rate = rate
		made := w.settle(t)
		after, afterLeads := w.measure(rate)
		t.Logf("%d nodes, %d partitions, %s: the busiest node has %.2f of the mean instead of %.2f, %.2f instead of %.2f of leaderships; %d replicas moved",
			tt.nodes, tt.partitions, tt.kind, peak(after), peak(before), peak(afterLeads), peak(beforeLeads), made)
		if peak(after) > tt.replicas || peak(afterLeads) > tt.leads {
			t.Errorf("that is more than %.2f and %.2f", tt.replicas, tt.leads)
		}
		w.mustRest(t)
	}
}
