// Package store is everything that a node keeps on disk: its identity and
// keys, the controller's Raft log, one log for all partition groups, and
// snapshots. It knows nothing of what is in an entry.
//
// Open makes or locks a data directory:
//
//	LOCK                 held with flock for as long as the directory is open
//	VERSION              the format's number
//	files/NAME           small files: identity, certificates, keys, addresses
//	replicas             the register: which replica of which group runs here
//	logs/NUMBER.log      the log of all partition groups, in segments
//	logs/segments        which segments there are
//	logs/spare           a file to make the next segment of
//	controller/replica   whose log raft.db is
//	controller/raft.db   the controller's log (raft-boltdb)
//	snapshots/NAME/      the newest snapshots of one group
//	quarantine/          the last damaged log, for whoever looks into it
//
// Three rules hold everywhere:
//
//   - What was acknowledged survives a power cut. Every write is synced before
//     the call returns, and what a start finds is synced before anybody builds on
//     it.
//   - What was acknowledged is read back as it was written, or not at all.
//     Every byte that matters is under a checksum, and every checksum is vouched
//     for by another one, up to one that can only be right or recognisably wrong.
//     There is one limit: what a crash leaves of the last batch in the newest
//     segment is forgotten, and a disk that clears a sector there leaves the same.
//     Damage found while opening is ErrDamaged: the caller throws the replica away
//     and gets a new one. Damage found later ends the process, and the restart
//     finds it again.
//   - An error of the disk ends the process (Options.OnFatal). After a failed
//     sync the kernel has dropped what it could not write, so neither trying
//     again nor carrying on is honest. A call that hangs ends it too: a leader
//     whose disk stalls would keep its followers otherwise.
//
// DESIGN.md beside this file has the formats byte by byte, the story of a crash
// at every step, what damage is found how, and what is not found.
package store
