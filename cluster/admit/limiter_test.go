package admit

import (
	"testing"
	"time"
)

// feed notes n requests that take d each, busy at once, spread over a second.
func (l *limiter) feed(now time.Time, n, busy int, d time.Duration) time.Time {
	for i := range n {
		at := now.Add(time.Duration(i) * time.Second / time.Duration(n))
		l.note(at.Add(-d), at, busy, busy >= l.max())
	}
	return now.Add(time.Second)
}

func TestLimiter(t *testing.T) {
	l, now := newLimiter(), time.Unix(0, 0)
	now = l.feed(now, 400, 3, time.Millisecond)
	if l.max() != startLimit {
		t.Errorf("grew to %d, though nobody needed it", l.max())
	}
	now = l.feed(now, 400, 1e6, time.Millisecond)
	if l.max() != maxLimit {
		t.Errorf("at %d after a second of quick ones that waited", l.max())
	}
	for range 60 {
		now = l.feed(now, 400, l.max(), time.Second)
	}
	if l.max() != minLimit {
		t.Errorf("at %d after a minute of slow ones", l.max())
	}
	if l.target() != maxTarget && l.target() != target {
		t.Errorf("target %v", l.target())
	}
	for range 20 {
		now = l.feed(now, 400, 1e6, time.Millisecond)
	}
	if at := l.max(); at < 20*minLimit {
		t.Errorf("at %d after 20 s of quick ones", at)
	}
}

// TestLimiterWaitsForItsCut: what began before a cut does not count against the
// limit after it.
func TestLimiterWaitsForItsCut(t *testing.T) {
	l, now := newLimiter(), time.Unix(1000, 0)
	l.limit = 100
	for range 200 { // all of them began together and end together
		l.note(now, now.Add(2*target), 200, true)
	}
	if l.max() != 50 { // a target of the two that they took
		t.Fatalf("one crowd cut the limit from 100 to %d", l.max())
	}
}

// TestLimiterCreeps: near the target it grows by little, as what is added shows only
// later; far below by much.
func TestLimiterCreeps(t *testing.T) {
	for _, c := range []struct {
		took time.Duration
		want int
	}{{target / 4, 110}, {target * 3 / 4, 102}} {
		l, now := newLimiter(), time.Unix(1000, 0)
		l.limit, l.steady = 100, true
		for range minSamples + 1 { // the first one begins the window
			l.note(now, now.Add(c.took), 100, true)
			now = now.Add(window / minSamples)
		}
		if l.max() != c.want {
			t.Errorf("when requests take %v: from 100 to %d, want %d", c.took, l.max(), c.want)
		}
	}
}

// TestLimiterOfASlowDisk: where even few at once take long, the limit follows
// what they take then.
func TestLimiterOfASlowDisk(t *testing.T) {
	l, now := newLimiter(), time.Unix(1000, 0)
	for range 20 {
		now = l.feed(now, 100, 2, 90*time.Millisecond)
	}
	for range 20 {
		now = l.feed(now, 100, l.max(), 150*time.Millisecond)
	}
	if l.max() <= startLimit {
		t.Fatalf("at %d, target %v", l.max(), l.target())
	}
	for range 20 {
		now = l.feed(now, 100, l.max(), 450*time.Millisecond)
	}
	if l.max() > startLimit {
		t.Fatalf("at %d, target %v", l.max(), l.target())
	}
}
