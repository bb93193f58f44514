package group

import (
	"fmt"

	"github.com/hashicorp/raft"

	"cairn/fsm"
)

// Adopt makes what a stopped replica has on its disk the beginning of a new
// history, whose only voter is the replica named as: everything in the log is
// applied, whether it is known to be committed or not, written as a snapshot
// with that configuration, and removed from the log. The term is kept, so that
// the new history's entries lie behind the old one's. Machine, Logs, Snapshots,
// Replica (the old name) and Fatal are used of c; Machine must be new.
//
// A crash leaves either the old configuration or one of which the old name is
// no member; adopting again completes it.
func Adopt(c Config, as fsm.Replica) error {
	a := &applier{machine: c.Machine, fatal: c.Fatal}
	newest, err := restoreNewest(a, c.Snapshots)
	if err != nil {
		return fmt.Errorf("restore %s of %s: %w", c.Replica, c.Name, err)
	}
	index, term, err := replay(a, c.Logs, newest.Index, newest.Term)
	if err != nil {
		return fmt.Errorf("replay the log of %s of %s: %w", c.Replica, c.Name, err)
	}
	if index == 0 {
		return fmt.Errorf("replica %s of %s is empty: there is nothing to adopt", c.Replica, c.Name)
	}
	self := raft.Server{ID: raft.ServerID(as.String()), Address: raft.ServerAddress(as.String())}
	adopted := len(newest.Configuration.Servers) == 1 && newest.Configuration.Servers[0] == self
	if index > newest.Index || !adopted {
		a.reach(index)
		if err := persist(a, c.Snapshots, index, term, raft.Configuration{Servers: []raft.Server{self}}); err != nil {
			return fmt.Errorf("write the snapshot of %s for %s: %w", c.Name, as, err)
		}
	}
	return clearLog(c.Logs)
}

// restoreNewest brings the machine to the newest snapshot; without one it is
// left as it is.
func restoreNewest(a *applier, snaps raft.SnapshotStore) (raft.SnapshotMeta, error) {
	list, err := snaps.List()
	if err != nil || len(list) == 0 {
		return raft.SnapshotMeta{}, err
	}
	meta, content, err := snaps.Open(list[0].ID)
	if err != nil {
		return raft.SnapshotMeta{}, err
	}
	return *meta, a.Restore(content) // closes it
}

// replay applies the entries behind a snapshot, and returns the last one's
// index and term.
func replay(a *applier, logs raft.LogStore, index, term uint64) (uint64, uint64, error) {
	last, err := logs.LastIndex()
	if err != nil {
		return 0, 0, err
	}
	for index < last {
		var entry raft.Log
		if err := logs.GetLog(index+1, &entry); err != nil {
			return 0, 0, err
		}
		if entry.Type == raft.LogCommand {
			if err, failed := a.Apply(&entry).(error); failed {
				return 0, 0, err
			}
		}
		index, term = entry.Index, entry.Term
	}
	return index, term, nil
}

func persist(a *applier, snaps raft.SnapshotStore, index, term uint64, conf raft.Configuration) error {
	state, err := a.Snapshot()
	if err != nil {
		return err
	}
	sink, err := snaps.Create(raft.SnapshotVersionMax, index, term, conf, index, &Transport{}) // it encodes names only
	if err != nil {
		return err
	}
	return state.Persist(sink) // closes it
}

func clearLog(logs raft.LogStore) error {
	first, err := logs.FirstIndex()
	if err != nil {
		return err
	}
	last, err := logs.LastIndex()
	if err != nil || last == 0 {
		return err
	}
	return logs.DeleteRange(first, last)
}
