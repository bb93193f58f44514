// Package cluster makes a node: a member of the controller group with replicas
// of partition groups, and everything between a request and a log. DESIGN.md
// beside it has the rooms, the invariants, the crash story and the decisions.
package cluster
