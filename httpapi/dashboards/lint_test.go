package dashboards_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"cairn/cluster"
	"cairn/httpapi"
	"cairn/httpapi/apitest"
)

// exports are what a node exports, and with the rules what Prometheus has: by
// name the labels, and by label the values.
type exports map[string]map[string]map[string]bool

// gauged is a node of one replica.
type gauged struct{}

func (gauged) Gauges() cluster.Gauges {
	g := cluster.Gauges{Replicas: []cluster.ReplicaGauges{{Partition: "0", Group: "p0000"}}, Nodes: map[string]int{}}
	for _, s := range cluster.NodeStates {
		g.Nodes[s] = 0
	}
	return g
}

// nodeExports asks the registry of a node to which nothing has happened yet.
func nodeExports(t *testing.T) exports {
	t.Helper()
	reg := prometheus.NewRegistry()
	httpapi.NewNodeMetrics(reg, "test").Watch(gauged{})
	httpapi.New(httpapi.Config{Cluster: apitest.New(), Registry: reg})
	httpapi.NewConns(reg, 1)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	x := exports{}
	for _, f := range families {
		names, more := []string{f.GetName()}, ""
		switch f.GetType().String() {
		case "HISTOGRAM":
			names, more = []string{f.GetName() + "_bucket", f.GetName() + "_sum", f.GetName() + "_count"}, "le"
		case "SUMMARY":
			names, more = append(names, f.GetName()+"_sum", f.GetName()+"_count"), "quantile"
		}
		for _, m := range f.Metric {
			for _, name := range names {
				x.add(name, "job", "instance")
				for _, l := range m.Label {
					x.add(name, l.GetName())[l.GetName()][l.GetValue()] = true
				}
			}
			x.add(names[0], more)
			for _, q := range m.GetSummary().GetQuantile() {
				x.add(names[0])[more][fmt.Sprint(q.GetQuantile())] = true
			}
		}
	}
	return x
}

// add adds labels to a name, and returns its labels.
func (x exports) add(name string, labels ...string) map[string]map[string]bool {
	if x[name] == nil {
		x[name] = map[string]map[string]bool{}
	}
	for _, l := range labels {
		if l != "" && x[name][l] == nil {
			x[name][l] = map[string]bool{}
		}
	}
	return x[name]
}

var (
	selector = regexp.MustCompile(`\b(up|ALERTS|(?:cairn|go|process)_\w+|cairn:[\w:]+)\b(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(by|on) \(([^)]*)\)`)
)

// open are the labels whose values no program can know.
var open = []string{"job", "instance", "partition", "group", "version", "go", "le", "alertname", "alertstate"}

// problems are the names, labels and label values of an expression that nobody
// exports. A parser of PromQL would drag all of Prometheus in; a real Prometheus
// reads every expression in the tests of the whole program.
func (x exports) problems(expr string) (out []string) {
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		name, labels := m[1], x[m[1]]
		if labels == nil {
			out = append(out, "nobody exports "+name)
			continue
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			values, known := labels[l[1]]
			if !known {
				out = append(out, name+" has no label "+l[1])
			}
			if !known || slices.Contains(open, l[1]) {
				continue
			}
			for _, want := range strings.Split(l[3], "|") {
				if !has(l[1], values, want, strings.Contains(l[2], "~")) {
					out = append(out, fmt.Sprintf("%s has no %s=%q", name, l[1], want))
				}
			}
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(m[2], ",") {
			if l = strings.TrimSpace(l); l != "" && !x.anyHas(expr, l) {
				out = append(out, "nothing in it has the label "+l)
			}
		}
	}
	return out
}

// has reports whether a label has a value, or one that fits a pattern. Of status
// codes only those of success are exported from the start: any will do.
func has(label string, values map[string]bool, want string, pattern bool) bool {
	switch {
	case label == "code":
		return regexp.MustCompile(`^[1-5](\d\d|\.\.)$`).MatchString(want)
	case !pattern:
		return values[want]
	}
	re := regexp.MustCompile("^(?:" + want + ")$")
	for v := range values {
		if re.MatchString(v) {
			return true
		}
	}
	return false
}

// anyHas reports whether a metric of the expression has a label.
func (x exports) anyHas(expr, label string) bool {
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		if _, ok := x[m[1]][label]; ok {
			return true
		}
	}
	return false
}

// record adds what a recording rule makes: the labels that it sums by, with the
// values that they have in the metrics it reads.
func (x exports) record(name, expr string) {
	for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
		if m[1] != "by" {
			continue
		}
		for l := range strings.SplitSeq(m[2], ",") {
			l = strings.TrimSpace(l)
			if l == "le" {
				continue
			}
			values := x.add(name, l)[l]
			for _, s := range selector.FindAllStringSubmatch(expr, -1) {
				for v := range x[s[1]][l] {
					values[v] = true
				}
			}
		}
	}
}

// TestProblems: what the other tests rely on finds what is wrong.
func TestProblems(t *testing.T) {
	x := nodeExports(t)
	x.record("cairn:test:rate5m", `sum by (job, verdict) (rate(cairn_submissions_total[5m]))`)
	for expr, want := range map[string]string{
		`sum by (job) (rate(cairn_submissions_total{verdict="correct"}[5m]))`:                                "",
		`cairn:test:rate5m{verdict=~"correct|nudge",job="$job"} > 0`:                                         "",
		`histogram_quantile(0.9, sum by (le) (rate(cairn_submission_duration_seconds_bucket[$__interval])))`: "",
		`rate(cairn_http_request_duration_seconds_count{code=~"4..|503",method!="GET"}[1m])`:                 "",
		`go_gc_duration_seconds{quantile="1"} + cairn_raft_leader_changes_total{group="p0007"}`:              "",
		`cairn_submissions{verdict="correct"}`:                                                               "nobody exports cairn_submissions",
		`rate(cairn_batch_size[5m])`:                                                                         "nobody exports cairn_batch_size",
		`cairn:nothing:sum > 1`:                                                                              "nobody exports cairn:nothing:sum",
		`cairn_submissions_total{outcome="correct"}`:                                                         "cairn_submissions_total has no label outcome",
		`cairn_submissions_total{verdict=~"correct|wrong"}`:                                                  `cairn_submissions_total has no verdict="wrong"`,
		`cairn:test:rate5m{verdict!="wrong"}`:                                                                `cairn:test:rate5m has no verdict="wrong"`,
		`cairn_http_request_duration_seconds_count{code="OK"}`:                                               `cairn_http_request_duration_seconds_count has no code="OK"`,
		`go_gc_duration_seconds{quantile="0.9"}`:                                                             `go_gc_duration_seconds has no quantile="0.9"`,
		`sum by (state) (cairn_table_version)`:                                                               "nothing in it has the label state",
	} {
		if got := strings.Join(x.problems(expr), "; "); got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", expr, got, want)
		}
	}
}
