package store

import (
	"bytes"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// openGroups makes a log with n groups and counts its commits.
func openGroups(b testing.TB, n int) ([]*GroupLog, *atomic.Int64) {
	b.Helper()
	commits := new(atomic.Int64)
	d := open(b, filepath.Join(b.TempDir(), "data"), Options{
		Metrics: Metrics{Commit: func(time.Duration, int, int, int) { commits.Add(1) }},
	})
	l, err := d.Logs()
	must(b, err)
	groups := make([]*GroupLog, n)
	for i := range groups {
		groups[i], err = l.Create(uint32(i), fmt.Sprintf("node.%d", i))
		must(b, err)
	}
	return groups, commits
}

// BenchmarkStoreLogs appends entries of 1 KiB, one a call, and compacts every
// 4,096: one group alone, and 16 groups at once.
func BenchmarkStoreLogs(b *testing.B) {
	for _, n := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("groups=%d", n), func(b *testing.B) {
			groups, commits := openGroups(b, n)
			commits.Store(0)
			data := bytes.Repeat([]byte("x"), 1<<10)
			b.ResetTimer()
			var wg sync.WaitGroup
			for _, g := range groups {
				wg.Go(func() {
					for i := uint64(1); i <= uint64(b.N/n+1); i++ {
						if err := g.StoreLog(&raft.Log{Index: i, Term: 1, Data: data}); err != nil {
							b.Error(err)
						}
						if i%4096 == 0 {
							if err := g.DeleteRange(1, i-1024); err != nil {
								b.Error(err)
							}
						}
					}
				})
			}
			wg.Wait()
			entries := float64(n * (b.N/n + 1))
			b.ReportMetric(entries/b.Elapsed().Seconds(), "entries/s")
			b.ReportMetric(float64(commits.Load())/entries, "commits/entry")
		})
	}
}

// BenchmarkGetLog reads entries of 1 KiB: those just appended, and old ones.
func BenchmarkGetLog(b *testing.B) {
	groups, _ := openGroups(b, 1)
	g := groups[0]
	const entries = 8192
	for i := uint64(1); i <= entries; i += 64 {
		var logs []*raft.Log
		for j := i; j < i+64; j++ {
			logs = append(logs, &raft.Log{Index: j, Term: 1, Data: bytes.Repeat([]byte("x"), 1<<10)})
		}
		must(b, g.StoreLogs(logs))
	}
	for name, from := range map[string]uint64{"recent": entries - 500, "old": 1} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var l raft.Log
			for i := range uint64(b.N) {
				if err := g.GetLog(from+i%500, &l); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
