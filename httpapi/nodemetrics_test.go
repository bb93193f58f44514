package httpapi_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"cairn/cluster"
	"cairn/httpapi"
	"cairn/httpapi/apitest"
)

// gauged is a node of two replicas, neither of which ever had a leader.
type gauged struct{}

func (gauged) Gauges() cluster.Gauges {
	g := cluster.Gauges{Partitions: 2, Nodes: map[string]int{}}
	for _, s := range cluster.NodeStates {
		g.Nodes[s] = 0
	}
	for _, id := range []string{"0", "1"} {
		g.Replicas = append(g.Replicas, cluster.ReplicaGauges{Partition: id, Group: "p000" + id})
	}
	return g
}

// TestEveryFamilyFromTheStart: what API.md lists is exported by a node to which
// nothing has happened yet, with every value of its closed labels.
func TestEveryFamilyFromTheStart(t *testing.T) {
	reg := prometheus.NewRegistry()
	httpapi.NewNodeMetrics(reg, "test").Watch(gauged{})
	httpapi.New(httpapi.Config{Cluster: apitest.New(), Registry: reg})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, f := range families {
		at[f.GetName()] = i
	}
	for want, counts := range map[string]bool{ // whether it only counts, and so begins at 0
		"cairn_submissions_total verdict=correct,incorrect,nudge,duplicate,already_solved":                 true,
		"cairn_submission_duration_seconds outcome=recorded,replayed,refused,unavailable,unknown,internal": true,
		"cairn_forwards_total result=ok,not_leader,unreachable,lost,refused,cut_off":                       true,
		"cairn_admission_rejected_total reason=queue_full,deadline,rate":                                   true,
		"cairn_queue_depth partition=0,1":                                                                  false,
		"cairn_queue_wait_seconds":                                                                         true,
		"cairn_batch_size":                                                                                 true,
		"cairn_checkpoint_divergence_total":                                                                true,
		"cairn_node_unresponsive_total":                                                                    true,
		"cairn_reassignments_total reason=repair,leave,join,zone,balance,leader":                           true,
		"cairn_partition_leader partition=0,1":                                                             false,
		"cairn_partition_applied_index partition=0,1":                                                      false,
		"cairn_partitions": false,
		"cairn_raft_leader_changes_total group=controller,p0000,p0001":               true,
		"cairn_raft_last_contact_seconds group=controller,p0000,p0001":               false,
		"cairn_log_fsync_duration_seconds":                                           true,
		"cairn_snapshot_duration_seconds":                                            true,
		"cairn_clock_offset_seconds":                                                 false,
		"cairn_table_version":                                                        false,
		"cairn_nodes state=alive,suspect,down,draining,left":                         false,
		"cairn_http_request_duration_seconds method=GET,POST,PUT,PATCH,DELETE,other": true,
		"cairn_peer_messages_total":                                                  true,
		"cairn_peer_sent_bytes_total":                                                true,
		"cairn_admission_limit":                                                      false,
		"cairn_admission_in_flight":                                                  false,
		"cairn_admission_waiting":                                                    false,
		"cairn_admission_late":                                                       false,
		"cairn_board_cache_total result=hit,miss":                                    true,
		"cairn_build_info version=test":                                              false,
		"go_goroutines":                                                              false,
		"process_start_time_seconds":                                                 false,
	} {
		name, labels, _ := strings.Cut(want, " ")
		i, ok := at[name]
		if !ok {
			t.Errorf("%s is not exported at the start", name)
			continue
		}
		label, closed, _ := strings.Cut(labels, "=")
		values := map[string]bool{}
		for _, m := range families[i].Metric {
			if n := m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount()); counts && n != 0 {
				t.Errorf("%s begins at %v: %v", name, n, m)
			}
			for _, l := range m.Label {
				if l.GetName() == label {
					values[l.GetValue()] = true
				}
			}
		}
		wanted := strings.Split(closed, ",")
		slices.Sort(wanted)
		if label != "" && !slices.Equal(slices.Sorted(maps.Keys(values)), wanted) {
			t.Errorf("%s has for %s at the start %v, want %q", name, label, values, wanted)
		}
	}
}
