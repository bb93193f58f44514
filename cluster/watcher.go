package cluster

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"cairn/cluster/health"
	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/fsm/wire"
)

// watchEvery is how often the controller's leader looks at who is silent.
const watchEvery = reportEvery / 2

// watcher is the controller leader's eye on the nodes: it feeds reports to the
// failure detector and carries its verdicts out. Down and up become log entries;
// a node that is suspect loses its leaderships to elections at once.
type watcher struct {
	node *Node

	mu       sync.Mutex
	detector *health.Detector             // nil: this node does not lead the controller
	samples  map[fsm.NodeID]health.Sample // the last of each node
	fresh    []fsm.NodeID                 // whose samples have not been judged
	offsets  map[fsm.NodeID]time.Duration // of clocks, ahead of this node's
	slow     map[fsm.NodeID]bool
	suspects map[fsm.NodeID]bool
}

func (w *watcher) run() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.node.ctx.Done():
			return
		case <-tick.C:
		}
		st := w.node.control.state()
		if !w.node.control.group.Leads() || !st.Founded() || w.node.stopping.Load() {
			w.rest()
			continue
		}
		verdict, news := w.look(st, time.Now())
		for _, id := range news {
			w.nominate(id)
		}
		w.record(verdict)
	}
}

// rest forgets everything: the next leadership begins with a grace.
func (w *watcher) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.detector = nil
	w.samples, w.offsets, w.slow, w.suspects, w.fresh = nil, nil, nil, nil, nil
}

// look judges everybody, and returns which nodes have become suspect.
func (w *watcher) look(st *controller.State, now time.Time) (v health.Verdict, news []fsm.NodeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.detector == nil {
		timeout := time.Duration(st.Settings().NodeTimeout) * time.Microsecond
		w.detector = health.New(health.Default(reportEvery, timeout), now)
		w.samples, w.offsets = map[fsm.NodeID]health.Sample{}, map[fsm.NodeID]time.Duration{}
	}
	var members []health.Member
	for _, m := range st.Members() {
		if m.State != controller.Left {
			members = append(members, health.Member{ID: m.ID, Down: m.State == controller.Down})
		}
	}
	v = w.detector.Look(members, now)
	suspects := map[fsm.NodeID]bool{}
	for _, id := range v.Suspects {
		if suspects[id] = true; !w.suspects[id] {
			news = append(news, id)
		}
	}
	w.suspects = suspects
	if len(w.fresh) > 0 {
		slow := map[fsm.NodeID]bool{}
		for _, id := range w.detector.Judge(w.samples, w.fresh, now) {
			if slow[id] = true; !w.slow[id] {
				w.node.log.Warn("a node has become slow: its leaderships go elsewhere", "member", id, "sample", w.samples[id])
			}
		}
		w.fresh, w.slow = nil, slow
	}
	return v, news
}

// heard takes a report.
func (w *watcher) heard(r *report, now time.Time) reply {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.detector == nil {
		return reply{Node: w.node.id.Node, Clock: w.node.now()}
	}
	w.detector.Heard(r.Node, now)
	w.samples[r.Node] = health.Sample{Sync: r.Sync, Stall: r.Stall}
	w.fresh = append(w.fresh, r.Node)
	w.offsets[r.Node] = r.Offset
	return reply{Node: w.node.id.Node, Clock: w.node.now(), Slow: w.slow[r.Node], ClockOff: w.clockOff(r.Node)}
}

// clockOff reports whether a node's clock is off by more than may be, from the
// median of all. The caller holds mu.
func (w *watcher) clockOff(id fsm.NodeID) bool {
	all := slices.Sorted(maps.Values(w.offsets))
	if len(all) < 3 { // of two nobody knows whose is wrong
		return false
	}
	return (w.offsets[id] - all[(len(all)-1)/2]).Abs() > maxClockSkew
}

// unfit returns the nodes that should lead nothing for now: slow ones, and those
// whose clock is off.
func (w *watcher) unfit() map[fsm.NodeID]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[fsm.NodeID]bool{}
	maps.Copy(out, w.slow)
	for id := range w.offsets {
		if w.clockOff(id) {
			out[id] = true
		}
	}
	return out
}

// unsure reports whether it is being found out who is there: until a silent node
// is heard again, or down, nothing is moved.
func (w *watcher) unsure() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.detector == nil || len(w.suspects) > 0
}

// state is what this leader thinks of a node now; false if it has no opinion.
func (w *watcher) state(id fsm.NodeID) (health.State, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.detector == nil {
		return 0, false
	}
	return w.detector.State(id, time.Now()), true
}

// record commits who is down and who is up again.
func (w *watcher) record(v health.Verdict) {
	if len(v.Down) > 0 {
		w.commit("down", v.Down, &controller.NodeDown{Now: w.node.now(), Nodes: v.Down})
	}
	if len(v.Up) > 0 {
		w.commit("up", v.Up, &controller.NodeUp{Now: w.node.now(), Nodes: v.Up})
	}
}

func (w *watcher) commit(what string, nodes []fsm.NodeID, cmd controller.Command) {
	if _, _, err := w.node.control.lead(cmd); err != nil {
		w.node.log.Warn("recording who is "+what+" failed; trying again", "nodes", nodes, "err", err)
		return
	}
	w.node.log.Warn("the heartbeat checks found nodes "+what, "nodes", nodes)
}

// nominate has other nodes stand for election in the groups that a silent node
// led: of each group the live voter whose log is longest.
func (w *watcher) nominate(silent fsm.NodeID) {
	reports := w.node.reports.list()
	best := map[fsm.PartitionID]replicaReport{}
	for id, h := range reports {
		if s, _ := w.state(id); id == silent || s != health.Alive {
			continue
		}
		for _, r := range h.Report.Replicas {
			if b, ok := best[r.Partition]; r.Voter && r.Leader.Node == silent &&
				(!ok || cmp.Or(cmp.Compare(r.Term, b.Term), cmp.Compare(r.Last, b.Last), -cmp.Compare(r.Replica.Node, b.Replica.Node)) > 0) {
				best[r.Partition] = r
			}
		}
	}
	ctx, cancel := context.WithTimeout(w.node.ctx, watchEvery)
	defer cancel()
	var all sync.WaitGroup
	for _, r := range best {
		var m wire.Writer
		m.Uvarint(r.Term)
		m.String(r.Leader.String())
		all.Go(func() {
			if r.Replica.Node == w.node.id.Node {
				_ = w.node.serveNominate(groupOf(r.Partition), m.B)
				return
			}
			// One that is lost leaves the group to its own election timeout.
			_, _ = w.node.link.Call(ctx, r.Replica.Node, kindNominate, groupOf(r.Partition), m.B)
		})
	}
	all.Wait()
	if len(best) > 0 {
		w.node.log.Warn("a node is silent: other nodes stand for election in its groups", "member", silent, "groups", len(best))
	}
}
