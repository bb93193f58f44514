package admit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
)

// server is a queueing model of what is behind a gate: it does rate requests a
// second, one after the other, each at least in floor; what it is asked beyond
// that piles up in it.
type server struct {
	rate  float64
	floor time.Duration

	mu   sync.Mutex
	free time.Time // when it is done with all it has
}

func (s *server) do() bool {
	s.mu.Lock()
	now := time.Now()
	if s.free.Before(now) {
		s.free = now
	}
	s.free = s.free.Add(time.Duration(float64(time.Second) / s.rate))
	d := max(s.floor, s.free.Sub(now))
	s.mu.Unlock()
	time.Sleep(d)
	return true
}

// crowd is an open-loop stream of requests: they come whatever becomes of them.
type crowd struct {
	rate  float64
	flow  func(i int) Flow
	work  func() bool
	after time.Duration     // what comes before is not counted
	told  func(Flow, error) // of a refusal; may be nil

	mu      sync.Mutex
	took    []time.Duration // of those that were done
	refused int
	late    int // of the refused, who were told only after a wait
	held    int // not sent, for it was told to wait
}

// run sends requests for a time and waits for the last.
func (c *crowd) run(ctx context.Context, g *Gate, lasts time.Duration, rng *rand.Rand) {
	var all sync.WaitGroup
	begin := time.Now()
	for i := 0; time.Since(begin) < lasts; i++ {
		time.Sleep(time.Duration(rng.ExpFloat64() / c.rate * float64(time.Second)))
		flow := c.flow(i)
		at := time.Now()
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			p, err := g.Enter(ctx, flow)
			if err == nil {
				p.Leave(c.work())
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if err != nil && c.told != nil {
				c.told(flow, err)
			}
			if at.Sub(begin) < c.after {
				return
			}
			if err != nil {
				if c.refused++; time.Since(at) > 0 {
					c.late++
				}
				return
			}
			c.took = append(c.took, time.Since(at))
		})
	}
	all.Wait()
}

func (c *crowd) quantile(q float64) time.Duration {
	slices.Sort(c.took)
	return c.took[min(len(c.took)-1, int(q*float64(len(c.took))))]
}

func many(hunt fsm.HuntID) func(int) Flow {
	return func(i int) Flow {
		return Flow{Hunt: hunt, Team: fsm.TeamID(fmt.Sprint(i % 1000)), Partition: fsm.PartitionID(len(hunt))}
	}
}

// TestOverload offers multiples of what a server can do: it does nearly all it
// can, quickly, and the rest is refused. Without a gate the queue grows for ever.
func TestOverload(t *testing.T) {
	for _, load := range []float64{0.5, 0.8, 1, 1.5, 3, 10} {
		for _, rate := range []float64{100, 2000} {
			t.Run(fmt.Sprintf("%v of %v/s", load, rate), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g, s := New(nil), &server{rate: rate, floor: 2 * time.Millisecond}
					const after, lasts = 5 * time.Second, 35 * time.Second
					c := &crowd{rate: load * rate, flow: many("h"), work: s.do, after: after}
					c.run(t.Context(), g, lasts, rand.New(rand.NewPCG(1, 2)))
					done := float64(len(c.took)) / (lasts - after).Seconds() / rate
					if want := 0.95 * min(load, 0.98); done < want {
						t.Errorf("did %.2f of what the server can, want %.2f (%+v)", done, want, g.Stats())
					}
					if p99 := c.quantile(0.99); p99 > 250*time.Millisecond {
						t.Errorf("p99 %v", p99)
					}
					if load < 1 && c.refused > 0 {
						t.Errorf("refused %d of %d, though there was room", c.refused, c.refused+len(c.took))
					}
					if c.late > c.refused/2 {
						t.Errorf("%d of %d waited for their refusal", c.late, c.refused)
					}
					t.Logf("did %.3f, refused %d, p50 %v, p99 %v, %+v", done, c.refused, c.quantile(0.5), c.quantile(0.99), g.Stats())
				})
			})
		}
	}
}

// TestFair: whoever asks for little gets it as before, whatever others ask for:
// beside a hunt with nine tenths and more of the traffic, and beside a team that
// hammers.
func TestFair(t *testing.T) {
	quiet := func(t *testing.T, heavy *crowd) *crowd {
		s := &server{rate: 1000, floor: 2 * time.Millisecond}
		g := New(nil)
		light := &crowd{rate: 100, flow: many("light"), work: s.do, after: 5 * time.Second}
		var all sync.WaitGroup
		if heavy != nil {
			heavy.work, heavy.after = s.do, light.after
			all.Go(func() { heavy.run(t.Context(), g, 35*time.Second, rand.New(rand.NewPCG(3, 4))) })
		}
		light.run(t.Context(), g, 35*time.Second, rand.New(rand.NewPCG(1, 2)))
		all.Wait()
		return light
	}
	for name, flow := range map[string]func(int) Flow{
		"a hunt": many("heavy"),
		"a team": func(int) Flow { return Flow{Hunt: "light", Team: "hammer"} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				full := quiet(t, &crowd{rate: 900, flow: flow})
				over := quiet(t, &crowd{rate: 9000, flow: flow})
				if over.refused > 0 {
					t.Errorf("refused %d of the quiet ones", over.refused)
				}
				t.Logf("beside 900/s p50 %v, p99 %v; beside 9,000/s p50 %v, p99 %v; refused %d",
					full.quantile(0.5), full.quantile(0.99), over.quantile(0.5), over.quantile(0.99), over.refused)
				if over.quantile(0.99) > full.quantile(0.99)*12/10 {
					t.Errorf("p99 of the quiet ones moved by more than a fifth")
				}
			})
		})
	}
}

// TestDeadPartition: requests to a partition without a leader wait until their
// deadline. The others do not notice.
func TestDeadPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{rate: 1000, floor: 2 * time.Millisecond}
		g := New(nil)
		c := &crowd{rate: 400, flow: many("alive"), work: s.do}
		dead := &crowd{rate: 400, flow: many("dead"), work: func() bool { time.Sleep(10 * time.Second); return false }}
		var all sync.WaitGroup
		all.Go(func() { dead.run(t.Context(), g, 20*time.Second, rand.New(rand.NewPCG(3, 4))) })
		c.run(t.Context(), g, 20*time.Second, rand.New(rand.NewPCG(1, 2)))
		all.Wait()
		t.Logf("refused %d alive, %d dead of %d; p99 %v, %+v", c.refused, dead.refused, dead.refused+len(dead.took), c.quantile(0.99), g.Stats())
		if p99 := c.quantile(0.99); p99 > 50*time.Millisecond || c.refused > 0 {
			t.Errorf("p99 %v, refused %d", p99, c.refused)
		}
		if st := g.Stats(); st.Busy != 0 || st.Late != 0 || st.Waiting != 0 {
			t.Errorf("left behind: %+v", st)
		}
	})
}
