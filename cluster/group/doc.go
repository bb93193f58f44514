// Package group is the glue between Cairn's state machines and hashicorp/raft:
// one [Group] is this node's replica of one Raft group.
//
//	submissions, reads            peers
//	       |                        |
//	    [Queue]                [Transport] <--- link (one connection a node pair,
//	       | one entry in flight    |                shared by all groups)
//	    [Pacer] (waves, node-wide)  |
//	       v                        v
//	                   raft.Raft
//	       |                        |
//	  machine (fsm)          store (one sync for all groups)
//
// hashicorp/raft knows only single groups: each group is a raft.Raft of its own,
// while the connection and the disk are shared.
//
// Five of the library's traps are closed here, each with a test:
//
//   - Heartbeats are never handled beside the main loop (its issue 695 loses
//     acknowledged entries that way): Transport ignores SetHeartbeatHandler.
//   - Pipelining is refused (its issues 611 and 612): one append is under way to
//     a follower at a time, and batches grow instead.
//   - A follower that was unreachable for long would be left alone for up to ten
//     seconds after its return (exponential backoff): an append to a node that
//     cannot be reached waits inside the transport until it can.
//   - Committed entries are not restored before the start (RestoreCommittedLogs of
//     v1.8.0): it skips configuration entries among them, so that a restarted
//     voter knows no peers and can neither vote nor lead, and it blocks for ever
//     on more entries than its queue holds.
//   - A proposal whose entry was committed but not yet applied when the replica
//     stops is never answered: Close ends the wait (see await), as unknown.
//
// Reads never use VerifyLeader, which counts acknowledgements of messages sent
// before the call: they ride the log, see [Queue].
package group
