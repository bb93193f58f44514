package cli

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"

	"cairn/httpapi/cli/load"
)

// loadReport is the outcome of "bench load", as -o json shows it.
type loadReport struct {
	Seed     uint64      `json:"seed"`
	Clients  int         `json:"clients"`
	Schedule []loadSpan  `json:"schedule"`
	Phases   []loadPhase `json:"phases"` // in the order of their first appearance
	Series   loadSeries  `json:"series"`
	// Cores that were busy, on average: with the generator, and with all nodes. Absent
	// where that is not known.
	GeneratorCores *float64 `json:"generator_cores,omitempty"`
	ClusterCores   *float64 `json:"cluster_cores,omitempty"`
}

// loadSpan is a phase as it was planned.
type loadSpan struct {
	Phase   string  `json:"phase"`
	From    float64 `json:"from_seconds"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate,omitempty"`    // requests a second, of an open loop
	Clients int     `json:"clients,omitempty"` // of a closed loop
}

// loadPhase is what became of the requests that were due in the phases of a name.
type loadPhase struct {
	Phase   string  `json:"phase"`
	Seconds float64 `json:"seconds"`
	loadRow
	Requests []loadRow `json:"requests"` // by kind
}

// loadRow is what became of the requests of a kind.
type loadRow struct {
	Request  string           `json:"request"` // "all", or a kind
	Offered  int64            `json:"offered"`
	Accepted int64            `json:"accepted"`
	Refused  int64            `json:"refused"`             // because there was too much to do
	Held     int64            `json:"held_back,omitempty"` // by clients that had been told to wait
	Failed   int64            `json:"failed"`
	Errors   map[string]int64 `json:"errors"`
	// Of the accepted, from when they were due; 0 if there are none.
	OfferedRate  float64 `json:"offered_per_second"`
	AcceptedRate float64 `json:"accepted_per_second"`
	P50          float64 `json:"p50_ms"`
	P90          float64 `json:"p90_ms"`
	P99          float64 `json:"p99_ms"`
	P999         float64 `json:"p999_ms"`
	Max          float64 `json:"max_ms"`
}

// loadSeries is what happened over time. Requests are offered in the step in
// which they were due, and accepted, refused or failed in that of their answer.
type loadSeries struct {
	Step   float64     `json:"step_seconds"`
	Points []loadPoint `json:"points"`
}

// loadPoint is one step. Its counts are of the whole step.
type loadPoint struct {
	At       float64 `json:"at_seconds"` // its begin
	Offered  int64   `json:"offered"`
	Accepted int64   `json:"accepted"`
	Refused  int64   `json:"refused"`
	Held     int64   `json:"held_back,omitempty"`
	Errors   int64   `json:"errors"`
	P50      float64 `json:"p50_ms"` // of those due in it and accepted
	P99      float64 `json:"p99_ms"`
	InFlight int64   `json:"in_flight"` // due and not answered, at its end
}

func inMillis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

func loadRowOf(what string, t *load.Tally, lasts time.Duration) loadRow {
	ms := func(q float64) float64 { return float64(t.Latency.ValueAtQuantile(q)) / 1e3 }
	return loadRow{
		Request: what, Offered: t.Offered(), Accepted: t.Accepted, Refused: t.Refused, Held: t.Held, Failed: t.Failed(), Errors: t.Errors,
		OfferedRate: float64(t.Offered()) / lasts.Seconds(), AcceptedRate: float64(t.Accepted) / lasts.Seconds(),
		P50: ms(50), P90: ms(90), P99: ms(99), P999: ms(99.9), Max: float64(t.Latency.Max()) / 1e3,
	}
}

func reportOf(plan load.Plan, r *load.Report, used *meter) *loadReport {
	out := &loadReport{Seed: plan.Seed, Clients: plan.Clients, Series: loadSeries{Step: r.Step.Seconds()}}
	from := time.Duration(0)
	for _, p := range plan.Phases {
		s := loadSpan{Phase: p.Name, From: from.Seconds(), Seconds: p.For.Seconds(), Rate: p.Rate}
		if p.Rate == 0 {
			s.Clients = p.Clients
		}
		out.Schedule = append(out.Schedule, s)
		from += p.For
	}
	for _, p := range r.Phases {
		phase := loadPhase{Phase: p.Name, Seconds: p.For.Seconds(), loadRow: loadRowOf("all", p.All(), p.For)}
		for op, t := range p.Ops {
			if t != nil {
				phase.Requests = append(phase.Requests, loadRowOf(load.Op(op).String(), t, p.For))
			}
		}
		out.Phases = append(out.Phases, phase)
	}
	for _, p := range r.Series {
		out.Series.Points = append(out.Series.Points, loadPoint{
			At: p.At.Seconds(), Offered: p.Offered, Accepted: p.Accepted, Refused: p.Refused, Held: p.Held, Errors: p.Errors,
			P50: inMillis(p.P50), P99: inMillis(p.P99), InFlight: p.InFlight,
		})
	}
	out.GeneratorCores, out.ClusterCores = used.cores(r.Elapsed)
	return out
}

// reportLoad prints the report. Errors fail it: its figures are then not what
// they seem.
func (a *app) reportLoad(r *loadReport) error {
	failed := int64(0)
	err := a.emit(answer{r, func(p *page) {
		p.table(loadTable(r))
		if r.GeneratorCores != nil {
			p.printf("The generator kept %.2f cores busy", *r.GeneratorCores)
			if r.ClusterCores != nil {
				p.printf(", the nodes together %.2f", *r.ClusterCores)
			}
			p.WriteString(".\n")
		}
	}})
	for _, phase := range r.Phases {
		for _, row := range phase.Requests {
			for _, text := range slices.Sorted(maps.Keys(row.Errors)) {
				fmt.Fprintf(a.Stderr, "%s, %s: %d times: %s\n", phase.Phase, row.Request, row.Errors[text], printable(text))
			}
		}
		failed += phase.Failed
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d requests failed", failed)
	}
	return err
}

// loadTable has a row a phase, and below it one a kind of request if there are
// several.
func loadTable(r *loadReport) *table {
	t := newTable("PHASE", ">TIME", "REQUEST", ">OFFERED", ">OFFERED/S", ">ACCEPTED/S", ">REFUSED", ">HELD BACK", ">ERRORS", ">P50", ">P90", ">P99", ">P99.9", ">MAX")
	for _, p := range r.Phases {
		rows := []loadRow{p.loadRow}
		if len(p.Requests) > 1 {
			rows = append(rows, p.Requests...)
		} else if len(p.Requests) == 1 {
			rows = p.Requests
		}
		name, lasts := p.Phase, strconv.FormatFloat(p.Seconds, 'g', 4, 64)+" s"
		for _, row := range rows {
			t.add(name, lasts, row.Request, thousands(int(row.Offered)), thousands(int(row.OfferedRate)), thousands(int(row.AcceptedRate)),
				thousands(int(row.Refused)), thousands(int(row.Held)), thousands(int(row.Failed)), millis(row.P50), millis(row.P90), millis(row.P99), millis(row.P999), millis(row.Max))
			name, lasts = "", ""
		}
	}
	return t
}

// meter tells the CPU time that the generator, which is this process, and the
// nodes take.
type meter struct {
	nodes       []int
	self, their time.Duration
	known       bool
}

func newMeter(nodes []int) *meter {
	m := &meter{nodes: nodes}
	m.self, m.their, m.known = m.read()
	return m
}

func (m *meter) read() (self, their time.Duration, ok bool) {
	self, err := load.CPU([]int{os.Getpid()})
	their, err2 := load.CPU(m.nodes)
	return self, their, err == nil && err2 == nil
}

// cores is how many were busy on average, since the meter was made.
func (m *meter) cores(lasts time.Duration) (self, their *float64) {
	mine, nodes, ok := m.read()
	if !ok || !m.known || lasts <= 0 {
		return nil, nil
	}
	of := func(d time.Duration) *float64 {
		v := d.Seconds() / lasts.Seconds()
		return &v
	}
	self = of(mine - m.self)
	if len(m.nodes) > 0 {
		their = of(nodes - m.their)
	}
	return self, their
}
