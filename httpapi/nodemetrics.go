package httpapi

import (
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"cairn/cluster"
	"cairn/store"
)

// NodeMetrics subscribe to what a node and its store tell, and ask the node for
// the rest at every scrape.
type NodeMetrics struct {
	// Events and Store go into the node's and the store's configuration.
	Events cluster.Events
	Store  store.Metrics

	reg     *prometheus.Registry
	changes *prometheus.CounterVec
}

// fsyncs are the buckets of the log's syncs, in seconds: 50 us to 1.6 s.
var fsyncs = prometheus.ExponentialBuckets(50e-6, 2, 16)

// NewNodeMetrics registers the metrics of a node, of the Go runtime, of the
// process and of the build.
func NewNodeMetrics(reg *prometheus.Registry, version string) *NodeMetrics {
	m := &NodeMetrics{reg: reg, changes: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cairn_raft_leader_changes_total", Help: "Times this node gained or lost a group's leadership.",
	}, []string{"group"})}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		reg.MustRegister(h)
		return h
	}
	forwards := counter("cairn_forwards_total", "Requests sent to the node believed to lead.", "result")
	rejected := counter("cairn_admission_rejected_total", "Requests refused for want of room or time, or by a rate limit.", "reason")
	reassigned := counter("cairn_reassignments_total", "Changes of a partition's wished replicas committed by this node.", "reason")
	unresponsive := counter("cairn_node_unresponsive_total", "Calls to a member that could not be reached or did not answer.").WithLabelValues()
	diverged := counter("cairn_checkpoint_divergence_total", "Partitions whose replicas were compared by this node and had different states.").WithLabelValues()
	waits := histogram("cairn_queue_wait_seconds", "How long the oldest command of an entry had queued.", durations).WithLabelValues()
	batches := histogram("cairn_batch_size", "Commands in a committed log entry.", prometheus.ExponentialBuckets(1, 2, 13)).WithLabelValues()
	snapshots := histogram("cairn_snapshot_duration_seconds", "Time to write a snapshot.", durations).WithLabelValues()
	fsync := histogram("cairn_log_fsync_duration_seconds", "Time of one write and sync of the partitions' log.", fsyncs).WithLabelValues()
	for values, vec := range map[*[]string]*prometheus.CounterVec{
		&cluster.ForwardResults: forwards, &cluster.RefuseReasons: rejected, &cluster.ReassignReasons: reassigned,
	} {
		for _, v := range *values {
			vec.WithLabelValues(v)
		}
	}
	m.Events = cluster.Events{
		Committed:     func(n int, waited time.Duration) { batches.Observe(float64(n)); waits.Observe(waited.Seconds()) },
		Refused:       func(reason string) { rejected.WithLabelValues(reason).Inc() },
		Forwarded:     func(result string) { forwards.WithLabelValues(result).Inc() },
		LeaderChanged: func(group string, _ bool) { m.changes.WithLabelValues(group).Inc() },
		SnapshotTook:  func(_ string, took time.Duration) { snapshots.Observe(took.Seconds()) },
		Unresponsive:  unresponsive.Inc,
		Reassigned:    func(reason string) { reassigned.WithLabelValues(reason).Inc() },
		Diverged:      diverged.Inc,
	}
	m.Store = store.Metrics{Commit: func(took time.Duration, _, _, _ int) { fsync.Observe(took.Seconds()) }}
	registerProcess(reg, version)
	return m
}

func registerProcess(reg *prometheus.Registry, version string) {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "cairn_build_info", Help: "Always 1; its labels tell the build.",
		ConstLabels: prometheus.Labels{"version": version, "go": goVersion()},
	})
	build.Set(1)
	reg.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

func goVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.GoVersion
	}
	return "unknown"
}

// Gauged is what tells a node's present figures: a [cluster.Node].
type Gauged interface{ Gauges() cluster.Gauges }

// Watch adds what is asked of the node at every scrape.
func (m *NodeMetrics) Watch(n Gauged) {
	m.reg.MustRegister(&nodeCollector{node: n, changes: m.changes})
}

// controllerGroup is the name of the controller's group.
const controllerGroup = "controller"

// nodeCollector reads a node's gauges. It also collects what is counted by
// group: only the node knows which groups there are, and each of them is to be
// there at 0 before its first change, or no rate would ever show that one.
type nodeCollector struct {
	node    Gauged
	changes *prometheus.CounterVec
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	descDepth   = desc("cairn_queue_depth", "Requests waiting in a partition's queue here.", "partition")
	descLeads   = desc("cairn_partition_leader", "1 where this node leads the partition, else 0.", "partition")
	descApplied = desc("cairn_partition_applied_index", "Index of the last log entry applied here.", "partition")
	descContact = desc("cairn_raft_last_contact_seconds", "Time since this replica heard from its group's leader.", "group")
	descParts   = desc("cairn_partitions", "Partitions of the cluster, as the log has it.")
	descTable   = desc("cairn_table_version", "Version of the partition table this node has.")
	descNodes   = desc("cairn_nodes", "Members by state, as the log has it.", "state")
	descSent    = desc("cairn_peer_messages_total", "Messages sent to other nodes: requests, answers and pings, without snapshots.")
	descBytes   = desc("cairn_peer_sent_bytes_total", "Bytes of these messages, before TLS.")
	descLimit   = desc("cairn_admission_limit", "Requests of clients that this node works on at once, at most; it follows how long they take.")
	descBusy    = desc("cairn_admission_in_flight", "Requests of clients that this node works on.")
	descWaiting = desc("cairn_admission_waiting", "Requests of clients that wait for a place.")
	descLate    = desc("cairn_admission_late", "Requests that wait for partitions which do not answer, beside the limit.")
	descCutOff  = desc("cairn_breakers_open", "Members to which this node makes no calls, because they do not answer.")
	descClock   = desc("cairn_clock_offset_seconds", "How far this node's clock is ahead of the controller leader's.")
)

func (c *nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descDepth, descLeads, descApplied, descContact, descParts, descTable, descNodes, descClock,
		descSent, descBytes, descLimit, descBusy, descWaiting, descLate, descCutOff,
	} {
		ch <- d
	}
	c.changes.Describe(ch)
}

func (c *nodeCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	g := c.node.Gauges()
	for _, r := range g.Replicas {
		leads := 0.0
		if r.Leads {
			leads = 1
		}
		gauge(descDepth, float64(r.Depth), r.Partition)
		gauge(descLeads, leads, r.Partition)
		gauge(descApplied, float64(r.Applied), r.Partition)
		gauge(descContact, r.Contact.Seconds(), r.Group)
		c.changes.WithLabelValues(r.Group)
	}
	gauge(descContact, g.ControllerContact.Seconds(), controllerGroup)
	c.changes.WithLabelValues(controllerGroup)
	c.changes.Collect(ch)
	gauge(descParts, float64(g.Partitions))
	gauge(descTable, float64(g.TableVersion))
	gauge(descClock, g.ClockOffset.Seconds())
	gauge(descLimit, float64(g.Admission.Limit))
	gauge(descBusy, float64(g.Admission.Busy))
	gauge(descWaiting, float64(g.Admission.Waiting))
	gauge(descLate, float64(g.Admission.Late))
	gauge(descCutOff, float64(g.CutOff))
	ch <- prometheus.MustNewConstMetric(descSent, prometheus.CounterValue, float64(g.Messages))
	ch <- prometheus.MustNewConstMetric(descBytes, prometheus.CounterValue, float64(g.Bytes))
	for state, n := range g.Nodes {
		gauge(descNodes, float64(n), state)
	}
}
