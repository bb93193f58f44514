package admit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
)

// TestRest: a rest tells nothing about how fast places come free. A crowd that
// comes after an hour of silence and could be served in time is.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := New(nil), &server{rate: 1000, floor: 2 * time.Millisecond}
		c := &crowd{rate: 2000, flow: many("h"), work: s.do}
		c.run(t.Context(), g, 5*time.Second, rand.New(rand.NewPCG(1, 2)))
		if c.refused == 0 {
			t.Fatal("nobody had to wait: this test shows nothing")
		}
		time.Sleep(time.Hour)
		p, err := g.Enter(t.Context(), Flow{})
		if err != nil {
			t.Fatal(err)
		}
		p.Leave(s.do())
		var all sync.WaitGroup
		for i := range g.Stats().Limit + 40 { // 40 of them wait 40 ms at most
			all.Go(func() {
				p, err := g.Enter(t.Context(), many("h")(i))
				if err != nil {
					t.Errorf("request %d: %v", i, err)
					return
				}
				p.Leave(s.do())
			})
		}
		all.Wait()
	})
}

// TestShortDeadlines: that requests took long once is no reason to try none of
// those that have less time, for then nobody would find out that it is over.
func TestShortDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(nil)
		for range 10 {
			p, err := g.Enter(t.Context(), Flow{})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			p.Leave(true)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.Enter(ctx, Flow{}); err != nil {
			t.Fatalf("refused, though nobody else was there: %v", err)
		}
	})
}

// TestPatient: an import of a hunt does not keep its players out, nor do they keep
// it out when there are too many of them.
func TestPatient(t *testing.T) {
	for _, rate := range []float64{500, 3000} {
		t.Run(fmt.Sprint(rate, " players a second"), func(t *testing.T) { importBeside(t, rate) })
	}
}

func importBeside(t *testing.T, rate float64) {
	synctest.Test(t, func(t *testing.T) {
		g, s := New(nil), &server{rate: 1000, floor: 2 * time.Millisecond}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		lines := make([]int, 1000)
		for i := range lines {
			all.Go(func() {
				for ctx.Err() == nil {
					p, err := g.Enter(Patient(ctx), Flow{Hunt: "h", Team: fsm.TeamID(fmt.Sprint("line-", i))})
					if err == nil {
						p.Leave(s.do())
						lines[i]++
					} else if ctx.Err() == nil {
						t.Errorf("a line was refused: %v", err)
					}
				}
			})
		}
		players := &crowd{rate: rate, flow: many("h"), work: s.do, after: 5 * time.Second}
		players.run(ctx, g, 25*time.Second, rand.New(rand.NewPCG(1, 2)))
		cancel()
		all.Wait()
		imported := 0
		for _, n := range lines {
			imported += n
		}
		t.Logf("players: %d done, %d refused, p99 %v; %d lines imported", len(players.took), players.refused, players.quantile(0.99), imported)
		if rate < 700 && players.refused > 0 || players.quantile(0.99) > 250*time.Millisecond {
			t.Errorf("%d of %d players refused, p99 %v", players.refused, players.refused+len(players.took), players.quantile(0.99))
		}
		if share := 25 * max(1000-int(rate), 1000/patientShare) * 8 / 10; imported < share {
			t.Errorf("%d lines imported in 25 s, want %d", imported, share)
		}
		if st := g.Stats(); st.Busy+st.Late+st.Waiting != 0 {
			t.Errorf("left behind: %+v", st)
		}
	})
}

// TestLimits reaches every limit of a gate, and one more is refused.
func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		name       string
		room       int // places besides those that start with
		flow       func(i int) Flow
		wait, late int
		also       Flow // is taken all the same
	}{
		{"a team", 0, func(int) Flow { return Flow{Hunt: "h", Team: "t"} }, MaxPerTeam, 0, Flow{Hunt: "h", Team: "u"}},
		{"all", 0, func(i int) Flow { return Flow{Hunt: "h", Team: fsm.TeamID(fmt.Sprint(i))} }, MaxWaiting, 0, Flow{Hunt: "other"}},
		{"a dead partition", MaxLate, func(i int) Flow { return Flow{Team: fsm.TeamID(fmt.Sprint(i))} }, 0, MaxLate, Flow{Partition: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refused := 0
				g := New(func(string) { refused++ })
				ctx, cancel := context.WithCancel(t.Context())
				if tt.late > 0 {
					g.limiter.limit = float64(tt.late)
				}
				for range g.limiter.max() {
					if _, err := g.Enter(ctx, Flow{}); err != nil {
						t.Fatal(err)
					}
				}
				if tt.late > 0 {
					time.Sleep(2 * holdMax) // nobody is answered
				}
				for i := range tt.wait {
					go g.Enter(ctx, tt.flow(i)) // no longer than MaxWait
				}
				synctest.Wait()
				if refused > 0 {
					t.Fatalf("%d refused below the limit", refused)
				}
				full := make(chan error, 1)
				go func() { _, err := g.Enter(ctx, tt.flow(0)); full <- err }()
				synctest.Wait()
				if refused != 1 {
					t.Fatalf("%d refused at the limit: %+v", refused, g.Stats())
				}
				go g.Enter(ctx, tt.also)
				synctest.Wait()
				if st := g.Stats(); st.Waiting > MaxWaiting || st.Waiting != tt.wait && st.Waiting != tt.wait+1 {
					t.Errorf("the other one is not taken: %+v", st)
				}
				if err := <-full; fsm.KindOf(err) != fsm.Overloaded { // at once, or when it waited too long
					t.Errorf("got %v, want Overloaded", err)
				}
				cancel()
				synctest.Wait()
			})
		})
	}
}

// TestStall: when a node with too much to do stalls, nobody is answered for a
// while. That is no reason to take partitions for dead, and to take on more.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s := New(nil), &server{rate: 2000, floor: 2 * time.Millisecond}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		late := 0
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if i%100 == 99 {
					s.mu.Lock()
					s.free = time.Now().Add(600 * time.Millisecond)
					s.mu.Unlock()
				}
				late = max(late, g.Stats().Late)
				time.Sleep(10 * time.Millisecond)
			}
		})
		c := &crowd{rate: 4000, work: s.do, flow: func(i int) Flow {
			return Flow{Hunt: "h", Team: fsm.TeamID(fmt.Sprint(i % 1000)), Partition: fsm.PartitionID(i % 16)}
		}}
		c.run(ctx, g, 20*time.Second, rand.New(rand.NewPCG(1, 2)))
		cancel()
		all.Wait()
		if done := float64(len(c.took)) / 20 / 2000; late > 0 || done < 0.3 {
			t.Errorf("%d carried beside the limit, did %.2f of what the server can", late, done)
		}
	})
}
