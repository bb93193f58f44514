// Package placement decides where replicas and leaders belong and how a group
// gets there. It only decides: every function is pure, and the same view gives
// the same answer.
//
// [Plan] compares the table with the members and says which rows to change: the
// controller's leader commits them. [Next] compares one group's committed
// configuration with its row and says the next single step: the group's leader
// takes it, looks again, and plans again. [ControllerWant] says who should vote
// in the controller's own group. Nothing remembers a plan, so a crash at any
// point loses nothing.
//
// # What comes first
//
// Plan pursues five ends, each only as far as it does not harm the ones before:
//
//  1. Copies: every row has as many replicas as the members allow, on nodes that
//     live and stay.
//  2. Zones: a row covers as many zones as it can, up to three.
//  3. Counts of replicas: no two nodes differ by more than one.
//  4. Rates of replicas: at equal counts, a node that does clearly more than
//     others gives a busy partition for a quiet one.
//  5. Leaderships: first their counts, then their rates, in the same way.
//
// So measured load decides which partitions a node holds, not how many: disk,
// memory and the work after a node's death stay even whatever the load does. A
// leader counts twice, as one of the replicas and as one of the leaderships.
//
// # Why it comes to rest
//
// Each change improves one of the five and leaves the ones before it as they
// were. The first three and the counts of leaderships are whole numbers and
// known exactly. An exchange by rate must pay even if every rate that speaks for
// it was measured [Noise] too high and every one that speaks against it [Noise]
// too low. So it lowers the true sum of squares whatever the noise was, which
// can happen only so often: rates that vary by no more than that cannot keep a
// table moving.
package placement
