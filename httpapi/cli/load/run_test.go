package load

import (
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"cairn/fsm"
	"cairn/httpapi/cli/play"
)

// The tests of Run are in bubbles: in virtual time the stub takes just as long
// as it says, and everything else no time at all.

// service is how long the stub takes.
const service = time.Millisecond

// stub is a server whose behaviour is known.
type stub struct {
	begin              time.Time
	stallFrom, stallTo time.Duration                            // since begin: who comes meanwhile waits to its end
	answer             func(n int) (status int, problem string) // of the n-th request; nil: all are good
	conns              chan net.Conn

	mu      sync.Mutex
	n       int
	ops     map[string]int
	seconds map[int]int // arrivals
	log     []string    // of one client, what it asked for
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Since(s.begin)
	s.mu.Lock()
	n := s.n
	s.n++
	s.seconds[int(now/time.Second)]++
	op, body := kindOf(r)
	s.ops[op]++
	s.log = append(s.log, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	if now >= s.stallFrom && now < s.stallTo {
		time.Sleep(s.stallTo - now)
	}
	time.Sleep(service)
	if s.answer != nil {
		if status, code := s.answer(n); status != http.StatusOK {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"code":%q}`, code)
			return
		}
	}
	io.WriteString(w, body)
}

// kindOf is the kind of a request, and a good answer to it.
func kindOf(r *http.Request) (op, body string) {
	part := strings.Split(r.URL.Path, "/")[4:] // "", "v1", "hunts", HUNT, ...
	switch {
	case r.Method == http.MethodPost && len(part) == 3 && part[2] == "submissions":
		return "submit", `{"verdict":"incorrect"}`
	case len(part) == 1 && part[0] == "leaderboard":
		return "board", `{"leaderboard":[]}`
	case len(part) == 3 && part[2] == "clues":
		return "clues", `{"clues":[]}`
	case len(part) == 2:
		return "team", `{"id":"t","score":0}`
	}
	return "what", ""
}

// Accept, Close and Addr make it a listener of pipes.
func (s *stub) Accept() (net.Conn, error) {
	c, ok := <-s.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (s *stub) Close() error   { return nil }
func (s *stub) Addr() net.Addr { return &net.TCPAddr{} }

func (s *stub) dial(string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	s.conns <- theirs
	return ours, nil
}

// against runs a load on the stub in virtual time. Unless it says otherwise, it
// has 50 clients, and two hunts of 50 teams.
func against(t *testing.T, s *stub, p Plan, check func(r *Report)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s.begin, s.conns, s.ops, s.seconds = time.Now(), make(chan net.Conn), map[string]int{}, map[int]int{}
		srv := &http.Server{Handler: s}
		served := make(chan struct{})
		go func() { srv.Serve(s); close(served) }()
		p.Addrs, p.Dial, p.Clue, p.Run = []string{"http://stub"}, s.dial, "c", "1"
		if p.Clients == 0 {
			p.Clients = 50
		}
		if p.Hunts == nil {
			p.Hunts = hunts(2, 50)
		}
		r, err := Run(t.Context(), p)
		close(s.conns)
		srv.Close()
		<-served
		if err != nil {
			t.Fatal(err)
		}
		check(r)
	})
}

func hunts(n, teams int) []Hunt {
	out := make([]Hunt, n)
	for h := range out {
		out[h].ID = fsm.HuntID(fmt.Sprintf("h%d", h))
		for i := range teams {
			out[h].Teams = append(out[h].Teams, play.Team{ID: fsm.TeamID(fmt.Sprintf("t%d", i)), Token: "x"})
		}
	}
	return out
}

func phases(t *testing.T, text string) []Phase {
	t.Helper()
	p, err := ParsePhases(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestStall: while the server stands still, every request that is due waits for
// the rest of the stall, though only as many are sent as there are clients.
// Counted from when it was sent, only those few would be slow.
func TestStall(t *testing.T) {
	s := &stub{stallFrom: 800 * time.Millisecond, stallTo: 1300 * time.Millisecond}
	against(t, s, Plan{Phases: phases(t, "before:800ms@1000,stall:500ms@1000,after:1700ms@1000")}, func(r *Report) {
		before, stall := r.Phases[0].All(), r.Phases[1].All()
		if before.Accepted != 800 || before.Latency.Max() > 1100 || stall.Accepted != 500 {
			t.Errorf("before: %d accepted, the slowest after %d us; in the stall: %d", before.Accepted, before.Latency.Max(), stall.Accepted)
		}
		// A request that is due u after the stall's begin waits 500 ms - u, and then for
		// its turn: 50 clients do away with the 500 that wait in 10 ms.
		for _, tt := range []struct{ q, ms float64 }{{10, 50}, {50, 250}, {90, 450}, {100, 500}} {
			if got := float64(stall.Latency.ValueAtQuantile(tt.q)) / 1e3; got < tt.ms || got > tt.ms+13 {
				t.Errorf("p%v of the stall is %v ms, want %v and up to 13 more", tt.q, got, tt.ms)
			}
		}
		if got := r.Series[0].InFlight; got < 200 || got > 202 {
			t.Errorf("%d in flight 200 ms after the stall's begin, want the 200 that were due", got)
		}
		if p := r.Series[0]; p.Offered != 1000 || p.Accepted < 798 || p.Accepted > 800 {
			t.Errorf("the first second: %+v", p)
		}
		if p := r.Series[1]; p.Accepted < 1198 || p.P99 < 290*time.Millisecond || p.InFlight > 2 {
			t.Errorf("the second second: %+v", p)
		}
	})
}

// TestPhases: each has its rate, or its clients, and those of one name are one.
func TestPhases(t *testing.T) {
	s := &stub{}
	against(t, s, Plan{Phases: phases(t, "warm:2s@100,burst:1s@1000,calm:1s@50,rest:1s@0,peak:1s@10c,burst:1s@1000")}, func(r *Report) {
		want := []struct {
			name    string
			lasts   time.Duration
			offered int64
		}{{"warm", 2, 200}, {"burst", 2, 2000}, {"calm", 1, 50}, {"rest", 1, 0}, {"peak", 1, 10_000}}
		for i, w := range want {
			p := r.Phases[i]
			all := p.All()
			if p.Name != w.name || p.For != w.lasts*time.Second || all.Offered() != w.offered || all.Accepted != w.offered {
				t.Errorf("%s: %v, %d offered, %d accepted; want %+v", p.Name, p.For, all.Offered(), all.Accepted, w)
			}
		}
		for second, n := range []int64{100, 100, 1000, 50, 0, 10_000, 1000} {
			if got := r.Series[second].Offered; got != n || int64(s.seconds[second]) != n {
				t.Errorf("second %d: %d offered, %d arrived; want %d", second, got, s.seconds[second], n)
			}
		}
	})
}

// TestMix: requests come in the shares asked for, each kind where it belongs, and
// the same seed asks for the same.
func TestMix(t *testing.T) {
	mix := Mix{80, 10, 9, 1}
	var logs [3][]string
	for i, seed := range []uint64{7, 7, 8} {
		s := &stub{}
		against(t, s, Plan{Mix: mix, Seed: seed, Clients: 1, Phases: phases(t, "all:20s@500")}, func(r *Report) {
			for op, parts := range mix {
				tally := r.Phases[0].Ops[op]
				if got := int(tally.Accepted); math.Abs(float64(got)/10_000-float64(parts)/100) > .01 || got != s.ops[Op(op).String()] {
					t.Errorf("%v: %d accepted, %d arrived, of 10,000; want %d %%", Op(op), got, s.ops[Op(op).String()], parts)
				}
			}
		})
		logs[i] = s.log
	}
	if !slices.Equal(logs[0], logs[1]) || slices.Equal(logs[0], logs[2]) {
		t.Error("the same seed must ask for the same, another for something else")
	}
}

// TestZipf: the k-th hunt, and the k-th team of a hunt, are asked for in
// proportion to k^-s.
func TestZipf(t *testing.T) {
	const n = 200_000
	p := &Plan{Hunts: hunts(5, 200), HuntSkew: 1.5, Skew: 1.2, Seed: 3}
	k := newPicker(p, 0, nil)
	byHunt, byTeam := make([]float64, 5), make([]float64, 200)
	for range n {
		_, at := k.next()
		byHunt[at.hunt]++
		byTeam[at.team]++
	}
	for _, tt := range []struct {
		what string
		got  []float64
		skew float64
	}{{"hunt", byHunt, p.HuntSkew}, {"team", byTeam, p.Skew}} {
		all := 0.0
		for i := range tt.got {
			all += math.Pow(float64(i+1), -tt.skew)
		}
		for i := range tt.got[:5] {
			want := n * math.Pow(float64(i+1), -tt.skew) / all
			if dev := math.Abs(tt.got[i] - want); dev > 5*math.Sqrt(want) {
				t.Errorf("%s %d: asked for %v times, want %.0f", tt.what, i, tt.got[i], want)
			}
		}
	}
	// Evenly, everybody comes in turn, and nobody twice at once.
	p = &Plan{Hunts: hunts(2, 10)}
	all := places(p)
	k = newPicker(p, 0, all[5:15])
	for i := range 30 {
		if _, at := k.next(); at != all[5+i%10] {
			t.Errorf("request %d goes to %v, want %v", i, at, all[5+i%10])
		}
	}
}

// TestRefusals: what was refused is counted apart from what failed, is not
// tried again, and nobody waits as Retry-After asks.
func TestRefusals(t *testing.T) {
	s := &stub{answer: func(n int) (int, string) {
		switch n % 10 {
		case 0:
			return http.StatusServiceUnavailable, "overloaded"
		case 1:
			return http.StatusTooManyRequests, "rate_limited"
		case 2:
			return http.StatusServiceUnavailable, "unavailable"
		}
		return http.StatusOK, ""
	}}
	against(t, s, Plan{Phases: phases(t, "all:2s@1000")}, func(r *Report) {
		all := r.Phases[0].All()
		if all.Accepted != 1400 || all.Refused != 400 || all.Errors["status 503"] != 200 || all.Failed() != 200 || s.n != 2000 {
			t.Errorf("%+v of %d requests", all, s.n)
		}
		if all.Latency.TotalCount() != 1400 || all.Latency.Max() > 1100 {
			t.Errorf("%d latencies, up to %d us; want those of the accepted, 1 ms", all.Latency.TotalCount(), all.Latency.Max())
		}
		if p := r.Series[1]; p.Offered != 1000 || p.Refused != 200 || p.Errors != 100 {
			t.Errorf("the second second: %+v", p)
		}
	})
}

// TestPatience: what is due when all clients wait is not sent for ever.
func TestPatience(t *testing.T) {
	s := &stub{stallTo: 3 * time.Second}
	against(t, s, Plan{Clients: 10, Patience: time.Second, Phases: phases(t, "all:1s@100")}, func(r *Report) {
		all := r.Phases[0].All()
		if all.Accepted != 10 || all.Errors[errUnsent.Error()] != 90 || s.n != 10 {
			t.Errorf("%+v of %d requests", all, s.n)
		}
	})
}

// TestPercentiles: a histogram's are those of the sorted list, to three digits.
func TestPercentiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Int64Range(1, maxLatency), 1, 300).Draw(t, "us")
		tally := newTally()
		for _, us := range list {
			tally.note(time.Duration(us)*time.Microsecond, nil)
		}
		slices.Sort(list)
		for _, q := range []float64{50, 90, 99, 99.9, 100} {
			rank := min(max(int(q/100*float64(len(list))+.5), 1), len(list)) // the nearest, as HDR histograms have it
			want := list[rank-1]
			if got := tally.Latency.ValueAtQuantile(q); got < want || float64(got) > 1.001*float64(want)+1 {
				t.Errorf("p%v of %d is %d, exactly %d", q, len(list), got, want)
			}
		}
	})
}

// TestStep: however long a load, its series is bounded.
func TestStep(t *testing.T) {
	for _, tt := range []struct{ all, want time.Duration }{
		{time.Millisecond, time.Second}, {time.Hour, time.Second}, {time.Hour + 1, 2 * time.Second}, {maxFor, 24 * time.Second},
	} {
		if got := step(tt.all); got != tt.want {
			t.Errorf("%v has steps of %v, want %v", tt.all, got, tt.want)
		}
	}
}
