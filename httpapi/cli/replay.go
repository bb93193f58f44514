package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/cli/replay"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// replayFlags of "cairn replay".
type replayFlags struct {
	speed   string
	atLeast time.Duration
	workers int
	giveUp  time.Duration
}

func (a *app) replayCommand() *cobra.Command {
	var flags replayFlags
	cmd := &cobra.Command{
		Use:     "replay HUNT FILE.ndjson[.gz]",
		Short:   "Import many submissions, each exactly once",
		GroupID: groupHunt,
		Long: `Import many submissions: a file of one JSON object a line, plain or gzipped, with
the fields key, team, clue, answer and, optionally, at. A line that gets no
definite result, because a node failed or a connection broke, is sent again with
the same key while its team's later lines wait: every line counts once, and each
team's lines are judged in the file's order, whatever --workers says.

A replay that was stopped is resumed by running it again: what is counted
already comes back as replayed and changes nothing.

It exits 0 only when every line has a result. Lines that have none are told on
stderr with their number; a summary comes on stdout.`,
		Example: `  cairn replay sample submissions.ndjson.gz
  cairn replay sample submissions.ndjson.gz --speed 60    # an hour a minute
  cairn replay sample big.ndjson --min-duration 10m --workers 8
  zcat *.gz | cairn replay sample -`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeHunt,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.replay(cmd.Context(), fsm.HuntID(args[0]), args[1], flags)
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.speed, "speed", "max", "`N` times faster than real time, by \"at\"; max: as fast as possible")
	f.DurationVar(&flags.atLeast, "min-duration", 0, "spread the lines evenly over at least this time")
	f.IntVar(&flags.workers, "workers", 4, "streams that are open at once")
	f.DurationVar(&flags.giveUp, "give-up", 2*time.Minute, "stop when no line has had a result for so long")
	return a.online(cmd)
}

// replay runs one replay and reports on it.
func (a *app) replay(ctx context.Context, hunt fsm.HuntID, path string, flags replayFlags) error {
	pace, err := flags.pace()
	if err != nil {
		return err
	}
	if pace.Total, err = a.countLines(path); err != nil {
		return err
	}
	if pace.AtLeast > 0 && pace.Total == 0 {
		return usagef("--min-duration needs a file with lines, not standard input: they are counted first")
	}
	in, closeIn, err := a.openLines(path)
	if err != nil {
		return err
	}
	defer closeIn()
	streams, err := a.streams(hunt)
	if err != nil {
		return err
	}
	defer streams.close()

	progress, start, done := newLive(newScreen(a.Stderr, a.Getenv)), time.Now(), 0
	draw := func(columns int) string { return bar(columns, done, pace.Total, time.Since(start)) }
	sum, err := replay.Run(ctx, in, replay.Config{
		Stream: streams.stream, Workers: flags.workers, Pace: pace, GiveUp: flags.giveUp,
		Result: func(line replay.Line, res rest.BatchResult) {
			done++
			if res.Error != nil {
				progress.printf("line %d (key %s, team %s): %s: %v", line.Number, line.Key, line.Team, res.Error.Code, client.ProblemError(res.Error))
			}
			progress.status(draw)
		},
		Bad: func(bad *replay.LineError) {
			done++
			progress.printf("%v", bad)
		},
	})
	progress.finish(draw)
	if err := a.emit(summary(&sum)); err != nil {
		return err
	}
	return replayOutcome(&sum, err)
}

// replayOutcome turns how a replay ended into the command's error.
func replayOutcome(sum *replay.Summary, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("stopped with %d lines under way; run the same command again to go on", sum.Unanswered)
	case errors.Is(err, replay.ErrStalled):
		return fmt.Errorf("%w: %d lines have none. Look at \"cairn status\", and run the same command again to go on", err, sum.Unanswered)
	case err != nil:
		return fmt.Errorf("after %d lines: %w", sum.Lines, err)
	case !sum.Complete():
		return fmt.Errorf("%d of %d lines have no result", sum.Errors+sum.Unanswered, sum.Lines)
	}
	return nil
}

func summary(sum *replay.Summary) answer {
	body := struct {
		*replay.Summary
		Seconds float64 `json:"seconds"`
	}{sum, sum.Elapsed.Seconds()}
	return answer{body, func(p *page) {
		t := newTable("RESULT", ">LINES")
		for _, v := range verdicts {
			t.add(v, thousands(sum.Verdicts[v]))
		}
		t.add("errors", thousands(sum.Errors))
		t.add("unanswered", thousands(sum.Unanswered))
		t.add("total", thousands(sum.Lines))
		p.table(t)
		p.printf("\n%s replayed (counted before), %s sent again, %.1f s, %s lines/s\n", thousands(sum.Replayed), thousands(sum.Resent),
			sum.Elapsed.Seconds(), thousands(int(float64(sum.Lines)/max(sum.Elapsed.Seconds(), 1e-9))))
	}}
}

func (f *replayFlags) pace() (replay.Pace, error) {
	p := replay.Pace{AtLeast: f.atLeast}
	if f.speed != "max" {
		n, err := strconv.ParseFloat(f.speed, 64)
		if err != nil || !(n > 0) || math.IsInf(n, 0) {
			return p, usagef("--speed %q is neither max nor a positive number", f.speed)
		}
		p.Speed = n
	}
	switch {
	case f.workers < 1 || f.workers > replay.MaxWorkers:
		return p, usagef("--workers must be 1 to %d", replay.MaxWorkers)
	case f.atLeast < 0:
		return p, usagef("--min-duration must not be negative")
	case f.giveUp <= 0:
		return p, usagef("--give-up must be positive")
	}
	return p, nil
}

// openLines opens a file of submissions, or standard input for "-".
func (a *app) openLines(path string) (*replay.Reader, func() error, error) {
	var in io.Reader = a.Stdin
	closeIn := func() error { return nil }
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, nil, err
		}
		in, closeIn = f, f.Close
	}
	r, err := replay.NewReader(in)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), closeIn())
	}
	return r, closeIn, nil
}

// countLines reads a file once through, for the bar and the pace; 0 for
// standard input, which can be read only once.
func (a *app) countLines(path string) (int, error) {
	if path == "-" {
		return 0, nil
	}
	r, closeIn, err := a.openLines(path)
	if err != nil {
		return 0, err
	}
	defer closeIn()
	return r.Count()
}

// streams opens batch streams to one node at a time: which one is the replay's
// decision, so every address has a client of its own.
type streams struct {
	hunt    fsm.HuntID
	clients []*client.Client
}

func (a *app) streams(hunt fsm.HuntID) (*streams, error) {
	if _, err := a.connect(); err != nil {
		return nil, err
	}
	s := &streams{hunt: hunt}
	for _, addr := range a.addrs {
		c, err := client.New([]string{addr}, a.token)
		if err != nil {
			return nil, &usageError{err}
		}
		s.clients = append(s.clients, c)
	}
	return s, nil
}

func (s *streams) close() {
	for _, c := range s.clients {
		c.HTTP.CloseIdleConnections()
	}
}

// stream is a replay.Stream.
func (s *streams) stream(ctx context.Context, address int, lines <-chan rest.BatchLine, result func(rest.BatchResult)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	base := s.clients[address%len(s.clients)]
	answered := make(chan struct{})
	c := &client.Client{
		Addrs: base.Addrs, Token: base.Token,
		HTTP: &http.Client{Transport: &tapped{base: base.HTTP.Transport, ended: sync.OnceFunc(func() { close(answered) })}},
	}
	feed := func(yield func(rest.BatchLine) bool) {
		for {
			select {
			case line, ok := <-lines:
				if !ok || !yield(line) {
					return
				}
			case <-answered:
				return
			case <-ctx.Done():
				return
			}
		}
	}
	return c.SubmitBatch(ctx, s.hunt, feed, func(r rest.BatchResult) error {
		result(r)
		return nil
	})
}

// tapped tells when an answer has ended, well or badly. SubmitBatch waits for
// its lines to end, and a replay, whose next line waits for the answer to the
// last one, would wait for SubmitBatch.
type tapped struct {
	base  http.RoundTripper
	ended func()
}

func (t *tapped) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		t.ended()
		return nil, err
	}
	resp.Body = &tappedBody{resp.Body, t.ended}
	return resp, nil
}

type tappedBody struct {
	io.ReadCloser
	ended func()
}

// Close is called by the client however the answer ends.
func (b *tappedBody) Close() error {
	b.ended()
	return b.ReadCloser.Close()
}
