// Package controller is the state machine of the controller group, which every
// node is in: members, the partition table, the hunt catalogue, tokens, the
// register of snapshots, and the cluster's settings.
//
// A [Machine] applies entries, each one encoded [Command], and publishes after
// each change a [State] that never changes again. Whoever wants to know
// something asks the State it took:
//
//	st := m.State()
//	row, _ := st.Partition(st.PartitionOf(fsm.SlotOf(hunt, team)))
//
// Everything in one State belongs together: the table, the members it names and
// the hunts are of one moment of the log.
//
// See DESIGN.md for the decisions and what they cost.
package controller
