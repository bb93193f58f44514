package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cairn/fsm"
	"cairn/fsm/partition"
)

// Outcomes of a submission, the label of its duration.
const (
	outcomeRecorded    = "recorded"    // judged now
	outcomeReplayed    = "replayed"    // the key was known
	outcomeRefused     = "refused"     // by a rule of the game, or for a mistake
	outcomeUnavailable = "unavailable" // nothing was done
	outcomeUnknown     = "unknown"     // it may have been recorded
	outcomeInternal    = "internal"
)

var outcomes = []string{
	outcomeRecorded, outcomeReplayed, outcomeRefused, outcomeUnavailable, outcomeUnknown, outcomeInternal,
}

// durations are the histograms' buckets, in seconds: from a read of local state
// to the longest deadline.
var durations = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// metrics of one handler. No label carries an id: every label's values are known
// when the program starts, and exported from then on.
type metrics struct {
	requests    *prometheus.HistogramVec
	verdicts    [partition.Verdicts]prometheus.Counter
	submissions map[string]prometheus.Observer // by outcome
	boards      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, table []route) *metrics {
	m := &metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "cairn_http_request_duration_seconds", Help: "Duration of HTTP requests.", Buckets: durations,
		}, []string{"method", "route", "code"}),
		submissions: map[string]prometheus.Observer{},
		boards: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cairn_board_cache_total", Help: "Board pages asked for, by whether they were at hand.",
		}, []string{"result"}),
	}
	verdicts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cairn_submissions_total", Help: "Submissions answered with a verdict by this node, replayed ones included.",
	}, []string{"verdict"})
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "cairn_submission_duration_seconds", Help: "Time from reading a submission to its result, at the node that took it.", Buckets: durations,
	}, []string{"outcome"})
	for v := range m.verdicts {
		m.verdicts[v] = verdicts.WithLabelValues(partition.Verdict(v).String())
	}
	for _, o := range outcomes {
		m.submissions[o] = latency.WithLabelValues(o)
	}
	for _, r := range []string{boardHit, boardMiss} {
		m.boards.WithLabelValues(r)
	}
	for _, rt := range table {
		for _, code := range rt.status {
			m.requests.WithLabelValues(rt.method, rt.path, strconv.Itoa(code))
		}
	}
	reg.MustRegister(m.requests, verdicts, latency, m.boards)
	return m
}

// requestObserver returns what measures the requests of a row. An answer that
// was never written is one that the client gave up on: 499, as proxies have it.
func (m *metrics) requestObserver(rt *route) func(status int, took time.Duration) {
	method := rt.method
	if method == "" {
		method = "other"
	}
	usual := m.requests.WithLabelValues(method, rt.path, strconv.Itoa(http.StatusOK))
	return func(status int, took time.Duration) {
		o := usual
		if status != http.StatusOK {
			if status == 0 {
				status = 499
			}
			o = m.requests.WithLabelValues(method, rt.path, strconv.Itoa(status))
		}
		o.Observe(took.Seconds())
	}
}

// submitted counts one submission and measures it.
func (m *metrics) submitted(s *partition.Submission, err error, took time.Duration) {
	outcome := outcomeRecorded
	switch {
	case err != nil:
		outcome = outcomeOf(err)
	case s.Replayed:
		outcome = outcomeReplayed
	}
	if err == nil {
		m.verdicts[s.Verdict].Inc()
	}
	m.submissions[outcome].Observe(took.Seconds())
}

func outcomeOf(err error) string {
	switch fsm.KindOf(err) {
	case fsm.Internal:
		return outcomeInternal
	case fsm.OutcomeUnknown:
		return outcomeUnknown
	case fsm.Unavailable, fsm.Overloaded, fsm.Stale, fsm.NotLeader:
		return outcomeUnavailable
	}
	return outcomeRefused
}
