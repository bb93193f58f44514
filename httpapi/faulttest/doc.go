// Package faulttest hurts clusters of real processes and judges what their clients
// saw.
//
// One run is one cluster, one nemesis and one seed:
//
//   - A rig starts the nodes and keeps them running, as an init system would. Each
//     lives in a network namespace of its own (package netns), and if the nemesis
//     needs it, on a disk that forgets what was not synced (package lazyfs) and with
//     a clock that can be moved (package mutant). Nodes are the program as it is
//     built from this tree; nothing in its source knows of this suite.
//   - Players are processes too, each in a namespace of its own. They play
//     cluster/faulttest's workload, and each writes the history of what it saw.
//   - The nemesis hurts the rig: a quiet time, then faults of random length with
//     pauses between them, all drawn from the seed. Then everything is healed, and
//     every node is asked for everything.
//   - The checkers of cluster/faulttest judge the histories. A run fails on any
//     finding; if a node ended by itself that had no reason to, or said panic; if
//     the cluster did not heal; and if too little happened to prove anything.
//
// "go test" of this package is one short run with a mix of faults. "make jepsen" has
// all nemeses in turn, for TIME each (5m), writes a row for each to the results file
// and prints the table; what the file has for this commit is not run again.
// "make jepsen NEMESIS=halves SEED=7 TIME=2m" is one run. The seed fixes what is
// done and when, not how the processes interleave: a run that found something is
// told by its files, which are kept.
//
// Where there is no root, /dev/net/tun or /dev/fuse, what needs them is left out,
// and the run says so, in capitals.
package faulttest
