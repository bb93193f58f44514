package group

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"cairn/fsm"
)

// TestHeartbeatsDoNotLoseEntries holds a window of hashicorp/raft open in which
// a heartbeat that is handled beside the main loop makes it lose acknowledged
// entries (its issue 695): a candidate wins, is stopped between becoming leader
// and starting to replicate, and a newer leader's heartbeats arrive meanwhile.
//
// Over our Transport the logs must agree. The negative control hands heartbeats
// to the fast path, as the library's own transport does, and must see them
// disagree: otherwise this test could not fail.
func TestHeartbeatsDoNotLoseEntries(t *testing.T) {
	const runs = 10
	for _, fast := range []bool{false, true} {
		t.Run(fmt.Sprintf("fast=%v", fast), func(t *testing.T) {
			ran, diverged := 0, 0
			for range runs {
				synctest.Test(t, func(t *testing.T) {
					d := newDirected(t, fast)
					defer d.close()
					if d.run() {
						ran++
						if bad := d.disagreement(); bad != "" {
							diverged++
							t.Log(bad)
						}
					}
				})
			}
			switch {
			case ran == 0:
				t.Fatalf("the schedule came about in none of %d runs: this test shows nothing", runs)
			case fast && diverged == 0:
				t.Errorf("with the fast path none of %d runs diverged: the window is closed, or this test misses it", ran)
			case !fast && diverged > 0:
				t.Errorf("%d of %d runs lost or disagree on acknowledged entries", diverged, ran)
			}
		})
	}
}

// directed is three voters over our Transport whose leader notification can be
// held: raft's main loop blocks on an unread NotifyCh.
type directed struct {
	t      *testing.T
	w      *world
	nodes  []*directedNode
	paused chan struct{} // closed: nobody but keep reads notifications any more
	freed  chan struct{} // closed: everybody reads again
	keep   *directedNode
	acked  []string
}

type directedNode struct {
	id    fsm.NodeID
	raft  *raft.Raft
	trans *Transport
	logs  *raft.InmemStore
	note  chan bool
}

// withFast makes the fast path of the negative control.
type withFast struct {
	*Transport
	w *world
}

func (f withFast) SetHeartbeatHandler(h func(raft.RPC)) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.fast[f.local.Node] = h
}

func newDirected(t *testing.T, fast bool) *directed {
	d := &directed{t: t, w: newWorld(), paused: make(chan struct{}), freed: make(chan struct{})}
	var conf raft.Configuration
	for i := range 3 {
		n := &directedNode{id: fsm.NodeID(fmt.Sprintf("n%d", i)), logs: raft.NewInmemStore(), note: make(chan bool)}
		n.trans = NewTransport(1, fsm.Replica{Node: n.id, Incarnation: 1}, &end{d.w, n.id}, errUnsent, 0)
		d.w.nodes[n.id] = n.trans
		d.nodes = append(d.nodes, n)
		conf.Servers = append(conf.Servers, raft.Server{ID: raft.ServerID(n.trans.LocalAddr()), Address: n.trans.LocalAddr()})
	}
	for _, n := range d.nodes {
		c := raft.DefaultConfig()
		c.LocalID, c.Logger, c.NotifyCh = raft.ServerID(n.trans.LocalAddr()), hclog.NewNullLogger(), n.note
		snaps := raft.NewInmemSnapshotStore()
		if err := raft.BootstrapCluster(c, n.logs, n.logs, snaps, n.trans, conf); err != nil {
			t.Fatal(err)
		}
		var trans raft.Transport = n.trans
		if fast {
			trans = withFast{n.trans, d.w}
		}
		var err error
		if n.raft, err = raft.NewRaft(c, &raft.MockFSM{}, n.logs, n.logs, snaps, trans); err != nil {
			t.Fatal(err)
		}
		go d.read(n)
	}
	return d
}

// read takes a node's notifications as the schedule says.
func (d *directed) read(n *directedNode) {
	for {
		select {
		case <-n.note:
		case <-d.paused:
			if n != d.keep {
				<-d.freed
			}
			for range n.note {
			}
			return
		}
	}
}

func (d *directed) wait(limit time.Duration, cond func() bool) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if cond() {
			return true
		}
	}
	return false
}

func (d *directed) apply(n *directedNode, s string) error {
	return n.raft.Apply([]byte(s), time.Second).Error()
}

// run plays the schedule; false if it did not come about.
func (d *directed) run() bool {
	time.Sleep(5 * time.Second)
	for _, n := range d.nodes {
		if n.raft.State() == raft.Leader {
			d.keep = n
		}
	}
	if d.keep == nil || d.apply(d.keep, "base") != nil {
		return false
	}
	time.Sleep(time.Second)
	close(d.paused)
	time.Sleep(time.Millisecond)
	// The first leader is cut off with entries that nobody else has.
	d.w.isolate(d.keep.id, true)
	for i := range 3 {
		d.raftTail(i)
	}
	// Another one wins and is held; the first comes back and wins a later term.
	if !d.wait(10*time.Second, func() bool {
		for _, n := range d.nodes {
			if n != d.keep && n.raft.State() == raft.Leader {
				return true
			}
		}
		return false
	}) {
		return false
	}
	d.w.isolate(d.keep.id, false)
	if !d.wait(30*time.Second, func() bool { return d.keep.raft.State() == raft.Leader && d.apply(d.keep, "probe") == nil }) {
		return false
	}
	for i := range 20 {
		if s := fmt.Sprintf("acked-%d", i); d.apply(d.keep, s) == nil {
			d.acked = append(d.acked, s)
		}
	}
	time.Sleep(500 * time.Millisecond) // its heartbeats reach the one that is held
	close(d.freed)
	time.Sleep(3 * time.Second)
	for i := range 5 {
		for _, n := range d.nodes {
			n.raft.Apply([]byte(fmt.Sprintf("after-%d", i)), time.Second)
		}
		time.Sleep(200 * time.Millisecond)
	}
	time.Sleep(time.Minute)
	return len(d.acked) > 0
}

func (d *directed) raftTail(i int) {
	d.keep.raft.Apply([]byte(fmt.Sprintf("tail-%d", i)), time.Second)
}

// disagreement says where the logs differ or what a majority of them lost.
func (d *directed) disagreement() string {
	last := uint64(0)
	for _, n := range d.nodes {
		l, _ := n.logs.LastIndex()
		last = max(last, l)
	}
	have := map[string]int{}
	bad := ""
	for i := uint64(1); i <= last; i++ {
		var at [3]string
		for j, n := range d.nodes {
			var l raft.Log
			if n.logs.GetLog(i, &l) == nil {
				at[j] = fmt.Sprintf("term %d: %s", l.Term, l.Data)
				have[string(l.Data)]++
			}
		}
		if at[0] != at[1] || at[1] != at[2] {
			bad = fmt.Sprintf("entry %d is %q", i, at)
		}
	}
	for _, s := range d.acked {
		if have[s] < 2 {
			bad = fmt.Sprintf("%s was acknowledged and is in %d of 3 logs", s, have[s])
		}
	}
	return bad
}

func (d *directed) close() {
	select {
	case <-d.freed:
	default:
		close(d.freed)
	}
	select {
	case <-d.paused:
	default:
		close(d.paused)
	}
	for _, n := range d.nodes {
		n.trans.Close()
		if err := n.raft.Shutdown().Error(); err != nil {
			d.t.Error(err)
		}
	}
	time.Sleep(time.Minute)
	for _, n := range d.nodes {
		close(n.note)
	}
	time.Sleep(time.Minute)
}
