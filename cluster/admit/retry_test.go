package admit

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
)

// TestPolitePlayers offers three times what a server can do, from players who come
// back when they were told to: few requests are refused in vain, the server is busy,
// nobody is kept out for long, and when the crowd thins everybody is taken.
func TestPolitePlayers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const capacity, players = 1000, 3000
		g, s := New(nil), &server{rate: capacity, floor: 2 * time.Millisecond}
		rng := rand.New(rand.NewPCG(1, 2))
		silent := map[fsm.TeamID]time.Time{} // until when
		c := &crowd{flow: many("h"), work: s.do}
		c.flow = func(int) Flow {
			for {
				f := many("h")(rng.IntN(players))
				f.Team = fsm.TeamID(string(f.Team) + string(rune('a'+rng.IntN(players/1000))))
				c.mu.Lock()
				until := silent[f.Team]
				c.mu.Unlock()
				if !time.Now().Before(until) {
					return f
				}
				c.held++
				time.Sleep(time.Duration(rng.ExpFloat64() / c.rate * float64(time.Second)))
			}
		}
		c.told = func(f Flow, err error) {
			e, ok := errors.AsType[*fsm.Error](err)
			if !ok || e.After < minRetry/2 || e.After > maxRetry*3/2 {
				t.Errorf("told %v", err)
				return
			}
			silent[f.Team] = time.Now().Add(e.After)
		}
		c.rate, c.after = 3*capacity, 20*time.Second
		c.run(t.Context(), g, 80*time.Second, rng)
		done, refused := float64(len(c.took))/60/capacity, float64(c.refused)/float64(len(c.took))
		t.Logf("did %.2f of what the server can, refused %.2f for each, p99 %v, told to wait %v; %d were held back",
			done, refused, c.quantile(0.99), g.retry.after, c.held)
		if done < 0.93 || refused > 0.25 || c.quantile(0.99) > 250*time.Millisecond || g.retry.after == minRetry {
			t.Error("want 0.93, at most 0.25, 250 ms and more than a second")
		}
		c.rate, c.after, c.took, c.refused = 0.5*capacity, 60*time.Second, nil, 0
		c.run(t.Context(), g, 90*time.Second, rng)
		if c.refused > 0 || g.retry.after != minRetry {
			t.Errorf("%d refused, told to wait %v, a minute after the crowd thinned", c.refused, g.retry.after)
		}
	})
}

// TestRetry: the time doubles while too many are refused, halves when few are, and
// a rest ends it.
func TestRetry(t *testing.T) {
	var r retry
	now := time.Unix(1000, 0)
	r.note(now, false)
	second := func(taken, refused int) time.Duration {
		for range taken {
			r.note(now, false)
		}
		for range refused {
			r.note(now, true)
		}
		now = now.Add(time.Second)
		r.note(now, false)
		return r.after
	}
	for i, want := range []time.Duration{2, 2, 4, 4, 4, 4, 8, 8} {
		if got := second(100, 11); got != want*time.Second {
			t.Errorf("second %d: %v, want %d s", i, got, want)
		}
	}
	for range 100 {
		second(1, 100)
	}
	if r.after != maxRetry {
		t.Errorf("%v, want %v at most", r.after, maxRetry)
	}
	for i, want := range []time.Duration{4, 2, 1, 1} {
		if got := second(1000, 50); got != want*time.Second {
			t.Errorf("second %d of few refusals: %v, want %d s", i, got, want)
		}
	}
	for range 100 {
		second(1, 100)
	}
	now = now.Add(time.Hour)
	if r.note(now, false); r.after != minRetry {
		t.Errorf("%v after a rest, want %v", r.after, minRetry)
	}
}

// TestTellSpreads: those that are refused together come back evenly spread.
func TestTellSpreads(t *testing.T) {
	var r retry
	var tenths [10]int
	for range 1000 {
		d := r.tell()
		if d < minRetry/2 || d >= minRetry*3/2 {
			t.Fatalf("told %v", d)
		}
		tenths[int(float64(d-minRetry/2)/float64(minRetry/10))]++
	}
	for i, n := range tenths {
		if n < 95 || n > 105 {
			t.Errorf("%d of 1000 in tenth %d", n, i)
		}
	}
}
