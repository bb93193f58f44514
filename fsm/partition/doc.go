// Package partition is the state machine of one partition: the hunts installed
// in it, and the teams and submissions of its range of slots.
//
// [Machine.Apply] takes log entries, which [Batch] makes: batches of commands,
// each stamped with its leader's time. It answers one [Result] a command. All
// rules of the game that need no text of a clue are here; the leader has
// matched the answer before, and says so in [Submit].Match.
//
// [Machine.Freeze] takes a snapshot without stopping Apply; [Restore] reads it
// back and derives again what can be derived. Queries ([Machine.Team],
// [Machine.Board] and the others) read the present state.
//
// Commands, results and answers have encodings to travel between nodes. fsm's
// DESIGN.md has their tables, the invariants, and the reasons for all this.
package partition
