package controller

import (
	"fmt"

	"cairn/fsm"
)

// MemberState is whether a member is there: what the failure detector decided,
// and whether it still belongs. Stored: append only.
type MemberState uint8

const (
	Alive MemberState = iota
	Down
	Left
)

// String returns the API's word.
func (s MemberState) String() string {
	words := [...]string{"alive", "down", "left"}
	if int(s) >= len(words) {
		return fmt.Sprintf("state %d", uint8(s))
	}
	return words[s]
}

// Duty is what an operator wants of a member, whether it is there or not.
// Stored: append only.
type Duty uint8

const (
	Serving  Duty = iota // it holds replicas and leads
	Draining             // it holds replicas and leads nothing
	Leaving              // its replicas go elsewhere, and then it leaves
)

// String returns the API's word.
func (d Duty) String() string {
	words := [...]string{"serving", "draining", "leaving"}
	if int(d) >= len(words) {
		return fmt.Sprintf("duty %d", uint8(d))
	}
	return words[d]
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
	Duty        Duty
	Incarnation uint64 // of its controller replica
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
	// Base and Adopt are of the last recovery with loss, see Recover and Refound.
	// Replicas of an incarnation below Base belong to a history that was given up:
	// they never speak for the partition again. The first of the new one is Base on
	// Adopt's node. It takes over what Adopt has, or, if Adopt has no incarnation,
	// begins with nothing.
	Base  uint64
	Adopt fsm.Replica
}

// Adopter is the replica that takes over Adopt's data; zero if there was no
// recovery, or the last one began with nothing.
func (p *Partition) Adopter() fsm.Replica {
	if p.Adopt.Incarnation == 0 {
		return fsm.Replica{}
	}
	return p.first()
}

// Refounder is the replica that begins with nothing; zero if the partition was not
// founded anew, or was recovered since.
func (p *Partition) Refounder() fsm.Replica {
	if p.Base == 0 || p.Adopt.Incarnation != 0 {
		return fsm.Replica{}
	}
	return p.first()
}

// first is the first replica of a history that a recovery began.
func (p *Partition) first() fsm.Replica {
	return fsm.Replica{Node: p.Adopt.Node, Incarnation: p.Base}
}

// GivenUp reports whether a replica belongs to a history that was given up.
func (p *Partition) GivenUp(r fsm.Replica) bool { return r.Incarnation < p.Base }

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
	Incarnation uint64 // AddMember, RenewMember, Resume
	Hunt        *Hunt  // CreateHunt, PutHunt, SetHuntState, DeleteHunt (as it was; nil if it is forgotten)
	Created     bool   // CreateHunt
	Changed     bool   // whether anything changed
}
