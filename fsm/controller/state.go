package controller

import (
	"fmt"

	"cairn/fsm"
)

// MemberState is what the cluster believes of a member. Stored: append only.
type MemberState uint8

const (
	Alive MemberState = iota
	Suspect
	Down
	Draining
	Left
)

// String returns the API's word.
func (s MemberState) String() string {
	words := [...]string{"alive", "suspect", "down", "draining", "left"}
	if int(s) >= len(words) {
		return fmt.Sprintf("state %d", uint8(s))
	}
	return words[s]
}

// Member is a node of the cluster.
type Member struct {
	ID          fsm.NodeID
	Name        string
	Address     string // of the node port, host:port
	HTTP        string // of the API, host:port
	Zone        string
	Version     string // of its build
	Level       uint32 // newest feature level it speaks, at least 1
	State       MemberState
	Since       fsm.Time // of State
	Incarnation uint64   // of its controller replica
	Joined      fsm.Time
}

// Partition is one row of the table. The table is the wish; a group's committed
// Raft configuration is the fact.
type Partition struct {
	ID        fsm.PartitionID
	Range     fsm.Range
	Epoch     uint64          // raised by every change of the row
	Target    []TargetReplica // in order of node
	Preferred fsm.NodeID
	Founded   bool
}

// TargetReplica is a wished replica.
type TargetReplica struct {
	Replica fsm.Replica
	Voter   bool
}

// Hunt is a catalogue entry.
type Hunt struct {
	ID          fsm.HuntID
	Incarnation fsm.Incarnation
	Version     uint64
	Document    uint64 // the version that brought the document in force
	State       string // draft, open, paused, closed
	Reason      string // of the last change of state
	Hash        [32]byte
	Created     fsm.Time
	Changed     fsm.Time
}

// Token is an admin, organizer or join token. The secret itself is not here.
type Token struct {
	ID      string
	Role    string     // admin, organizer, join
	Hunt    fsm.HuntID // organizer: empty for all hunts
	Hash    [32]byte   // SHA-256 of the whole token string
	Created fsm.Time
	Expires fsm.Time // zero: never
	Uses    uint32   // left, of a join token that is Limited
	Limited bool     // Uses counts
}

// Snapshot is a register entry: a partition's newest hunt-state snapshot, and
// the replica that has it.
type Snapshot struct {
	Partition fsm.PartitionID
	Replica   fsm.Replica
	Index     uint64
	Term      uint64
	Size      int64
	Taken     fsm.Time
}

// Result is what Apply returns: Err, or the fields of the command's kind. Err
// and Changed come together only where a command's comment says so.
type Result struct {
	Err         *fsm.Error
	Incarnation uint64 // AddMember, RenewMember
	Hunt        *Hunt  // CreateHunt, PutHunt, SetHuntState, DeleteHunt (as it was; nil if it is forgotten)
	Created     bool   // CreateHunt
	Changed     bool   // whether anything changed
}
