package group

import (
	"errors"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"cairn/fsm"
)

// Config describes one replica. All fields without a default are required.
type Config struct {
	// ID numbers the group on the wire and on disk.
	ID uint32
	// Name is for logs: "controller" or "p0007".
	Name string
	// Replica is this member's name in the group.
	Replica fsm.Replica
	// Machine is the state; the group owns it from Open on.
	Machine Machine
	// Logs, Stable and Snapshots are the replica's storage.
	Logs      raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
	// Link carries messages; Unsent is what its errors wrap when nothing was sent.
	Link   Link
	Unsent error
	// Sends is shared by the node's groups: its capacity is how many snapshots the
	// node sends at once, and others wait. Nil: no limit.
	Sends chan struct{}
	// Timing of elections; the zero value means DefaultTiming.
	Timing Timing
	// Now is the wall clock, for the times of commands and of appends; nil is time.Now.
	Now func() time.Time
	// Logger receives what raft logs, at its own levels.
	Logger *slog.Logger
	// Fatal is told when the replica cannot go on; it must not return normally
	// in production (the process ends).
	Fatal func(error)
	// OnLeader is called, never concurrently, when this replica gains (true) or
	// loses leadership. It must return quickly.
	OnLeader func(leading bool)
	// Succeeded is told when a peer on another node takes this replica for a later
	// one of its own node, if set. It must return quickly, and is told again and again.
	Succeeded func(as fsm.Replica, by fsm.NodeID)
	// SnapshotTook is told how long a snapshot took, if set.
	SnapshotTook func(time.Duration)
}

// Timing of a group's elections. The lease must not exceed the heartbeat
// timeout, and that not the election timeout.
//
// The defaults are long because heartbeats share the main loop with the disk
// (see the package comment): a stalled disk must not look like a dead leader.
type Timing struct {
	Heartbeat time.Duration // a follower without contact for that long campaigns
	Election  time.Duration // a candidate without a verdict for that long tries again
	Lease     time.Duration // a leader without a quorum's contact for that long steps down
}

// DefaultTiming is what measurements advise for real disks.
var DefaultTiming = Timing{Heartbeat: 2 * time.Second, Election: 2 * time.Second, Lease: 1500 * time.Millisecond}

// Validate reports what is wrong with t.
func (t Timing) Validate() error {
	if t.Lease > t.Heartbeat || t.Heartbeat > t.Election {
		return errors.New("raft timing: lease <= heartbeat <= election must hold")
	}
	if t.Lease < 50*time.Millisecond {
		return errors.New("raft timing: a lease below 50ms cannot be kept")
	}
	return nil
}

const (
	commitTimeout = time.Second // idle appends, much of the idle traffic
	trailingLogs  = 2048        // entries kept behind a snapshot for laggards
	appendBytes   = 2 << 20     // of entries in one append, if they are several; a frame has at most 4 MiB
	never         = 1 << 62     // for raft's own snapshots: ours go by bytes
)

func (c Config) raft() *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.Replica.String())
	rc.HeartbeatTimeout, rc.ElectionTimeout, rc.LeaderLeaseTimeout = c.Timing.Heartbeat, c.Timing.Election, c.Timing.Lease
	rc.CommitTimeout = commitTimeout
	rc.MaxAppendEntries = maxEntries
	rc.TrailingLogs = trailingLogs
	rc.SnapshotThreshold, rc.SnapshotInterval = never, 24*time.Hour
	rc.ShutdownOnRemove = false // the node decides, once it has seen the committed configuration
	rc.NoLegacyTelemetry = true
	rc.Logger = newRaftLogger(c.Logger.With("group", c.Name))
	return rc
}
