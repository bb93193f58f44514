package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Tally is what became of requests.
type Tally struct {
	Accepted int64            // answered as they should be
	Refused  int64            // 503 overloaded or 429: nothing was done
	Held     int64            // not sent, because their client had been told to wait
	Errors   map[string]int64 // by what was answered instead
	// Latency of those accepted, in microseconds, from when they were due.
	Latency *hdrhistogram.Histogram
}

func newTally() *Tally { return &Tally{Errors: map[string]int64{}, Latency: newHistogram()} }

// Failed is how many ended in an error.
func (t *Tally) Failed() int64 {
	n := int64(0)
	for _, k := range t.Errors {
		n += k
	}
	return n
}

// Offered is how many there were: those that were due, in an open loop.
func (t *Tally) Offered() int64 { return t.Accepted + t.Refused + t.Held + t.Failed() }

func (t *Tally) note(took time.Duration, err error) {
	_, isRefusal := wasRefused(err)
	switch {
	case isRefusal:
		t.Refused++
	case err == errHeld:
		t.Held++
	case err != nil:
		t.Errors[err.Error()]++
	default:
		t.Accepted++
		t.Latency.RecordValue(inRange(took)) // so it cannot fail
	}
}

func (t *Tally) add(other *Tally) {
	t.Accepted += other.Accepted
	t.Refused += other.Refused
	t.Held += other.Held
	t.Latency.Merge(other.Latency)
	for text, n := range other.Errors {
		t.Errors[text] += n
	}
}

// PhaseResult is what became of the requests that were due in a phase.
type PhaseResult struct {
	Name string
	For  time.Duration // of all phases of this name
	Ops  [kinds]*Tally // nil where there was no such request
}

// All sums up all kinds.
func (p *PhaseResult) All() *Tally {
	all := newTally()
	for _, t := range p.Ops {
		if t != nil {
			all.add(t)
		}
	}
	return all
}

// Point is one step of the time series. Requests are offered when they are due,
// and accepted, refused or failed when the answer comes.
type Point struct {
	At                                       time.Duration // its begin
	Offered, Accepted, Refused, Held, Errors int64
	InFlight                                 int64 // due and not answered, at its end
	// P50 and P99 are of the requests that were due in it and were accepted, from
	// when they were due; 0 if there were none.
	P50, P99 time.Duration
}

const (
	// maxPoints bounds a time series: a longer one has longer steps.
	maxPoints = 3600
	// maxTail bounds how many steps there are after the last phase; what is answered
	// even later counts for the last of them.
	maxTail = 600
	// seriesDigits are the significant digits of a step's latencies: with two, the
	// histograms of the longest series take 75 MB.
	seriesDigits = 2
)

// step is the length of a step of the series: a second, or more if it is long.
func step(all time.Duration) time.Duration {
	return max((all+maxPoints*time.Second-1)/(maxPoints*time.Second), 1) * time.Second
}

// recorder collects what became of every request. One for all clients: a
// histogram of 150 kB for each of thousands would cost more than the lock does.
type recorder struct {
	step time.Duration
	most int

	mu     sync.Mutex
	phases []PhaseResult
	points []point
	lag    *hdrhistogram.Histogram
}

// late counts how late a request was sent without need.
func (r *recorder) late(by time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lag.RecordValue(inRange(by)) // so it cannot fail
}

// point is a Point that is being made.
type point struct {
	Point
	latency *hdrhistogram.Histogram
}

// newRecorder also returns the index into the results of each phase.
func newRecorder(phases []Phase) (*recorder, []int) {
	all := time.Duration(0)
	r := &recorder{lag: newHistogram()}
	byName := map[string]int{}
	index := make([]int, len(phases))
	for i, p := range phases {
		all += p.For
		k, ok := byName[p.Name]
		if !ok {
			k = len(r.phases)
			byName[p.Name] = k
			r.phases = append(r.phases, PhaseResult{Name: p.Name})
		}
		r.phases[k].For += p.For
		index[i] = k
	}
	r.step = step(all)
	steps := int((all + r.step - 1) / r.step)
	r.points, r.most = make([]point, steps), steps+maxTail
	return r, index
}

// note counts a request of a phase that was due, and answered, at times since the
// beginning.
func (r *recorder) note(phase int, op Op, due, done time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.phases[phase].Ops[op]
	if t == nil {
		t = newTally()
		r.phases[phase].Ops[op] = t
	}
	t.note(done-due, err)
	end := min(int(done/r.step), r.most-1)
	for len(r.points) <= end {
		r.points = append(r.points, point{})
	}
	begin := &r.points[int(due/r.step)]
	begin.Offered++
	_, isRefusal := wasRefused(err)
	switch {
	case isRefusal:
		r.points[end].Refused++
	case err == errHeld:
		r.points[end].Held++
	case err != nil:
		r.points[end].Errors++
	default:
		r.points[end].Accepted++
		if begin.latency == nil {
			begin.latency = hdrhistogram.New(1, maxLatency, seriesDigits)
		}
		begin.latency.RecordValue(inRange(done - due)) // so it cannot fail
	}
}

// series is to be called when all is done.
func (r *recorder) series() []Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Point, len(r.points))
	flying := int64(0)
	for i := range r.points {
		p := r.points[i].Point
		p.At = time.Duration(i) * r.step
		flying += p.Offered - p.Accepted - p.Refused - p.Held - p.Errors
		p.InFlight = flying
		if h := r.points[i].latency; h != nil {
			p.P50 = time.Duration(h.ValueAtQuantile(50)) * time.Microsecond
			p.P99 = time.Duration(h.ValueAtQuantile(99)) * time.Microsecond
		}
		out[i] = p
	}
	return out
}

// maxLatency is the longest latency that is told apart, in microseconds.
const maxLatency = int64(2 * time.Minute / time.Microsecond)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatency, 3) }

// inRange is a latency as histograms take it.
func inRange(took time.Duration) int64 { return min(max(took.Microseconds(), 1), maxLatency) }
