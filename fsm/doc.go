// Package fsm holds what the replicated state machines share: identifiers,
// the slot function, time, and the one taxonomy of errors.
//
// The machines live below it: [cairn/fsm/controller] owns membership, the
// partition table and the hunt catalogue; [cairn/fsm/partition] owns the teams
// and submissions of a range of slots. Both speak the encoding of
// [cairn/fsm/wire].
//
// Contract. For any machine m and command c, m.Apply(c) depends only on m's
// state and on c. It reads no clock, no random source, no file, no socket and
// no Unicode table (those change with the Go release), and it never ranges
// over a map where the order can reach a result. Time enters as a field of the
// command, stamped once by the leader before the command is proposed.
//
// A command that breaks a rule of the game is rejected: the state does not
// change and the result carries an [*Error]. Every replica rejects it alike. A
// command that cannot be decoded, or whose kind is unknown, is different: this
// replica is older than the cluster or its log is damaged, so Apply returns an
// error that stops the replica. A broken invariant panics.
package fsm
