// Package placement decides where replicas and leaders belong and how a group
// gets there. It only decides: every function is pure, and the same view gives
// the same answer.
//
// [Plan] compares the table with the members and says which rows to change: the
// controller's leader commits them. [Next] compares one group's committed
// configuration with its row and says the next single step: the group's leader
// takes it, looks again, and plans again. Nothing remembers a plan, so a crash
// at any point loses nothing.
package placement
