package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/fsm/partition"
	"cairn/store"
)

// BenchmarkSubmit measures submissions through three nodes in one process, over
// real sockets and with real syncs: everything but HTTP.
func BenchmarkSubmit(b *testing.B) {
	nodes, h := benchCluster(b, 1024)
	var n atomic.Int64
	for _, clients := range []int{1, 64, 512, 4096} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			left := atomic.Int64{}
			left.Store(int64(b.N))
			start := time.Now()
			var all sync.WaitGroup
			for c := range clients {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						i := n.Add(1)
						_, err := nodes[c%len(nodes)].Submit(b.Context(), Submission{
							Hunt: h, Team: team(int(i) % 1024), Clue: "a", Answer: "a wrong answer", Key: fmt.Sprintf("k%d", i),
						})
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "sub/s")
		})
	}
}

const benchHunt = `{"id":"h","title":"H","clues":[{"id":"a","title":"A","answers":["yes"]}]}`

// benchCluster starts three nodes on loopback and a hunt with teams.
func benchCluster(b *testing.B, teams int) ([]*Node, HuntRef) {
	b.Helper()
	var nodes []*Node
	var told Founded
	for i := range 3 {
		dir, err := store.Open(b.TempDir()+"/data", store.Options{})
		if err != nil {
			b.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		conf := Config{
			Dir: dir, Listener: ln, Advertise: ln.Addr().String(), HTTP: "127.0.0.1:1", Name: fmt.Sprint("n", i),
			Version: "bench", Logger: slog.New(slog.DiscardHandler), Fatal: func(err error) { b.Error(err) },
		}
		if i > 0 {
			conf.Join, conf.JoinToken = []string{nodes[0].conf.Advertise}, told.JoinToken
		}
		n, err := Open(b.Context(), conf, func(f Founded) error { told = f; return nil })
		if err != nil {
			b.Fatal(err)
		}
		nodes = append(nodes, n)
		b.Cleanup(func() { n.stop(); dir.Close() })
	}
	waitEven(b, nodes)
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	info, _, err := nodes[0].CreateHunt(ctx, []byte(benchHunt))
	if err != nil {
		b.Fatal(err)
	}
	h := HuntRef{info.ID, info.Incarnation}
	var all sync.WaitGroup
	for i := range teams {
		all.Go(func() {
			_, _, err := nodes[i%3].CreateTeam(ctx, &partition.CreateTeam{Hunt: h.ID, Incarnation: h.Incarnation, Team: team(i), Name: "T", Key: "k"})
			if err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	return nodes, h
}

// waitEven waits until the leaderships are where the table prefers them.
func waitEven(b *testing.B, nodes []*Node) {
	b.Helper()
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		even := len(nodes[0].control.state().Partitions()) > 0
		for _, row := range nodes[0].control.state().Partitions() {
			for _, n := range nodes {
				if n.id.Node == row.Preferred {
					r := n.replicas.get(row.ID)
					even = even && r != nil && r.group.Leads() && len(row.Target) == 3
				}
			}
		}
		if even {
			return
		}
		if time.Since(start) > 2*time.Minute {
			b.Fatal("leaderships do not spread")
		}
	}
}
