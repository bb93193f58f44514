package cluster

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cairn/fsm"
)

// rateMeter tells how many events a second there were of late. Events are counted
// from any goroutine; what is read is smoothed over about rateOver.
type rateMeter struct {
	events atomic.Int64

	mu   sync.Mutex
	at   time.Time
	seen int64
	rate float64
}

// rateOver is the time over which a rate is smoothed: balance follows trends, not
// bursts.
const rateOver = time.Minute

func (m *rateMeter) read(now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	span := now.Sub(m.at)
	if m.at.IsZero() || span <= 0 {
		m.at, m.seen = now, m.events.Load()
		return m.rate
	}
	events := m.events.Load()
	present := float64(events-m.seen) / span.Seconds()
	weight := min(1, float64(span)/float64(rateOver))
	m.rate += weight * (present - m.rate)
	m.at, m.seen = now, events
	return m.rate
}

// stallMeter notices when this process does not get to run: its goroutine wants to
// every stallEvery, and measures how much later it does.
type stallMeter struct {
	mu    sync.Mutex
	worst time.Duration
}

// stallEvery is small beside the stalls that matter, and large beside what looking
// costs.
const stallEvery = 100 * time.Millisecond

func (m *stallMeter) run(ctx context.Context) {
	timer := time.NewTimer(stallEvery)
	defer timer.Stop()
	for {
		due := time.Now().Add(stallEvery)
		timer.Reset(stallEvery)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		late := time.Since(due)
		m.mu.Lock()
		m.worst = max(m.worst, late)
		m.mu.Unlock()
	}
}

// take returns the longest delay since it was taken last.
func (m *stallMeter) take() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	worst := m.worst
	m.worst = 0
	return worst
}

// clockFilter keeps the samples of clock offsets of the last minute.
type clockFilter struct {
	from    fsm.NodeID // whose clock they compare with
	samples []clockSample
}

type clockSample struct {
	at           time.Time
	trip, offset time.Duration
}

// clockMemory is how long a sample counts.
const clockMemory = time.Minute

func (f *clockFilter) add(from fsm.NodeID, s clockSample) {
	if f.from != from {
		f.from, f.samples = from, nil
	}
	for len(f.samples) > 0 && s.at.Sub(f.samples[0].at) > clockMemory {
		f.samples = f.samples[1:]
	}
	f.samples = append(f.samples, s)
}

// offset is that of the sample with the shortest round trip: the one that waited
// least, on either way.
func (f *clockFilter) offset() time.Duration {
	best := f.samples[0]
	for _, s := range f.samples[1:] {
		if s.trip < best.trip {
			best = s
		}
	}
	return best.offset
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
