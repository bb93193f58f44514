// Package partition is the state machine of one partition: the hunts installed
// in it, and the teams and submissions of its range of slots.
package partition
