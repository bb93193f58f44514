package store

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// counter is a state machine that counts entries and remembers the last.
type counter struct {
	n    int
	last string
}

func (c *counter) Apply(l *raft.Log) any {
	c.n++
	c.last = string(l.Data)
	return nil
}

func (c *counter) Snapshot() (raft.FSMSnapshot, error) {
	return frozen(fmt.Sprintf("%d %s", c.n, c.last)), nil
}

func (c *counter) Restore(r io.ReadCloser) error {
	defer r.Close()
	_, err := fmt.Fscanf(r, "%d %s", &c.n, &c.last)
	return err
}

type frozen string

func (f frozen) Persist(sink raft.SnapshotSink) error {
	if _, err := io.WriteString(sink, string(f)); err != nil {
		return err
	}
	return sink.Close()
}

func (frozen) Release() {}

// TestRaftRunsOnIt: raft itself votes, appends, snapshots, compacts and comes
// back, on each kind of log.
func TestRaftRunsOnIt(t *testing.T) {
	for name, disk := range map[string]func(testing.TB) (logStore, *Dir){
		"group": func(t testing.TB) (logStore, *Dir) { d := newGroupDisk(t).(*groupDisk); return d.Open(t), d.dir },
		"tiny":  func(t testing.TB) (logStore, *Dir) { d := newTinyDisk(t).(*groupDisk); return d.Open(t), d.dir },
		"controller": func(t testing.TB) (logStore, *Dir) {
			d := newControllerDisk(t).(*controllerDisk)
			return d.Open(t), d.dir
		},
	} {
		t.Run(name, func(t *testing.T) {
			const entries, rounds = 400, 3
			s, d := disk(t)
			for round := range rounds {
				r, machine, stop := startRaft(t, d, s)
				if want := round * entries; machine.n > want {
					t.Fatalf("round %d begins with %d entries applied, more than %d", round, machine.n, want)
				}
				for i := range entries {
					must(t, r.Apply(fmt.Appendf(nil, "round%d/%d", round, i), 10*time.Second).Error())
				}
				must(t, r.Barrier(10*time.Second).Error())
				if machine.n != (round+1)*entries || machine.last != fmt.Sprintf("round%d/%d", round, entries-1) {
					t.Fatalf("round %d: %d applied, the last one %q", round, machine.n, machine.last)
				}
				must(t, r.Snapshot().Error())
				stop()
				first, err := s.FirstIndex()
				must(t, err)
				last, err := s.LastIndex()
				must(t, err)
				if last-first > 2*entries {
					t.Fatalf("the log is %d..%d: it was never compacted", first, last)
				}
				snapshots, err := d.Snapshots("raft")
				must(t, err)
				must(t, snapshots.Verify(first, last))
			}
		})
	}
}

// startRaft starts a group of one member.
func startRaft(t *testing.T, d *Dir, s logStore) (*raft.Raft, *counter, func()) {
	t.Helper()
	snapshots, err := d.Snapshots("raft")
	must(t, err)
	config := raft.DefaultConfig()
	config.LocalID = "node.1"
	config.HeartbeatTimeout, config.ElectionTimeout, config.LeaderLeaseTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	config.TrailingLogs = 50
	config.Logger = hclog.NewNullLogger()
	address, transport := raft.NewInmemTransport("node.1")
	known, err := raft.HasExistingState(s, s, snapshots)
	must(t, err)
	if !known {
		must(t, raft.BootstrapCluster(config, s, s, snapshots, transport, raft.Configuration{
			Servers: []raft.Server{{ID: "node.1", Address: address}},
		}))
	}
	machine := &counter{}
	r, err := raft.NewRaft(config, machine, s, s, snapshots, transport)
	must(t, err)
	eventually(t, "the only member leads", func() bool { return r.State() == raft.Leader })
	return r, machine, func() {
		must(t, r.Shutdown().Error())
		must(t, transport.Close())
	}
}
