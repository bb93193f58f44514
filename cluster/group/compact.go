package group

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// Snapshots are taken when the log has grown enough to pay for writing the
// whole state: by bytes, because entries are batches of very different size,
// and by entries, because each costs time at a restart.
const (
	snapshotEvery   = 5 * time.Second // how often growth is looked at
	snapshotBytes   = 8 << 20         // applied since the last one
	snapshotEntries = 4 * trailingLogs
)

func (g *Group) snapshotLoop(ctx context.Context) {
	defer g.running.Done()
	g.rememberSnapshot()
	tick := time.NewTicker(snapshotEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if g.grown() {
			g.Snapshot()
		}
	}
}

// grown reports whether a snapshot pays: the log behind the last one is large,
// and larger than half of that snapshot.
func (g *Group) grown() bool {
	size, index := int64(0), uint64(0)
	if last := g.LastSnapshot(); last != nil {
		size, index = last.Size, last.Index
	}
	bytes := g.fsm.bytes.Load()
	return bytes > max(snapshotBytes, size/2) || g.Applied()-min(index, g.Applied()) > snapshotEntries
}

// Snapshot writes the machine's state and cuts the log behind it. The machine
// goes on meanwhile.
func (g *Group) Snapshot() error {
	start := time.Now()
	err := g.raft.Snapshot().Error()
	if errors.Is(err, raft.ErrNothingNewToSnapshot) || errors.Is(err, raft.ErrRaftShutdown) {
		return nil
	}
	if err != nil {
		g.conf.Logger.Warn("taking a snapshot failed, trying again", "group", g.conf.Name, "err", err)
		return err
	}
	if g.conf.SnapshotTook != nil {
		g.conf.SnapshotTook(time.Since(start))
	}
	g.rememberSnapshot()
	return nil
}

func (g *Group) rememberSnapshot() {
	if list, err := g.conf.Snapshots.List(); err == nil && len(list) > 0 {
		g.snapshots.Store(list[0])
	}
}

// LastSnapshot describes the newest snapshot; nil if there is none.
func (g *Group) LastSnapshot() *raft.SnapshotMeta { return g.snapshots.Load() }
