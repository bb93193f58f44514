// Package controller is the state machine of the controller group, which every
// node is in: members, the partition table, the hunt catalogue, tokens, the
// register of snapshots, and the cluster's settings.
package controller
