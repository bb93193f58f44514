package group

import (
	"fmt"

	"github.com/hashicorp/raft"

	"cairn/fsm"
)

// Copy is what a stopped replica has on its disk.
type Copy struct {
	Index, Term   uint64 // of its last entry, committed or not; 0: it is empty
	Configuration Configuration
}

// Of reports whether the copy is one whose only member is r.
func (c Copy) Of(r fsm.Replica) bool {
	return len(c.Configuration.Servers) == 1 && c.Configuration.Servers[0] == Server{r, true}
}

// Read brings a new machine to the end of what a stopped replica has on its disk:
// everything in its log is applied, whether it is known to be committed or not.
// Machine, Logs (nil: there is none), Snapshots, Replica and Name of c are used.
func Read(c Config) (Copy, error) {
	a := c.applier()
	newest, err := restoreNewest(a, c.Snapshots)
	if err != nil {
		return Copy{}, fmt.Errorf("restore %s of %s: %w", c.Replica, c.Name, err)
	}
	conf, err := configuration(newest.ConfigurationIndex, newest.Configuration)
	if err != nil {
		return Copy{}, err
	}
	have := Copy{newest.Index, newest.Term, conf}
	if c.Logs == nil {
		return have, nil
	}
	if err := replay(a, c.Logs, &have); err != nil {
		return Copy{}, fmt.Errorf("replay the log of %s of %s: %w", c.Replica, c.Name, err)
	}
	return have, nil
}

// Begin writes the machine of c as the beginning of a new history behind have,
// whose only voter is the replica named as. The term is kept, so that the new
// history's entries lie behind the old one's. The log is left as it is.
func Begin(c Config, have Copy, as fsm.Replica) error {
	if have.Index == 0 {
		return fmt.Errorf("replica %s of %s is empty: there is nothing to adopt", c.Replica, c.Name)
	}
	have.Configuration = Configuration{Servers: []Server{{as, true}}, Index: have.Index}
	if err := persist(c, have); err != nil {
		return fmt.Errorf("write the snapshot of %s for %s: %w", c.Name, as, err)
	}
	return nil
}

// Keep writes the machine of c, which Read brought to have, as a snapshot that
// Read finds have in again: what is in a log elsewhere is kept without it.
func Keep(c Config, have Copy) error {
	if err := persist(c, have); err != nil {
		return fmt.Errorf("keep what %s of %s has: %w", c.Replica, c.Name, err)
	}
	return nil
}

// Adopt is Read, Begin, and removing what the snapshot holds from the log.
//
// A crash leaves either the old configuration or one of which the old name is
// no member; adopting again completes it.
func Adopt(c Config, as fsm.Replica) error {
	have, err := Read(c)
	if err != nil {
		return err
	}
	if !have.Of(as) {
		if err := Begin(c, have, as); err != nil {
			return err
		}
	}
	return clearLog(c.Logs)
}

// applier is for a machine that no Raft runs. An entry that cannot be applied is
// an error of replay, and ends nothing.
func (c Config) applier() *applier { return &applier{machine: c.Machine, fatal: func(error) {}} }

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

// replay applies the entries behind what a copy has so far.
func replay(a *applier, logs raft.LogStore, have *Copy) error {
	last, err := logs.LastIndex()
	if err != nil {
		return err
	}
	for have.Index < last {
		var entry raft.Log
		if err := logs.GetLog(have.Index+1, &entry); err != nil {
			return err
		}
		switch entry.Type {
		case raft.LogCommand:
			if err, failed := a.Apply(&entry).(error); failed {
				return err
			}
		case raft.LogConfiguration:
			if have.Configuration, err = configuration(entry.Index, raft.DecodeConfiguration(entry.Data)); err != nil {
				return err
			}
		}
		have.Index, have.Term = entry.Index, entry.Term
	}
	return nil
}

// persist writes the machine of c as a snapshot of have.
func persist(c Config, have Copy) error {
	a := c.applier()
	a.reach(have.Index)
	state, err := a.Snapshot()
	if err != nil {
		return err
	}
	var conf raft.Configuration
	for _, s := range have.Configuration.Servers {
		server := raft.Server{ID: raft.ServerID(s.Replica.String()), Address: raft.ServerAddress(s.Replica.String())}
		if !s.Voter {
			server.Suffrage = raft.Nonvoter
		}
		conf.Servers = append(conf.Servers, server)
	}
	sink, err := c.Snapshots.Create(raft.SnapshotVersionMax, have.Index, have.Term, conf, have.Configuration.Index, &Transport{}) // it encodes names only
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
