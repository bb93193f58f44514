package placement

import (
	"slices"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// GiveBack returns the replicas that nodes which a change adds to a row still have
// in the row's group, from the time before the row wished something else: members
// of the configuration that answer. Wished again under their own names they need
// not be made anew; under new ones they would have to leave first, and the group
// would have a voter less until they are copied.
func GiveBack(row controller.Partition, c controller.TargetChange, members []Member) (back []fsm.Replica) {
	for _, w := range c.Target {
		if slices.ContainsFunc(row.Target, func(t controller.TargetReplica) bool { return t.Replica.Node == w.Node }) {
			continue
		}
		var newest fsm.Replica
		for _, m := range members {
			if m.Replica.Node == w.Node && m.Alive && !row.GivenUp(m.Replica) && m.Replica.Incarnation > newest.Incarnation {
				newest = m.Replica
			}
		}
		if !newest.IsZero() {
			back = append(back, newest)
		}
	}
	return back
}
