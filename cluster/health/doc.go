// Package health decides, from the heartbeats that the controller's leader gets,
// which nodes are there and which are fit to lead. It only decides: time is an
// argument, and the same calls give the same answers.
//
// A node is Alive, Suspect (silent for a moment: whoever it led elects now) or
// Down (silent for so long that the log records it). What is asked of a heartbeat
// is more than that it comes: a node whose disk or CPU has become slow answers
// pings and commits nothing. Such a node is Slow and should lead nothing.
//
// Everything here errs on the side of leaving a node alone: after a change of the
// controller's leader, after a pause of the leader itself, while a node that goes
// up and down has not stayed up for longer than the last time, and when most
// nodes are slow alike, which is the machine's or the network's business.
package health
