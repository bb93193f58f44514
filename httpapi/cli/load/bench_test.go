package load

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"cairn/fsm"
	"cairn/httpapi/cli/play"
)

// BenchmarkGenerator is what a request costs the process that makes it, with a
// server in the same process that does next to nothing and allocates nothing.
// An iteration is half a second of load, so look at the figures of a request.
func BenchmarkGenerator(b *testing.B) {
	for _, bb := range []struct {
		name    string
		clients int
		rate    float64
		skew    float64
	}{
		{"closed", 64, 0, 0},
		{"open", 64, 10_000, 0},
		{"open-many", 2048, 10_000, 0},
		{"open-skew", 64, 10_000, 1.1},
	} {
		b.Run(bb.name, func(b *testing.B) {
			cfg := Config{Addrs: []string{"http://" + echo(b)}, Hunt: "h", Clue: "c", Concurrency: bb.clients, Rate: bb.rate, Skew: bb.skew, Run: "1", For: time.Second / 2}
			for i := range 4096 {
				cfg.Teams = append(cfg.Teams, play.Team{ID: fsm.TeamID(fmt.Sprintf("t%06d", i)), Token: "cairn_t_0123456789abcdefghijklmnopqrstuvwxyz"})
			}
			var ops, allocs, size uint64
			var cpu time.Duration
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				used, err := CPU([]int{os.Getpid()})
				if err != nil {
					b.Skip(err)
				}
				r, err := Single(b.Context(), cfg)
				if err != nil || len(r.Errors) > 0 {
					b.Fatalf("%+v, %v", r, err)
				}
				now, err := CPU([]int{os.Getpid()})
				if err != nil {
					b.Fatal(err)
				}
				runtime.ReadMemStats(&after)
				ops, allocs, size, cpu = ops+uint64(r.Ops), allocs+after.Mallocs-before.Mallocs, size+after.TotalAlloc-before.TotalAlloc, cpu+now-used
			}
			each := func(v float64, unit string) { b.ReportMetric(v/float64(ops), unit+"/request") }
			each(float64(cpu.Nanoseconds()), "cpu-ns")
			each(float64(allocs), "allocs")
			each(float64(size), "B")
			b.ReportMetric(float64(ops)/float64(b.N), "requests")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// echo serves the same good answer to whatever comes, and returns its address.
func echo(b *testing.B) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	body := `{"submission":"12","verdict":"incorrect"}`
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go answers(c, answer)
		}
	}()
	return ln.Addr().String()
}

// answers answers each request of a connection: each is less than a buffer, and
// its body, if it has one, ends with a brace.
func answers(c net.Conn, answer []byte) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		post := false
		for first := true; ; first = false {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if first {
				post = bytes.HasPrefix(line, []byte("POST"))
			}
			if len(line) <= 2 {
				break
			}
		}
		if post {
			if _, err := r.ReadSlice('}'); err != nil {
				return
			}
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}
