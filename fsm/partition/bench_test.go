package partition

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"
)

// BenchmarkApply applies batches of new submissions, three wrong ones for each
// right one, spread over 2,000 teams; an operation is one submission.
func BenchmarkApply(b *testing.B) {
	for _, size := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			const teams, rounds = 2_000, 200
			m := populated(b, teams, 0)
			entries := entriesOf(size, teams, rounds)
			b.ReportAllocs()
			b.ResetTimer()
			for done, next := 0, 0; done < b.N; next++ {
				if next == len(entries) {
					b.StopTimer()
					m, next = populated(b, teams, 0), 0
					b.StartTimer()
				}
				results, err := m.Apply(entries[next])
				if err != nil || results[0].Err != nil {
					b.Fatal(err, results[0].Err)
				}
				done += len(results)
			}
		})
	}
}

func entriesOf(size, teams, rounds int) [][]byte {
	var out [][]byte
	var batch Batch
	for n := range rounds {
		for i := range teams {
			if batch.Len() == size || !batch.Add(epoch, benchSubmit(i, n)) {
				out = append(out, batch.Bytes())
				batch.Reset()
				batch.Add(epoch, benchSubmit(i, n))
			}
		}
	}
	return append(out, batch.Bytes())
}

// BenchmarkFullHistory answers the last key of a team that has made all the
// submissions it may: the longest scan.
func BenchmarkFullHistory(b *testing.B) {
	m := populated(b, 1, MaxSubmissions)
	var batch Batch
	batch.Add(epoch, benchSubmit(0, MaxSubmissions-1))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Apply(batch.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReplay answers a known key.
func BenchmarkReplay(b *testing.B) {
	m := populated(b, 2_000, 100)
	var batch Batch
	batch.Add(epoch, benchSubmit(7, 50))
	b.ReportAllocs()
	for b.Loop() {
		if results, err := m.Apply(batch.Bytes()); err != nil || !results[0].Submission.Replayed {
			b.Fatal(results, err)
		}
	}
}

// BenchmarkSnapshot freezes and writes 10,000 teams with 50 submissions each.
func BenchmarkSnapshot(b *testing.B) {
	m := populated(b, 10_000, 50)
	b.Run("freeze", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.Freeze()
		}
	})
	b.Run("write", func(b *testing.B) {
		f := m.Freeze()
		b.ReportAllocs()
		for b.Loop() {
			n, err := f.WriteTo(io.Discard)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(n)
		}
	})
	b.Run("hash", func(b *testing.B) {
		f := m.Freeze()
		for b.Loop() {
			f.Hash()
		}
	})
	b.Run("restore", func(b *testing.B) {
		image := snapshot(b, m.Freeze())
		b.SetBytes(int64(len(image)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Restore(bytes.NewReader(image)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkBoard reads 100 rows in the middle of a board of 10,000.
func BenchmarkBoard(b *testing.B) {
	m := populated(b, 10_000, 40)
	first := m.Board("h", 1, "", nil, 5_000)
	after := first.Rows[len(first.Rows)-1].Place
	b.ReportAllocs()
	for b.Loop() {
		if p := m.Board("h", 1, "", &after, 100); len(p.Rows) != 100 {
			b.Fatal(p)
		}
	}
}

// BenchmarkMemory reports the bytes of memory that a submission takes: 20,000
// teams with 50 each.
func BenchmarkMemory(b *testing.B) {
	const teams, each = 20_000, 50
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := populated(b, teams, each)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/teams/each, "B/submission")
		runtime.KeepAlive(m)
	}
}
