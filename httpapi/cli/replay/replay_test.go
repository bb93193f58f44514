package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a naive cluster that remembers keys and fails as it is told. Only
// one stream touches it at a time in a bubble with the lock of a channel.
type cluster struct {
	lock     chan struct{}
	rng      *rand.Rand
	faults   float64 // chance that something goes wrong with a line
	recorded map[fsm.TeamID][]string
	onWire   map[fsm.TeamID]int
	tooMany  []fsm.TeamID // teams that had two lines on the wire
	streams  int
	down     map[int]bool // addresses that refuse connections
	silent   bool         // accepts lines and never answers
}

func newCluster(seed uint64, faults float64) *cluster {
	return &cluster{
		lock: make(chan struct{}, 1), rng: rand.New(rand.NewPCG(seed, 0)), faults: faults,
		recorded: map[fsm.TeamID][]string{}, onWire: map[fsm.TeamID]int{}, down: map[int]bool{},
	}
}

func (c *cluster) locked(f func()) {
	c.lock <- struct{}{}
	f()
	<-c.lock
}

var errBroken = fsm.Errorf(fsm.OutcomeUnknown, "the connection broke")

// stream is a Stream.
func (c *cluster) stream(ctx context.Context, address int, lines <-chan rest.BatchLine, result func(rest.BatchResult)) error {
	refused := false
	c.locked(func() {
		c.streams++
		refused = c.down[address%3]
	})
	if refused {
		return fsm.Errorf(fsm.Unavailable, "connection refused")
	}
	mine := map[fsm.TeamID]int{}
	defer c.locked(func() { // what was on this wire no longer is
		for team, n := range mine {
			c.onWire[team] -= n
		}
	})
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case line, ok := <-lines:
			if !ok {
				return nil
			}
			var res *rest.BatchResult
			broken := false
			c.locked(func() {
				mine[line.Team]++
				if c.onWire[line.Team]++; c.onWire[line.Team] > 1 {
					c.tooMany = append(c.tooMany, line.Team)
				}
				res, broken = c.judge(line)
			})
			time.Sleep(time.Millisecond) // of the bubble: what judging takes
			if broken {
				return errBroken
			}
			if c.silent {
				continue
			}
			c.locked(func() {
				mine[line.Team]--
				c.onWire[line.Team]--
			})
			result(*res)
		}
	}
}

// judge records a line or not, and says so or not.
func (c *cluster) judge(line rest.BatchLine) (res *rest.BatchResult, broken bool) {
	roll := c.rng.Float64() / max(c.faults, 1e-9)
	fail := func(kind fsm.Kind) *rest.BatchResult {
		return &rest.BatchResult{LineKey: line.Key, Error: &rest.Problem{Code: kind.String()}}
	}
	switch {
	case roll < 0.15:
		return nil, true // before it was recorded
	case roll < 0.35:
		return fail(fsm.Unavailable), false
	case roll < 0.5:
		return fail(fsm.Overloaded), false
	case roll < 0.65:
		return fail(fsm.OutcomeUnknown), false
	}
	replayed := slices.Contains(c.recorded[line.Team], line.Key)
	if !replayed {
		c.recorded[line.Team] = append(c.recorded[line.Team], line.Key)
	}
	switch {
	case roll < 0.8:
		return nil, true // after it was recorded
	case roll < 1:
		return fail(fsm.OutcomeUnknown), false
	}
	return &rest.BatchResult{LineKey: line.Key, Submission: &rest.Submission{Key: line.Key, Verdict: "incorrect", Replayed: replayed}}, false
}

// file makes n lines of some teams, a few of them much busier than the others,
// and the order in which each team's must be recorded.
func file(rng *rand.Rand, n, teams int) (text []byte, want map[fsm.TeamID][]string) {
	var b bytes.Buffer
	want = map[fsm.TeamID][]string{}
	for i := range n {
		team := fsm.TeamID(fmt.Sprintf("t%d", int(float64(teams)*rng.Float64()*rng.Float64())))
		line := rest.BatchLine{Key: fmt.Sprintf("k%d", i), Team: team, Clue: "c", Answer: "x"}
		json.NewEncoder(&b).Encode(line)
		want[team] = append(want[team], line.Key)
	}
	return b.Bytes(), want
}

func quiet(cfg Config) Config {
	cfg.Result = func(Line, rest.BatchResult) {}
	cfg.Bad = func(*LineError) {}
	if cfg.GiveUp == 0 {
		cfg.GiveUp = 10 * time.Minute
	}
	return cfg
}

func reader(t interface{ Fatal(...any) }, text []byte) *Reader {
	r, err := NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestExactlyOnceInOrder is the promise: whatever breaks, every line is
// recorded once, each team's in order, with never two of a team on the wire.
func TestExactlyOnceInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		n := rapid.IntRange(0, 400).Draw(rt, "lines")
		teams := rapid.IntRange(1, 60).Draw(rt, "teams")
		workers := rapid.IntRange(1, 5).Draw(rt, "workers")
		faults := rapid.SampledFrom([]float64{0, 0.02, 0.2, 0.6}).Draw(rt, "faults")
		down := rapid.IntRange(-1, 2).Draw(rt, "down")
		text, want := file(rand.New(rand.NewPCG(seed, 1)), n, teams)
		wrong := ""
		synctest.Test(t, func(t *testing.T) { // rapid cannot fail inside of the bubble
			c := newCluster(seed, faults)
			c.down[down] = true
			wrong = runOnce(t, c, text, want, workers)
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// runOnce replays a file and says what is not as promised.
func runOnce(t *testing.T, c *cluster, text []byte, want map[fsm.TeamID][]string, workers int) string {
	n := bytes.Count(text, []byte("\n"))
	told := map[string]int{}
	cfg := quiet(Config{Stream: c.stream, Workers: workers})
	cfg.Result = func(line Line, res rest.BatchResult) { told[line.Key]++ }
	sum, err := Run(t.Context(), reader(t, text), cfg)
	if err != nil || !sum.Complete() || sum.Lines != n || sum.Verdicts["incorrect"] != n {
		return fmt.Sprintf("run: %+v, %v; want %d lines, all with a result", sum, err, n)
	}
	for team, keys := range want {
		if got := c.recorded[team]; !slices.Equal(got, keys) {
			return fmt.Sprintf("team %s recorded %v\nwant %v", team, got, keys)
		}
	}
	if len(c.tooMany) > 0 {
		return fmt.Sprintf("teams with two lines on the wire: %v", c.tooMany)
	}
	for key, n := range told {
		if n != 1 {
			return fmt.Sprintf("line %s was told %d results", key, n)
		}
	}
	if len(told) != n {
		return fmt.Sprintf("%d of %d lines were told a result", len(told), n)
	}
	return ""
}

// TestAgain replays a file twice: nothing changes, everything is replayed.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, _ := file(rand.New(rand.NewPCG(7, 0)), 200, 20)
		c := newCluster(7, 0.3)
		for i, want := range []int{-1, 200} {
			sum, err := Run(t.Context(), reader(t, text), quiet(Config{Stream: c.stream, Workers: 3}))
			if err != nil || sum.Verdicts["incorrect"] != 200 || want >= 0 && sum.Replayed != want {
				t.Errorf("run %d: %+v, %v", i, sum, err)
			}
		}
	})
}

// TestBusyTeamDoesNotBlock: a team with thousands of lines at the head of the
// file takes its time; the others do not wait for it.
func TestBusyTeamDoesNotBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		for i := range 2000 {
			fmt.Fprintf(&b, `{"key":"b%d","team":"busy","clue":"c","answer":"x"}`+"\n", i)
		}
		for i := range 100 {
			fmt.Fprintf(&b, `{"key":"o%d","team":"other%d","clue":"c","answer":"x"}`+"\n", i, i)
		}
		c := newCluster(1, 0)
		busy, before := 0, 0
		cfg := quiet(Config{Stream: c.stream, Workers: 1})
		cfg.Result = func(line Line, _ rest.BatchResult) {
			if line.Team == "busy" {
				busy++
			} else {
				before = max(before, busy)
			}
		}
		if _, err := Run(t.Context(), reader(t, b.Bytes()), cfg); err != nil {
			t.Fatal(err)
		}
		if before > 300 {
			t.Errorf("the last of the others had its result after %d lines of the busy team", before)
		}
	})
}

// TestStalls: with no way to get anything through, the run ends after GiveUp
// and counts what it could not settle.
func TestStalls(t *testing.T) {
	for name, prepare := range map[string]func(*cluster){
		"refused": func(c *cluster) { c.down[0], c.down[1], c.down[2] = true, true, true },
		"silent":  func(c *cluster) { c.silent = true },
		"no quorum": func(c *cluster) {
			c.faults = 1e9 // every line breaks the stream
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				text, _ := file(rand.New(rand.NewPCG(7, 0)), 50, 20)
				c := newCluster(7, 0)
				prepare(c)
				start := time.Now()
				sum, err := Run(t.Context(), reader(t, text), quiet(Config{Stream: c.stream, Workers: 2, GiveUp: time.Minute}))
				if !errors.Is(err, ErrStalled) || sum.Complete() || sum.Unanswered != 50 {
					t.Errorf("%+v, %v; want ErrStalled and 50 unanswered", sum, err)
				}
				if took := time.Since(start); took < time.Minute || took > 2*time.Minute {
					t.Errorf("gave up after %v, want after about a minute", took)
				}
			})
		})
	}
}

// TestSilentStreamIsLeft: a node that takes lines and does not answer is left
// for another one.
func TestSilentStreamIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, want := file(rand.New(rand.NewPCG(7, 0)), 50, 20)
		dead, good := newCluster(7, 0), newCluster(7, 0)
		dead.silent = true
		stream := func(ctx context.Context, address int, lines <-chan rest.BatchLine, result func(rest.BatchResult)) error {
			if address == 0 {
				return dead.stream(ctx, address, lines, result)
			}
			return good.stream(ctx, address, lines, result)
		}
		sum, err := Run(t.Context(), reader(t, text), quiet(Config{Stream: stream, Workers: 1}))
		if err != nil || !sum.Complete() {
			t.Fatalf("%+v, %v", sum, err)
		}
		for team, keys := range want {
			if !slices.Equal(good.recorded[team], keys) {
				t.Errorf("team %s: %v, want %v", team, good.recorded[team], keys)
			}
		}
	})
}

// TestEnds covers the ends that are no stall: each ends the run at once.
func TestEnds(t *testing.T) {
	refuse := func(kind fsm.Kind) Stream {
		return func(context.Context, int, <-chan rest.BatchLine, func(rest.BatchResult)) error {
			return fsm.Errorf(kind, "no")
		}
	}
	nonsense := func(_ context.Context, _ int, lines <-chan rest.BatchLine, result func(rest.BatchResult)) error {
		<-lines
		result(rest.BatchResult{LineKey: "another", Submission: &rest.Submission{}})
		return nil
	}
	for _, tt := range []struct {
		name   string
		stream Stream
		kind   fsm.Kind
	}{
		{"forbidden", refuse(fsm.Forbidden), fsm.Forbidden},
		{"no such hunt", refuse(fsm.NotFound), fsm.NotFound},
		{"out of order", nonsense, fsm.Internal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				text, _ := file(rand.New(rand.NewPCG(7, 0)), 5, 2)
				start := time.Now()
				sum, err := Run(t.Context(), reader(t, text), quiet(Config{Stream: tt.stream, Workers: 2}))
				if err == nil || fsm.KindOf(err) != tt.kind || sum.Complete() {
					t.Errorf("%+v, %v; want kind %v", sum, err, tt.kind)
				}
				if time.Since(start) > time.Second {
					t.Errorf("took %v", time.Since(start))
				}
			})
		})
	}
	t.Run("canceled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			text, _ := file(rand.New(rand.NewPCG(7, 0)), 5, 2)
			c := newCluster(1, 0)
			c.silent = true
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			sum, err := Run(ctx, reader(t, text), quiet(Config{Stream: c.stream, Workers: 2}))
			if !errors.Is(err, context.DeadlineExceeded) || sum.Unanswered != 5 {
				t.Errorf("%+v, %v", sum, err)
			}
		})
	})
}

// TestRefusedLines: a definite refusal is a line's result, told and counted,
// and its team goes on.
func TestRefusedLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := func(_ context.Context, _ int, lines <-chan rest.BatchLine, result func(rest.BatchResult)) error {
			for line := range lines {
				if line.Clue == "locked" {
					result(rest.BatchResult{LineKey: line.Key, Error: &rest.Problem{Code: "clue_locked"}})
				} else {
					result(rest.BatchResult{LineKey: line.Key, Submission: &rest.Submission{Verdict: "correct"}})
				}
			}
			return nil
		}
		text := `{"key":"1","team":"a","clue":"locked","answer":"x"}
{"key":"2","team":"a","clue":"c","answer":"x"}
{"key":"3","team":"b","clue":"c","answer":
`
		var bad []string
		cfg := quiet(Config{Stream: stream, Workers: 1})
		cfg.Bad = func(err *LineError) { bad = append(bad, err.Error()) }
		sum, err := Run(t.Context(), reader(t, []byte(text)), cfg)
		if err != nil || sum.Complete() || sum.Lines != 3 || sum.Errors != 2 || sum.Verdicts["correct"] != 1 || sum.Unanswered != 0 {
			t.Errorf("%+v, %v", sum, err)
		}
		if len(bad) != 1 || !strings.HasPrefix(bad[0], "line 3: ") {
			t.Errorf("bad lines: %q", bad)
		}
	})
}

// TestPace: lines come when they are due and not before.
func TestPace(t *testing.T) {
	at := func(s int) *fsm.Time {
		v := fsm.Time(s) * 1e6
		return &v
	}
	times := []*fsm.Time{at(100), at(160), nil, at(130), at(220)}
	for _, tt := range []struct {
		name string
		pace Pace
		want []time.Duration
	}{
		{"at once", Pace{}, []time.Duration{0, 0, 0, 0, 0}},
		{"real time", Pace{Speed: 1}, []time.Duration{0, 60e9, 60e9, 60e9, 120e9}},
		{"a minute a second", Pace{Speed: 60}, []time.Duration{0, 1e9, 1e9, 1e9, 2e9}},
		{"evenly", Pace{AtLeast: 10 * time.Second, Total: 5}, []time.Duration{0, 2e9, 4e9, 6e9, 8e9}},
		{"the later of both", Pace{Speed: 60, AtLeast: 5 * time.Second, Total: 5}, []time.Duration{0, 1e9, 2e9, 3e9, 4e9}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := clock{Pace: tt.pace}
			for n, at := range times {
				if got := c.due(n, at); got != tt.want[n] {
					t.Errorf("line %d is due after %v, want %v", n, got, tt.want[n])
				}
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		text, _ := file(rand.New(rand.NewPCG(7, 0)), 100, 10)
		start := time.Now()
		pace := Pace{AtLeast: 10 * time.Minute, Total: 100}
		// Slower than GiveUp between two lines: waiting for time is no stall.
		sum, err := Run(t.Context(), reader(t, text), quiet(Config{Stream: newCluster(1, 0).stream, Workers: 2, Pace: pace, GiveUp: time.Second}))
		if took := time.Since(start); err != nil || !sum.Complete() || took < 590*time.Second || took > 601*time.Second {
			t.Errorf("%+v, %v after %v", sum, err, took)
		}
	})
}
