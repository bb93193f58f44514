package controller

import "cairn/fsm"

// Limits. Beyond each of them a command is refused, with a result that every
// replica gives alike: a limit never makes an entry undecodable, for that would
// stop the whole cluster.
const (
	MaxEntry      = 256 << 10 // bytes of one log entry
	MaxMembers    = 1024      // left ones counted; the one that left first is forgotten to make room
	MaxPartitions = 4096
	MaxReplicas   = 64        // of one partition, wished
	MaxHunts      = 10_000    // in the catalogue, deleted ones not counted
	MaxDeleted    = 10_000    // deleted hunts that some partition has not confirmed
	MaxDocument   = 16 << 20  // bytes of a hunt's document, stored (deflated)
	MaxDocuments  = 1 << 30   // bytes of all documents that hunts refer to
	MaxChunk      = 200 << 10 // bytes of one chunk of a document
	MaxUploads    = 16        // complete or partial documents no hunt refers to; the oldest goes
	MaxTokens     = 10_000
	MaxAddress    = 255     // bytes of an address, a node's name, zone or version
	MaxName       = 64      // bytes of the id of a node, a token or the cluster
	MaxReason     = 1_000   // bytes of the reason for a change of state
	MaxSecret     = 4 << 10 // bytes of the CA's certificate, and of the sealed secrets
)

// Feature levels. What a level introduces is proposed only once the cluster's
// level has reached it, which it does when every member speaks it. Append only.
const (
	LevelFirst      = 1 // what the first release speaks
	LevelCheckpoint = 2 // partition.Checkpoint

	// FeatureLevel is the newest level this code speaks.
	FeatureLevel = LevelCheckpoint
)

// Command is one of the command structs below. Every entry carries one.
type Command interface {
	kind() kind
	fields(*codec)
}

// Found is the first command of a cluster; a second one is a Conflict. The
// founder is its first member, holds every partition as the only voter, and is
// the controller's first voter. Replica incarnations are given out here: the
// founder's controller replica is 1, its replica of partition p is 2+p. The
// cluster's feature level is the founder's.
type Found struct {
	Cluster    string // ULID
	Now        fsm.Time
	Member     Member // ID, Name, Address, HTTP, Zone, Version, Level (0 reads as 1); the rest is set here
	Partitions int
	Settings   Settings
	CA         []byte // certificate, PEM
	Secrets    []byte // sealed with the cluster key: the CA's key, token signing keys
	Tokens     []Token
}

// Settings of the whole cluster, fixed at founding. Microseconds.
type Settings struct {
	NodeTimeout   int64
	ReassignAfter int64
}

// AddMember admits a node, or updates the addresses, name, zone and version of
// a member (same ID). It gives out the incarnation of its controller replica
// when it is new: Result.Incarnation is the member's. Name must be unique among
// present members: Conflict. Token names the join token that admits a new
// member; it is checked (role, expiry, uses) and counted in the same command.
// With an empty Token only a known member is updated (else NotFound). One of
// these happens to a new member: Unauthenticated if the token is unknown or
// expired, Forbidden if it is of another role or used up, TooLarge beyond
// MaxMembers, or it is alive with a use of the token counted. A member that is
// present needs no token and counts no use: a joiner may have lost our answer.
// One that has left is a Conflict for good, as is a member that speaks less
// than the cluster's feature level.
type AddMember struct {
	Now    fsm.Time
	Member Member // as in Found
	Token  string // id of the token
}

// RemoveMember marks a member as left. Refused (Conflict) while a partition
// wishes a replica there. Removing it again changes nothing.
type RemoveMember struct {
	Now  fsm.Time
	Node fsm.NodeID
}

// RenewMember gives a member's controller replica a new incarnation, because
// the log of the old one was damaged or lost. Result.Incarnation is the new one.
type RenewMember struct {
	Now  fsm.Time
	Node fsm.NodeID
}

// NodeDown records that members fail their heartbeat checks: all that do at one
// moment, in one entry. From Now on counts how long they have been down. Those
// that are down already, or have left, stay as they are; NotFound if there is no
// such node.
type NodeDown struct {
	Now   fsm.Time
	Nodes []fsm.NodeID
}

// NodeUp records that members which were down are back, as NodeDown does.
type NodeUp struct {
	Now   fsm.Time
	Nodes []fsm.NodeID
}

// SetDuty records what an operator wants of a member. One that leaves may be
// told to stay as long as it has not left. One that has left is a Conflict.
type SetDuty struct {
	Now  fsm.Time
	Node fsm.NodeID
	Duty Duty
}

// SetTargets changes the wished replicas of partitions, all or none. A target
// names nodes; the machine keeps the replica a node already has in the wish and
// gives out a new incarnation to a node that has none. Each change names the
// partition's Epoch it was planned from (Conflict if it moved) and raises it.
// A target has at least one voter, names no node twice, and only members that
// have not left. The table keeps it in order of node.
type SetTargets struct{ Changes []TargetChange }

// TargetChange is one partition's part of SetTargets.
type TargetChange struct {
	Partition fsm.PartitionID
	Epoch     uint64
	Target    []Wish
	Preferred fsm.NodeID // leader wished; one of the target's voters
	// Renew lists nodes of the target whose replica is to be replaced by a new
	// incarnation, because the old one is damaged or lost.
	Renew []fsm.NodeID
}

// Wish is one wished replica of a TargetChange.
type Wish struct {
	Node  fsm.NodeID
	Voter bool
}

// Recover gives up what partitions without a majority may have acknowledged
// beyond one survivor's log: all of them or none. Each gets a new history, whose
// only replica for now is a new incarnation on the survivor's node that takes
// over the survivor's data; all replicas of before are given up, for ever. Epoch
// is the one it was planned from (Conflict if it moved). The survivor is a
// replica on a present member and not given up already (Invalid), and the
// partition is founded (Conflict).
type Recover struct{ Partitions []Recovery }

// Recovery is one partition's part of Recover.
type Recovery struct {
	Partition fsm.PartitionID
	Epoch     uint64
	Survivor  fsm.Replica
}

// Resume begins a new history of the controller's own log, when most of its
// voters are gone for good and one member's copy is all there is. What that copy
// lacks is lost, and so are the numbers that were given out there: every counter,
// version and epoch is raised by Skip, so that none of them comes a second time.
// Every present member gets a new incarnation of its controller replica, Node's
// first (Result.Incarnation): those of before are given up, for ever.
//
// It is never proposed. Whoever recovers the log applies it to the copy, and the
// result is the new history's first snapshot.
type Resume struct {
	Now  fsm.Time
	Node fsm.NodeID // whose copy it is
	Skip uint64     // 1 to MaxSkip: more than can have been given out
}

// MaxSkip bounds Resume: counters stay far from their end.
const MaxSkip = 1 << 44

// MarkFounded records that the founder bootstrapped a partition's group, so
// that nobody ever does again. It raises the epoch of those it changes.
type MarkFounded struct{ Partitions []fsm.PartitionID }

// PutChunk stores one part of a document (deflated JSON) under the SHA-256 of
// the whole. Chunks come in order; a repeated chunk changes nothing. Documents
// no hunt refers to are dropped, oldest first, beyond MaxUploads. A chunk that
// does not follow the last one is Unavailable: upload again from the start.
// When the last chunk has come and the whole has another hash, the upload is
// dropped and the chunk answered Invalid.
type PutChunk struct {
	Hash  [32]byte
	Total int // bytes of the whole
	Off   int
	Data  []byte
}

// CreateHunt puts a complete uploaded document into the catalogue as version 1
// of a new incarnation. The same hash for the same id again answers the hunt
// (Created false) if it is still at version 1; otherwise Conflict. A document
// that is not here whole, perhaps because newer uploads pushed it out, is
// Unavailable: upload it again.
type CreateHunt struct {
	Now   fsm.Time
	Hunt  fsm.HuntID
	Hash  [32]byte
	State string // the state the document asks for: draft, open, paused, closed
}

// PutHunt replaces a hunt's document, which must be here whole as for
// CreateHunt; IfVersion must be the hunt's version (PreconditionFailed). The state stays what SetHuntState last said.
type PutHunt struct {
	Now       fsm.Time
	Hunt      fsm.HuntID
	IfVersion uint64
	Hash      [32]byte
}

// SetHuntState sets the organiser's switch and raises the version; the same
// state again changes nothing.
type SetHuntState struct {
	Now    fsm.Time
	Hunt   fsm.HuntID
	State  string
	Reason string
}

// DeleteHunt removes a hunt from the catalogue. Its incarnation is kept as
// deleted until every partition has confirmed: partitions are told from there.
// An Incarnation names the life that is meant: if that one is gone already,
// nothing changes, and a later life of the id is safe from a retry.
type DeleteHunt struct {
	Now         fsm.Time
	Hunt        fsm.HuntID
	Incarnation fsm.Incarnation // 0: whichever lives
}

// ForgetDeleted drops a deleted incarnation that every partition has confirmed.
// Repeating it changes nothing.
type ForgetDeleted struct{ Incarnation fsm.Incarnation }

// CreateToken stores a token by hash. Its ID and hash must be new (Conflict),
// except that the same token again, which can only be a retry, changes nothing.
type CreateToken struct {
	Now   fsm.Time
	Token Token // Created is set here
}

// RevokeToken removes a token; NotFound if there is none. The last admin token
// that does not expire cannot be revoked (Conflict).
type RevokeToken struct {
	Now fsm.Time
	ID  string
}

// RegisterSnapshots records the newest hunt-state snapshots: of each partition
// the one with the highest index. Older ones change nothing.
type RegisterSnapshots struct{ Snapshots []Snapshot }

// SetFeatureLevel raises the cluster's feature level; it never falls. Refused
// (Conflict) while a member that has not left speaks less. A replica whose code
// speaks less stops when it applies this.
type SetFeatureLevel struct{ Level uint32 }
