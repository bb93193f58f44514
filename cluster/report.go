package cluster

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"cairn/cluster/health"
	"cairn/fsm"
	"cairn/fsm/controller"
)

// reportEvery is how often a node tells the controller's leader how it is: its
// heartbeat.
const reportEvery = 500 * time.Millisecond

// registerEvery is how many reports apart the register of snapshots is brought up
// to date.
const registerEvery = 2

// report is what a node tells of itself.
type report struct {
	Node     fsm.NodeID      `json:"node"`
	Clock    fsm.Time        `json:"clock"`
	CPU      float64         `json:"cpu"`   // cores in use since the last report
	Queue    int             `json:"queue"` // commands waiting
	Sync     time.Duration   `json:"sync"`  // mean of the log's commits since the last report; 0: none
	Stall    time.Duration   `json:"stall"` // the longest time without CPU since the last report
	Offset   time.Duration   `json:"offset"`
	Replicas []replicaReport `json:"replicas"`
	// Damaged are replicas refused at start, by partition.
	Damaged map[fsm.PartitionID]fsm.Replica `json:"damaged,omitempty"`
}

// replicaReport tells of one replica; Members is filled by its group's leader.
type replicaReport struct {
	Partition fsm.PartitionID      `json:"partition"`
	Replica   fsm.Replica          `json:"replica"`
	Leads     bool                 `json:"leads"`
	Leader    fsm.Replica          `json:"leader"`
	Voter     bool                 `json:"voter"`
	Config    uint64               `json:"config"` // index of its configuration
	Term      uint64               `json:"term"`
	Last      uint64               `json:"last"`                // index of its newest entry
	LastTerm  uint64               `json:"last_term,omitempty"` // of that entry, while no leader is known
	Applied   uint64               `json:"applied"`
	Rate      float64              `json:"rate"` // commands a second that it applied of late
	Members   []memberReport       `json:"members,omitempty"`
	Voters    []fsm.Replica        `json:"voters,omitempty"` // of the configuration here, while no leader is known
	Snapshot  *controller.Snapshot `json:"snapshot,omitempty"`
}

type memberReport struct {
	Replica  fsm.Replica `json:"replica"`
	Voter    bool        `json:"voter"`
	Alive    bool        `json:"alive"`
	Match    uint64      `json:"match"`
	CaughtUp bool        `json:"caught_up"`
}

// reply is what the controller's leader answers to a report.
type reply struct {
	Node     fsm.NodeID `json:"node"`      // the leader
	Clock    fsm.Time   `json:"clock"`     // the leader's
	ClockOff bool       `json:"clock_off"` // the node's clock is wrong
	Slow     bool       `json:"slow"`      // the node should lead nothing
}

// heard is a report with the time it arrived.
type heard struct {
	Report report        `json:"report"`
	Age    time.Duration `json:"age"`
	State  health.State  `json:"state"` // of the node, as the detector sees it
	Unfit  bool          `json:"unfit"` // to lead
	at     time.Time
}

// reports sends this node's report and, on the controller's leader, keeps what
// everybody told. They are never replicated: a new leader hears from all within
// a second.
type reports struct {
	node *Node
	cpu  cpuMeter

	mu     sync.Mutex
	heard  map[fsm.NodeID]heard
	stall  stallMeter
	clock  clockFilter
	offset time.Duration // see clockOffset
	reply  reply         // the last one

	// Of send:
	commits    int64 // when the last report was made
	committing time.Duration
}

func newReports(n *Node) *reports { return &reports{node: n, heard: map[fsm.NodeID]heard{}} }

func (rp *reports) send() {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for round := 0; ; round++ {
		select {
		case <-rp.node.ctx.Done():
			return
		case <-tick.C:
		}
		own := rp.own()
		own.Stall = rp.stall.take()
		raw, err := json.Marshal(own)
		if err != nil {
			rp.node.conf.Fatal(err)
		}
		rp.tell(raw)
		if round%registerEvery == 0 {
			rp.registerSnapshots()
		}
	}
}

// tell sends one report; one that is lost is followed by the next. The answer
// carries the leader's clock: half the round trip later, it is compared with
// this node's.
func (rp *reports) tell(raw []byte) {
	n := rp.node
	ctx, cancel := context.WithTimeout(rp.node.ctx, reportEvery)
	defer cancel()
	asked, clock := time.Now(), n.conf.Now()
	take := func(body []byte) error {
		var got reply
		if err := json.Unmarshal(body, &got); err != nil {
			return err
		}
		rp.take(got, clock, asked, time.Now())
		return nil
	}
	rp.node.router.toController(ctx, call{
		kind: kindReport, body: raw,
		local: func(context.Context) error {
			body, err := rp.receive(rp.node.id.Node, raw)
			if err != nil {
				return err
			}
			return take(body)
		},
		decode: take,
	})
}

// take keeps a reply to what was asked when the clock said so, and with it how far this node's clock is ahead: what the
// sample with the shortest round trip of the last minute says (as NTP's clock
// filter, RFC 5905 section 10).
func (rp *reports) take(got reply, clock, asked, back time.Time) {
	rp.mu.Lock()
	defer rp.mu.Unlock()
	rp.reply = got
	trip := back.Sub(asked)
	rp.clock.add(got.Node, clockSample{at: back, trip: trip, offset: clock.Add(trip / 2).Sub(got.Clock.Std())})
	rp.offset = rp.clock.offset()
}

// lastReply is what the controller's leader answered last.
func (rp *reports) lastReply() reply {
	rp.mu.Lock()
	defer rp.mu.Unlock()
	return rp.reply
}

// clockOffset is how far this node's clock is ahead of the controller leader's,
// within half the round trip of the last report.
func (rp *reports) clockOffset() time.Duration {
	rp.mu.Lock()
	defer rp.mu.Unlock()
	return rp.offset
}

func (rp *reports) own() report {
	n := rp.node
	out := report{Node: n.id.Node, Clock: n.now(), Offset: rp.clockOffset(), CPU: rp.cpu.read(), Damaged: n.replicas.damage()}
	commits, committing := n.conf.Dir.Commits()
	if d := commits - rp.commits; d > 0 {
		out.Sync = (committing - rp.committing) / time.Duration(d)
	}
	rp.commits, rp.committing = commits, committing
	for _, r := range n.replicas.all() {
		out.Queue += r.queue.Depth()
		out.Replicas = append(out.Replicas, r.report())
	}
	return out
}

func (r *replica) report() replicaReport {
	out := replicaReport{
		Partition: r.id, Replica: r.group.Replica(), Leads: r.group.Leads(),
		Term: r.group.Term(), Applied: r.group.Applied(), Last: r.group.Last(), Leader: r.group.Leader(), Rate: r.machine.rate.read(time.Now()),
	}
	if out.Leader.IsZero() {
		out.LastTerm = r.group.LastTerm()
	}
	if conf, err := r.group.Configuration(); err == nil {
		self, _ := conf.Has(r.group.Replica())
		out.Voter, out.Config = self.Voter, conf.Index
		for _, s := range conf.Servers {
			if s.Voter && out.Leader.IsZero() {
				out.Voters = append(out.Voters, s.Replica)
			}
		}
	}
	if s := r.group.LastSnapshot(); s != nil {
		out.Snapshot = &controller.Snapshot{
			Partition: r.id, Replica: r.group.Replica(), Index: s.Index, Term: s.Term, Size: s.Size,
		}
	}
	if !out.Leads {
		return out
	}
	v, err := observe(r.group, nil, "", time.Now())
	if err != nil {
		return out
	}
	for _, m := range v.Members {
		out.Members = append(out.Members, memberReport{m.Replica, m.Voter, m.Alive, m.Match, m.CaughtUp})
	}
	return out
}

// receive takes a report as the controller's leader.
func (rp *reports) receive(from fsm.NodeID, raw []byte) ([]byte, error) {
	if !rp.node.control.group.Leads() {
		return nil, rp.node.controllerElsewhere()
	}
	var r report
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fsm.Errorf(fsm.Invalid, "the report cannot be read")
	}
	if r.Node != from {
		return nil, fsm.Errorf(fsm.Forbidden, "node %s reports for %s", from, r.Node)
	}
	rp.mu.Lock()
	defer rp.mu.Unlock()
	rp.heard[from] = heard{Report: r, at: time.Now()}
	return json.Marshal(rp.node.watcher.heard(&r, time.Now()))
}

// controllerElsewhere says whom this node believes to lead the controller.
func (n *Node) controllerElsewhere() error {
	leader := n.control.group.Leader().Node
	if leader == n.id.Node {
		leader = ""
	}
	return &fsm.Error{Kind: fsm.NotLeader, Msg: string(leader)}
}

// list returns what everybody told, with ages.
func (rp *reports) list() map[fsm.NodeID]heard {
	rp.mu.Lock()
	defer rp.mu.Unlock()
	out := make(map[fsm.NodeID]heard, len(rp.heard))
	for id, h := range rp.heard {
		h.Age = time.Since(h.at)
		out[id] = h
	}
	return out
}

// judged is list with what the failure detector makes of it.
func (rp *reports) judged() map[fsm.NodeID]heard {
	out := rp.list()
	unfit := rp.node.watcher.unfit()
	for id, h := range out {
		h.State, _ = rp.node.watcher.state(id)
		h.Unfit = unfit[id]
		out[id] = h
	}
	return out
}

// serveView answers with judged, as the controller's leader.
func (rp *reports) serveView() ([]byte, error) {
	if !rp.node.control.group.Leads() {
		return nil, rp.node.controllerElsewhere()
	}
	return json.Marshal(rp.judged())
}

// view asks the controller's leader for what it heard.
func (rp *reports) view(ctx context.Context) (map[fsm.NodeID]heard, error) {
	var out map[fsm.NodeID]heard
	err := rp.node.router.toController(ctx, call{
		kind: kindView,
		local: func(context.Context) error {
			if !rp.node.control.group.Leads() {
				return rp.node.controllerElsewhere()
			}
			out = rp.judged()
			return nil
		},
		decode: func(raw []byte) error { return json.Unmarshal(raw, &out) },
	})
	return out, err
}

func sameMembers(members []memberReport, target []controller.TargetReplica) bool {
	if len(members) != len(target) {
		return false
	}
	voter := map[fsm.Replica]bool{}
	for _, m := range members {
		voter[m.Replica] = m.Voter
	}
	for _, t := range target {
		if v, ok := voter[t.Replica]; !ok || v != t.Voter {
			return false
		}
	}
	return true
}

// registerSnapshots records, as the controller's leader, snapshots newer than
// the register's: at most once a report, all in one entry.
func (rp *reports) registerSnapshots() {
	c := rp.node.control
	if !c.group.Leads() {
		return
	}
	known := map[fsm.PartitionID]uint64{}
	for _, s := range c.state().Snapshots() {
		known[s.Partition] = s.Index
	}
	newest := map[fsm.PartitionID]controller.Snapshot{}
	for _, h := range rp.list() {
		for _, r := range h.Report.Replicas {
			row, _ := c.state().Partition(r.Partition)
			if s := r.Snapshot; s != nil && !row.GivenUp(r.Replica) && s.Index > known[r.Partition] && s.Index > newest[r.Partition].Index {
				s.Taken = h.Report.Clock
				newest[r.Partition] = *s
			}
		}
	}
	if len(newest) > 0 {
		c.lead(&controller.RegisterSnapshots{Snapshots: sortedValues(newest)}) // tried again with the next report
	}
}
