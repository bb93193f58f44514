package placement

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// rest says what is wrong with a world at rest; empty if nothing is.
func (w *world) rest() string {
	usable, stay, zones, shunned := 0, 0, map[string]bool{}, false
	for _, n := range w.nodes {
		if !n.Leaving {
			stay++
		}
		if !n.Dead && !n.Leaving {
			usable++
			zones[n.Zone] = true
			shunned = shunned || n.Shun
		}
	}
	fixed := false
	for _, row := range w.table {
		if !w.majority(row) {
			fixed = true
			continue
		}
		if bad := w.restRow(row, usable, min(Voters, stay), len(zones)); bad != "" {
			return fmt.Sprintf("partition %d: %s: %+v, nodes %+v", row.ID, bad, row, w.nodes)
		}
	}
	if fixed || usable < Voters {
		return ""
	}
	return w.even(len(zones) < 2, shunned)
}

// restRow holds one row at rest to the promises of Plan.
func (w *world) restRow(row controller.Partition, usable, want, zones int) string {
	voters, spanned, fit, replaceable := 0, map[string]bool{}, 0, false
	for _, t := range row.Target {
		n := w.node(t.Replica.Node)
		spanned[n.Zone] = true
		if t.Voter {
			voters++
			if !n.Dead && !n.Leaving && !n.Shun {
				fit++
			}
		}
		replaceable = replaceable || n.Dead || n.Leaving
	}
	leader := w.node(row.Preferred)
	switch {
	case voters != map[int]int{1: 1, 2: 1, 3: 3}[len(row.Target)]:
		return fmt.Sprintf("%d voters", voters)
	case usable >= want && (len(row.Target) != want || replaceable):
		return fmt.Sprintf("not %d replicas on nodes that live and stay", want)
	case usable < want && len(row.Target) < usable:
		return "not every usable node has a replica"
	case fit > 0 && (leader.Dead || leader.Leaving || leader.Shun):
		return "the wrong leader"
	case usable >= want && len(spanned) < min(want, zones):
		return "a zone too few"
	}
	return ""
}

// even compares the counts of nodes at rest: all of them if zones do not
// matter, those of a zone otherwise. A shunned node may have less.
func (w *world) even(anywhere, shunned bool) string {
	load, leads := w.loads()
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			if a.Dead || a.Leaving || b.Dead || b.Leaving || b.Shun || !anywhere && a.Zone != b.Zone {
				continue
			}
			if load[a.ID]-load[b.ID] > 1 {
				return fmt.Sprintf("%s has %d replicas, %s %d", a.ID, load[a.ID], b.ID, load[b.ID])
			}
			if anywhere && !shunned && leads[a.ID]-leads[b.ID] > 1 {
				return fmt.Sprintf("%s has %d leaderships, %s %d", a.ID, leads[a.ID], b.ID, leads[b.ID])
			}
		}
	}
	return ""
}

func (w *world) mustRest(t failer) {
	t.Helper()
	if bad := w.rest(); bad != "" {
		t.Fatalf("%s", bad)
	}
}

// TestPlanGrows adds nodes one at a time and holds every settled table to the
// promises of Plan; a node that joins causes no more new replicas than it takes.
func TestPlanGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.IntRange(1, 64).Draw(t, "partitions")
		w := newWorld(partitions)
		w.slow = rapid.IntRange(0, 3).Draw(t, "slow")
		nodes := rapid.IntRange(2, 20).Draw(t, "nodes")
		for n := 2; n <= nodes; n++ {
			w.join(1, "")
			made := w.settle(t)
			w.mustRest(t)
			if most := 3 * partitions / n; n > 3 && made > most {
				t.Fatalf("node %d of %d partitions: %d new replicas, its share is %d", n, partitions, made, most)
			}
		}
	})
}

// TestPlanDeath kills a node of an even cluster: exactly its replicas are made
// anew, in one plan. Rarely that cannot be even, whatever the plan, and then some
// more move. When the node is back it gets its share and no more.
func TestPlanDeath(t *testing.T) {
	runs, uneven := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(1, 64).Draw(t, "partitions"))
		w.join(rapid.IntRange(3, 20).Draw(t, "nodes"), "")
		w.settle(t)
		n := rapid.IntRange(0, len(w.nodes)-1).Draw(t, "dead")
		load, _ := w.loads()
		died := load[w.nodes[n].ID]
		w.nodes[n].Dead = true
		made := w.made
		if w.round(t); w.made-made < died || w.made-made > died+MaxMoving {
			t.Fatalf("%d replicas died, %d were made at once", died, w.made-made)
		}
		w.settle(t)
		w.mustRest(t)
		if runs++; w.made-made > died {
			uneven++
		}
		if w.made-made > died+len(w.nodes) {
			t.Fatalf("%d replicas died, %d were made", died, w.made-made)
		}
		w.nodes[n].Dead = false
		if made, most := w.settle(t), 3*len(w.table)/len(w.nodes); made > most {
			t.Fatalf("the node is back: %d replicas were made, its share is %d", made, most)
		}
		w.mustRest(t)
	})
	t.Logf("%d deaths; more replicas moved than died in %d", runs, uneven)
	if uneven > 2+runs/50 {
		t.Errorf("more replicas moved than died in %d of %d deaths", uneven, runs)
	}
}

// TestPlanChurn lets members come, die, return, leave and be shunned in any
// order. Every change on the way is safe (see unsafeChange), and once that ends
// the table comes to rest as promised.
func TestPlanChurn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(1, 40).Draw(t, "partitions"))
		w.slow = rapid.IntRange(0, 4).Draw(t, "slow")
		zones := []string{"x", "y", "z", "w"}[:rapid.IntRange(1, 4).Draw(t, "zones")]
		w.nodes[0].Zone = zones[0]
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			n := &w.nodes[rapid.IntRange(0, len(w.nodes)-1).Draw(t, "who")]
			switch rapid.IntRange(0, 9).Draw(t, "event") {
			case 0, 1:
				w.join(rapid.IntRange(1, 3).Draw(t, "joining"), rapid.SampledFrom(zones).Draw(t, "zone"))
			case 2:
				n.Dead = !n.Dead
			case 3:
				n.Leaving = true
			case 4:
				n.Dead, n.Leaving = true, true
			case 5:
				n.Shun = !n.Shun
			case 6:
				if w.depart(); len(w.nodes) == 0 {
					w.join(1, zones[0])
				}
			}
			for range rapid.IntRange(0, 5).Draw(t, "rounds") {
				w.round(t)
			}
		}
		w.settle(t)
		if !slices.ContainsFunc(w.nodes, func(n Node) bool { return !n.Leaving }) {
			return
		}
		w.mustRest(t)
	})
}

// TestPlanZones lets a cluster with zones grow: every row covers them, and
// within a zone nodes are even. With zones of equal size all nodes are.
func TestPlanZones(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(1, 64).Draw(t, "partitions"))
		sizes := rapid.SliceOfN(rapid.IntRange(1, 6), 1, 5).Draw(t, "sizes")
		w.nodes[0].Zone = "a"
		for z, size := range sizes {
			w.join(size, string(rune('a'+z)))
			if rapid.Bool().Draw(t, "settle") {
				w.settle(t)
				w.mustRest(t)
			}
		}
		w.settle(t)
		w.mustRest(t)
		equal := sizes[0] + 1
		for _, size := range sizes[1:] {
			if size != equal {
				return
			}
		}
		load, leads := w.loads()
		for _, counts := range []map[fsm.NodeID]int{load, leads} {
			least, most := 1<<30, 0
			for _, n := range w.nodes {
				least, most = min(least, counts[n.ID]), max(most, counts[n.ID])
			}
			if len(w.nodes) >= Voters && most-least > 1 {
				t.Fatalf("zones %v: replicas %v, leaderships %v", sizes, load, leads)
			}
		}
	})
}

// TestPlanStable: a plan is complete. Planning from its result changes nothing,
// unless a limit cut it short or a row needs a second replica moved, which it may
// only when the first has arrived.
func TestPlanStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(1, 40).Draw(t, "partitions"))
		w.join(rapid.IntRange(0, 8).Draw(t, "joining"), "")
		if rapid.Bool().Draw(t, "settle") {
			w.settle(t)
		}
		for i := range w.nodes {
			switch rapid.IntRange(0, 6).Draw(t, "fate") {
			case 0:
				w.nodes[i].Dead = true
			case 1:
				w.nodes[i].Shun = true
			case 2:
				w.nodes[i].Leaving = true
			}
		}
		w.join(rapid.IntRange(0, 1).Draw(t, "joining"), "")
		changed := map[fsm.PartitionID]bool{}
		before := slices.Clone(w.table)
		changes := Plan(w.view())
		for _, c := range changes {
			if !w.sameSet(before[c.Partition], c) {
				changed[c.Partition] = true
			}
		}
		w.apply(changes)
		again := Plan(w.view())
		if len(changed) >= MaxMoving || len(again) == 0 {
			return
		}
		for _, c := range again {
			if changed[c.Partition] && !w.sameSet(w.table[c.Partition], c) {
				return
			}
		}
		t.Fatalf("table %+v, nodes %+v:\nplan %v\nand then %v", before, w.nodes, changes, again)
	})
}

// TestPlanWaits holds back moves for balance while others are under way, but
// never copies that are missing.
func TestPlanWaits(t *testing.T) {
	w := newWorld(16)
	w.join(2, "")
	v := w.view()
	for i := range v.Moving {
		v.Moving[i] = true
	}
	if got := len(Plan(v)); got != 16 {
		t.Errorf("%d of 16 partitions get their missing copies while others move", got)
	}
	w.settle(t)
	w.join(1, "")
	for moving := range MaxMoving + 2 {
		v := w.view()
		for i := range moving {
			v.Moving[i] = true
		}
		moves := 0
		for _, c := range Plan(v) {
			if c.Reason == ReasonBalance {
				moves++
			}
		}
		if want := max(0, MaxMoving-moving); moves != want {
			t.Errorf("%d moves for balance with %d under way, want %d", moves, moving, want)
		}
	}
}
