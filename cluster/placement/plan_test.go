package placement

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// world is a table that Plan's changes are carried out on at once.
type world struct {
	nodes []fsm.NodeID
	table []controller.Partition
	next  uint64
}

func newWorld(partitions int) *world {
	w := &world{nodes: []fsm.NodeID{"n00"}}
	for i := range partitions {
		w.next++
		w.table = append(w.table, controller.Partition{
			ID: fsm.PartitionID(i), Preferred: "n00", Founded: true,
			Target: []controller.TargetReplica{{Replica: fsm.Replica{Node: "n00", Incarnation: w.next}, Voter: true}},
		})
	}
	return w
}

// apply carries changes out as the controller's machine does: a node keeps its
// replica, a newcomer gets a new one. It returns how many replicas were made.
func (w *world) apply(changes []controller.TargetChange) (made int) {
	for _, c := range changes {
		row := &w.table[c.Partition]
		old := row.Target
		row.Target, row.Preferred, row.Epoch = nil, c.Preferred, row.Epoch+1
		for _, wish := range c.Target {
			i := slices.IndexFunc(old, func(t controller.TargetReplica) bool { return t.Replica.Node == wish.Node })
			if i < 0 {
				w.next++
				made++
				row.Target = append(row.Target, controller.TargetReplica{Replica: fsm.Replica{Node: wish.Node, Incarnation: w.next}, Voter: wish.Voter})
				continue
			}
			row.Target = append(row.Target, controller.TargetReplica{Replica: old[i].Replica, Voter: wish.Voter})
		}
	}
	return made
}

// settle plans until nothing changes.
func (w *world) settle(t interface{ Fatalf(string, ...any) }) (made int) {
	for range 10 * len(w.table) {
		changes := Plan(View{Nodes: w.nodes, Table: w.table})
		if len(changes) == 0 {
			return made
		}
		made += w.apply(changes)
	}
	t.Fatalf("the plan does not settle")
	return 0
}

// check tells what is wrong with a settled table; empty if nothing is.
func (w *world) check() string {
	load, leads := map[fsm.NodeID]int{}, map[fsm.NodeID]int{}
	for _, row := range w.table {
		voters := 0
		seen := map[fsm.NodeID]bool{}
		for _, r := range row.Target {
			if seen[r.Replica.Node] {
				return fmt.Sprintf("partition %d has two replicas on %s", row.ID, r.Replica.Node)
			}
			seen[r.Replica.Node] = true
			load[r.Replica.Node]++
			if r.Voter {
				voters++
				if r.Replica.Node == row.Preferred {
					leads[row.Preferred]++
				}
			}
		}
		if want := [4]int{0, 1, 1, 3}[min(len(w.nodes), 3)]; voters != want {
			return fmt.Sprintf("partition %d has %d voters on %d nodes", row.ID, voters, len(w.nodes))
		}
		if len(row.Target) != min(3, len(w.nodes)) {
			return fmt.Sprintf("partition %d has %d replicas on %d nodes", row.ID, len(row.Target), len(w.nodes))
		}
		if !seen[row.Preferred] {
			return fmt.Sprintf("partition %d prefers %s, which has no replica", row.ID, row.Preferred)
		}
	}
	if len(w.nodes) < 3 {
		return ""
	}
	for _, counts := range []map[fsm.NodeID]int{load, leads} {
		least, most := 1<<30, 0
		for _, n := range w.nodes {
			least, most = min(least, counts[n]), max(most, counts[n])
		}
		if most-least > 1 {
			return fmt.Sprintf("uneven: replicas %v, leaderships %v", load, leads)
		}
	}
	return ""
}

// TestPlanGrows adds nodes one at a time and holds every settled table to the
// promises of Plan; a node that joins causes no more new replicas than it takes.
func TestPlanGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.IntRange(1, 64).Draw(t, "partitions")
		w := newWorld(partitions)
		for n := 2; n <= rapid.IntRange(2, 20).Draw(t, "nodes"); n++ {
			w.nodes = append(w.nodes, fsm.NodeID(fmt.Sprintf("n%02d", n)))
			made := w.settle(t)
			if bad := w.check(); bad != "" {
				t.Fatalf("%d nodes, %d partitions: %s", n, partitions, bad)
			}
			if most := (3*partitions + n - 1) / n; n > 3 && made > most {
				t.Fatalf("node %d of %d partitions: %d new replicas, its share is %d", n, partitions, made, most)
			}
		}
	})
}

// TestPlanWaits holds back moves for balance while others are under way, but
// never copies that are missing.
func TestPlanWaits(t *testing.T) {
	w := newWorld(16)
	w.nodes = []fsm.NodeID{"n00", "n01", "n02"}
	if got := len(Plan(View{Nodes: w.nodes, Table: w.table, Moving: 16})); got != 16 {
		t.Errorf("%d of 16 partitions get their missing copies while others move", got)
	}
	w.settle(t)
	w.nodes = append(w.nodes, "n03")
	if got := Plan(View{Nodes: w.nodes, Table: w.table, Moving: MaxMoving}); len(got) != 0 {
		t.Errorf("%d moves for balance with %d under way", len(got), MaxMoving)
	}
	if got := w.apply(Plan(View{Nodes: w.nodes, Table: w.table})); got == 0 || got > MaxMoving {
		t.Errorf("%d replicas are made at once for balance, want 1..%d", got, MaxMoving)
	}
}

func TestPlanLarge(t *testing.T) {
	w := newWorld(512)
	for n := range 49 {
		w.nodes = append(w.nodes, fsm.NodeID(fmt.Sprintf("n%02d", n+1)))
	}
	w.settle(t)
	if bad := w.check(); bad != "" {
		t.Error(bad)
	}
}

func TestControllerWant(t *testing.T) {
	nobody := func(fsm.Replica) bool { return false }
	for n, voters := range []int{0, 1, 1, 3, 3, 5, 5, 5, 5} {
		var members []controller.Member
		for i := range n {
			members = append(members, controller.Member{ID: fsm.NodeID(fmt.Sprintf("n%d", i)), Incarnation: uint64(i + 1), Joined: fsm.Time(i)})
		}
		got := 0
		for _, w := range ControllerWant(members, nobody) {
			if w.Voter {
				got++
			}
		}
		if n > 0 && got != voters {
			t.Errorf("%d members: %d voters, want %d", n, got, voters)
		}
	}
	// Who votes stays, though an older member came back.
	members := []controller.Member{{ID: "a", Incarnation: 9, Joined: 1}, {ID: "b", Incarnation: 2, Joined: 2}, {ID: "gone", State: controller.Left}}
	want := ControllerWant(members, func(r fsm.Replica) bool { return r.Node == "b" })
	if len(want) != 2 || want[0].Replica.Node != "b" || !want[0].Voter || want[1].Voter {
		t.Errorf("the present voter does not stay: %+v", want)
	}
}
