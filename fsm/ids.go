package fsm

import (
	"fmt"
	"strconv"
	"strings"
)

// Typed identifiers: a TeamID cannot be passed where a ClueID belongs. Hunt,
// team and clue ids match [a-z0-9][a-z0-9._-]{0,63}; see ValidID.
type (
	HuntID string
	TeamID string
	ClueID string
	// NodeID is a node's identity, a ULID made at its first start.
	NodeID string
	// PartitionID numbers partitions from 0.
	PartitionID uint16
	// Incarnation tells one life of a hunt id from the next: it is given out by
	// the controller, starts at 1, and is never used twice in a cluster.
	Incarnation uint64
)

// MaxID is the length of the longest hunt, team or clue id, in bytes.
const MaxID = 64

// ValidID reports whether s may be the id of a hunt, a team, a clue or a round.
func ValidID(s string) bool {
	if len(s) == 0 || len(s) > MaxID {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return true
}

// Replica names one node's member of one Raft group. It is Raft's server id
// and its server address ("node.incarnation"): the transport finds the node in
// the member list, so a node may change its address without a configuration
// change. Incarnations are given out by the controller, one counter for the
// whole cluster, and never used twice: a replica that lost its disk comes back
// under another name and cannot vote twice in one term.
type Replica struct {
	Node        NodeID
	Incarnation uint64
}

// String returns "node.incarnation", the form ParseReplica reads.
func (r Replica) String() string {
	return string(r.Node) + "." + strconv.FormatUint(r.Incarnation, 10)
}

// IsZero reports whether r names no replica.
func (r Replica) IsZero() bool { return r.Node == "" }

// ParseReplica reads the form that String writes.
func ParseReplica(s string) (Replica, error) {
	node, inc, ok := strings.Cut(s, ".")
	n, err := strconv.ParseUint(inc, 10, 64)
	if !ok || err != nil || node == "" {
		return Replica{}, fmt.Errorf("replica id %q is not of the form node.incarnation", s)
	}
	return Replica{NodeID(node), n}, nil
}
