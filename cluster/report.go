package cluster

import (
	"context"
	"encoding/json"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// reportEvery is how often a node tells the controller's leader how it is.
const reportEvery = time.Second

// report is what a node tells of itself.
type report struct {
	Node     fsm.NodeID      `json:"node"`
	Clock    fsm.Time        `json:"clock"`
	CPU      float64         `json:"cpu"`   // cores in use since the last report
	Queue    int             `json:"queue"` // commands waiting
	Replicas []replicaReport `json:"replicas"`
	// Damaged are replicas refused at start, by partition.
	Damaged map[fsm.PartitionID]fsm.Replica `json:"damaged,omitempty"`
}

// replicaReport tells of one replica; Members is filled by its group's leader.
type replicaReport struct {
	Partition fsm.PartitionID      `json:"partition"`
	Replica   fsm.Replica          `json:"replica"`
	Leads     bool                 `json:"leads"`
	Term      uint64               `json:"term"`
	Applied   uint64               `json:"applied"`
	Members   []memberReport       `json:"members,omitempty"`
	Snapshot  *controller.Snapshot `json:"snapshot,omitempty"`
}

type memberReport struct {
	Replica  fsm.Replica `json:"replica"`
	Voter    bool        `json:"voter"`
	Alive    bool        `json:"alive"`
	Match    uint64      `json:"match"`
	CaughtUp bool        `json:"caught_up"`
}

// heard is a report with the time it arrived.
type heard struct {
	Report report        `json:"report"`
	Age    time.Duration `json:"age"`
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
	offset time.Duration // see clockOffset
}

func newReports(n *Node) *reports { return &reports{node: n, heard: map[fsm.NodeID]heard{}} }

func (rp *reports) send() {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-rp.node.ctx.Done():
			return
		case <-tick.C:
		}
		raw, err := json.Marshal(rp.own())
		if err != nil {
			rp.node.conf.Fatal(err)
		}
		rp.tell(raw)
		rp.registerSnapshots()
	}
}

// tell sends one report; one that is lost is followed by the next. The answer
// carries the leader's clock: half the round trip later, it is compared with
// this node's.
func (rp *reports) tell(raw []byte) {
	ctx, cancel := context.WithTimeout(rp.node.ctx, reportEvery)
	defer cancel()
	asked := time.Now()
	rp.node.router.toController(ctx, call{
		kind: kindReport, body: raw,
		local: func(context.Context) error { _, err := rp.receive(rp.node.id.Node, raw); return err },
		decode: func(body []byte) error {
			var leader fsm.Time
			if err := json.Unmarshal(body, &leader); err != nil {
				return err
			}
			back := time.Now()
			rp.mu.Lock()
			defer rp.mu.Unlock()
			rp.offset = asked.Add(back.Sub(asked) / 2).Sub(leader.Std())
			return nil
		},
	})
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
	out := report{Node: n.id.Node, Clock: fsm.TimeOf(time.Now()), CPU: rp.cpu.read(), Damaged: n.replicas.damage()}
	for _, r := range n.replicas.all() {
		out.Queue += r.queue.Depth()
		out.Replicas = append(out.Replicas, r.report())
	}
	return out
}

func (r *replica) report() replicaReport {
	out := replicaReport{
		Partition: r.id, Replica: r.group.Replica(), Leads: r.group.Leads(),
		Term: r.group.Term(), Applied: r.group.Applied(),
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
	return json.Marshal(now())
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

// serveView answers with list, as the controller's leader.
func (rp *reports) serveView() ([]byte, error) {
	if !rp.node.control.group.Leads() {
		return nil, rp.node.controllerElsewhere()
	}
	return json.Marshal(rp.list())
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
			out = rp.list()
			return nil
		},
		decode: func(raw []byte) error { return json.Unmarshal(raw, &out) },
	})
	return out, err
}

// damagedReplicas is a set of replicas.
type damagedReplicas map[fsm.Replica]bool

// damaged returns the replicas that live nodes refused.
func (rp *reports) damaged() damagedReplicas {
	out := damagedReplicas{}
	for _, h := range rp.list() {
		if h.Age > aliveFor {
			continue
		}
		for _, r := range h.Report.Damaged {
			out[r] = true
		}
	}
	return out
}

// moving counts the partitions whose leader does not report the configuration
// that the table wishes.
func (rp *reports) moving(table []controller.Partition) int {
	asWished := map[fsm.PartitionID]bool{}
	for _, h := range rp.list() {
		for _, r := range h.Report.Replicas {
			if r.Leads && int(r.Partition) < len(table) && sameMembers(r.Members, table[r.Partition].Target) {
				asWished[r.Partition] = true
			}
		}
	}
	return len(table) - len(asWished)
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
			if s := r.Snapshot; s != nil && s.Index > known[r.Partition] && s.Index > newest[r.Partition].Index {
				s.Taken = h.Report.Clock
				newest[r.Partition] = *s
			}
		}
	}
	if len(newest) > 0 {
		c.lead(&controller.RegisterSnapshots{Snapshots: sortedValues(newest)}) // tried again with the next report
	}
}

// cpuMeter tells how many cores this process used since it was last read, from
// /proc/self/stat (fields 14 and 15, in clock ticks of 10 ms).
type cpuMeter struct {
	at    time.Time
	ticks float64
}

const ticksPerSecond = 100

func (c *cpuMeter) read() float64 {
	raw, err := os.ReadFile("/proc/self/stat")
	if err != nil || runtime.GOOS != "linux" {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	now, ticks := time.Now(), user+system
	used := (ticks - c.ticks) / ticksPerSecond / now.Sub(c.at).Seconds()
	first := c.at.IsZero()
	c.at, c.ticks = now, ticks
	if first {
		return 0
	}
	return used
}
