package link

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkCall measures calls of 200 bytes over loopback TCP and TLS, with
// deadlines, from so many callers at a time. ns/op is the inverse of the
// throughput; with one caller it is the round trip.
func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 64, 256, 512} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			r := newRig(b, newTCPNet())
			r.start("b", nil)
			a := r.start("a", nil)
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			body := make([]byte, 200)
			if _, err := a.Call(ctx, "b", 1, 1, body); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := a.Call(ctx, "b", 1, 1, body); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}
