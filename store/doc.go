// Package store is everything that a node keeps on disk: its identity and
// keys, the controller's Raft log, one log file for all partition groups, and
// snapshots. It knows nothing of what is in an entry.
//
// Open makes or locks a data directory:
//
//	LOCK                 held with flock for as long as the directory is open
//	VERSION              the format's number
//	files/NAME           small files: identity, certificates, keys, addresses
//	replicas             the register: which replica of which group runs here
//	logs.db              the log of every partition group (bbolt)
//	controller/replica   whose log raft.db is
//	controller/raft.db   the controller's log (raft-boltdb)
//	snapshots/NAME/      the newest snapshots of one group
//	quarantine/          the last damaged log file, for whoever looks into it
//
// Three rules hold everywhere:
//
//   - What was acknowledged survives a power cut. Every write is synced before
//     the call returns, and every file is replaced by a rename.
//   - What was acknowledged is read back as it was written, or not at all.
//     Every byte that matters is under a checksum, and every checksum is vouched
//     for by another one, up to a page that can only be right or recognisably
//     wrong. Damage found while opening is ErrDamaged: the caller throws the
//     replica away and gets a new one. Damage found later ends the process, and
//     the restart finds it again.
//   - An error of the disk ends the process (Options.OnFatal). After a failed
//     sync the kernel has dropped what it could not write, so neither trying
//     again nor carrying on is honest. A call that hangs ends it too: a leader
//     whose disk stalls would keep its followers otherwise.
//
// DESIGN.md beside this file has the formats byte by byte, the story of a crash
// at every step, what damage is found how, and what is not found.
package store
