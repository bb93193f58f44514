package rest

import (
	"slices"

	"cairn/fsm"
)

// Routing tells clients that go to the leader directly where it is.
type Routing struct {
	Version      uint64           `json:"version"`
	SlotFunction int              `json:"slot_function"`
	Partitions   []RoutePartition `json:"partitions"`
}

// Leader returns the HTTP address of the node that leads the team's partition:
// empty if no leader is known, or slots are counted in a way that is not known
// here. Any node serves any request; the leader's saves a hop.
func (r *Routing) Leader(hunt fsm.HuntID, team fsm.TeamID) string {
	if r.SlotFunction != fsm.SlotVersion {
		return ""
	}
	slot := fsm.SlotOf(hunt, team)
	i, found := slices.BinarySearchFunc(r.Partitions, slot, func(p RoutePartition, s fsm.Slot) int {
		switch {
		case p.Slots[1] < s:
			return -1
		case p.Slots[0] > s:
			return 1
		}
		return 0
	})
	if !found {
		return ""
	}
	return r.Partitions[i].Leader
}

// RoutePartition is one partition's slots and its leader's HTTP address.
type RoutePartition struct {
	ID     fsm.PartitionID `json:"id"`
	Slots  [2]fsm.Slot     `json:"slots"`
	Leader string          `json:"leader,omitempty"`
}

// Cluster is the cluster at a glance.
type Cluster struct {
	ID               string     `json:"id"`
	Version          string     `json:"version"`
	FeatureLevel     uint32     `json:"feature_level"`
	ControllerLeader fsm.NodeID `json:"controller_leader,omitempty"`
	Nodes            []Node     `json:"nodes"`
	Partitions       int        `json:"partitions"`
	TableVersion     uint64     `json:"table_version"`
	Hunts            int        `json:"hunts"`
}

// Node is a member of the cluster.
type Node struct {
	ID         fsm.NodeID `json:"id"`
	Name       string     `json:"name"`
	Address    string     `json:"address"`
	HTTP       string     `json:"http"`
	Zone       string     `json:"zone,omitempty"`
	State      string     `json:"state" enum:"alive,suspect,down,draining,left"`
	Duty       string     `json:"duty,omitempty" enum:"draining,leaving"` // what an operator asked for; absent: nothing
	Slow       bool       `json:"slow,omitempty"`                         // leads nothing while its disk, CPU or clock is not fit
	Controller string     `json:"controller" enum:"leader,voter,non_voter"`
	Version    string     `json:"version"`
	Load       *Load      `json:"load,omitempty"`
}

// Load is what a node last told of itself.
type Load struct {
	Replicas   int     `json:"replicas"`
	Leading    int     `json:"leading"`
	CPU        float64 `json:"cpu"`         // cores in use
	QueueDepth int     `json:"queue_depth"` // submissions waiting
	AgeMS      int64   `json:"age_ms"`      // since it was told
}

// NewLeader is the body of a transfer.
type NewLeader struct {
	To string `json:"to"` // a node's id, its name, or the beginning of its id
}

// Nodes lists the members.
type Nodes struct {
	Nodes []Node `json:"nodes"`
}

// Partition is a partition as it is (replicas) and as it is wished (target).
type Partition struct {
	ID        fsm.PartitionID `json:"id"`
	Slots     [2]fsm.Slot     `json:"slots"`
	Epoch     uint64          `json:"epoch"`
	Leader    fsm.NodeID      `json:"leader,omitempty"`
	Preferred fsm.NodeID      `json:"preferred"`
	State     string          `json:"state" enum:"ok,repairing,quorum_lost"`
	Replicas  []ReplicaInfo   `json:"replicas"`
	Target    []fsm.NodeID    `json:"target"`
}

// ReplicaInfo is one member of a group's committed configuration.
type ReplicaInfo struct {
	Node     fsm.NodeID `json:"node"`
	Role     string     `json:"role" enum:"voter,non_voter"`
	Applied  uint64     `json:"applied"`
	CaughtUp bool       `json:"caught_up"`
}

// Partitions lists all partitions.
type Partitions struct {
	Partitions []Partition `json:"partitions"`
}

// Recover is the body of a recovery with loss.
type Recover struct {
	Partitions []fsm.PartitionID `json:"partitions,omitempty"`  // none: all that have lost their majority
	AcceptLoss bool              `json:"accept_loss,omitempty"` // without it nothing is done, and the answer says what would be
}

// Recoveries is what a recovery gives up, or would.
type Recoveries struct {
	Done       bool       `json:"done"`
	Recoveries []Recovery `json:"recoveries"`
}

// Recovery is one partition's: it goes on from what a survivor has.
type Recovery struct {
	Partition fsm.PartitionID `json:"partition"`
	Survivor  fsm.NodeID      `json:"survivor"`
	Last      uint64          `json:"last"`     // index of its newest log entry
	GivenUp   []fsm.NodeID    `json:"given_up"` // whose replicas do not count any more
}

// NewCheckpoint is the body of a checkpoint.
type NewCheckpoint struct {
	Partitions []fsm.PartitionID `json:"partitions,omitempty"` // none: all
}

// Checkpoints are the partitions that were compared, by id.
type Checkpoints struct {
	Partitions []Checkpoint `json:"partitions"`
}

// Checkpoint is the states of a partition's replicas behind one entry of its log.
type Checkpoint struct {
	ID       fsm.PartitionID `json:"id"`
	Index    uint64          `json:"index,omitempty"`  // of the entry; absent: nothing was compared
	Agree    bool            `json:"agree"`            // there are hashes, and all are equal
	Detail   string          `json:"detail,omitempty"` // why nothing was compared
	Replicas []ReplicaHash   `json:"replicas"`         // by node
}

// ReplicaHash is one replica's state in a checkpoint.
type ReplicaHash struct {
	Node    fsm.NodeID `json:"node"`
	Hash    string     `json:"hash,omitempty"`    // SHA-256 in hex; absent: missing
	Differs bool       `json:"differs,omitempty"` // from most others; from any if most agree on none
	Missing string     `json:"missing,omitempty"` // why there is no hash: this tells nothing of the state
}

// Snapshot is one entry of the register of hunt-state snapshots.
type Snapshot struct {
	Partition fsm.PartitionID `json:"partition"`
	Node      fsm.NodeID      `json:"node"`
	Index     uint64          `json:"index"`
	Term      uint64          `json:"term"`
	Size      int64           `json:"size"`
	Taken     fsm.Time        `json:"taken_at"`
}

// Snapshots lists the register.
type Snapshots struct {
	Snapshots []Snapshot `json:"snapshots"`
}

// Check is one check of /livez or /readyz.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}
