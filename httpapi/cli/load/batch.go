package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// maxResult bounds a line of a batch's answer, in bytes.
	maxResult = 1 << 20
	batchBuf  = 64 << 10
)

// Batch sends submissions over the batch endpoint, on Streams streams with
// Concurrency lines on the wire in all. A line's time runs from when it is
// written to when its result is read.
func Batch(ctx context.Context, cfg Config) (*Result, error) {
	window := cfg.Concurrency / max(cfg.Streams, 1)
	if cfg.Streams < 1 || window < 1 || len(cfg.Teams) < cfg.Concurrency {
		return nil, fmt.Errorf("%d lines on %d streams need as many teams; there are %d", cfg.Concurrency, cfg.Streams, len(cfg.Teams))
	}
	hc := &http.Client{Transport: &http.Transport{DisableCompression: true, WriteBufferSize: batchBuf, ReadBufferSize: batchBuf}}
	defer hc.CloseIdleConnections()
	from := time.Now().Add(cfg.Warmup)
	s := &stage{cfg: cfg, from: from, until: from.Add(cfg.For), all: newTally()}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, cfg.Streams)
	cpu, known := metered(ctx, cfg.PIDs, from, s.until, func() {
		var wg sync.WaitGroup
		for w := range errs {
			wg.Go(func() {
				b := &batch{stage: s, worker: w, sent: make(chan time.Time, window)}
				if errs[w] = b.run(ctx, hc); errs[w] != nil {
					cancel()
				}
			})
		}
		wg.Wait()
	})
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return nil, err
	}
	return &Result{
		Ops: s.all.Accepted, Errors: s.all.Errors, Latency: s.all.Latency,
		Elapsed: max(cfg.For, time.Since(from)), CPU: cpu, Measured: known,
	}, nil
}

// stage is what the streams share.
type stage struct {
	cfg         Config
	from, until time.Time // measured meanwhile

	mu  sync.Mutex
	all *Tally
}

func (s *stage) add(t *Tally) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.add(t)
}

// batch is one stream. sent holds the time of every line on the wire, in
// order: it is the stream's window, too.
type batch struct {
	stage  *stage
	worker int
	sent   chan time.Time
}

func (b *batch) run(ctx context.Context, hc *http.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cfg := &b.stage.cfg
	r, w := io.Pipe()
	url := cfg.Addrs[b.worker%len(cfg.Addrs)] + "/v1/hunts/" + string(cfg.Hunt) + "/submissions:batch"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, r)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+cfg.Token)
	req.Header.Set("Content-Type", "application/x-ndjson")
	written := make(chan error, 1)
	go func() { written <- b.write(ctx, w) }()
	err = b.read(hc, req)
	cancel()
	r.Close()
	if werr := <-written; err == nil && !errors.Is(werr, io.ErrClosedPipe) {
		err = werr
	}
	return err
}

// write sends lines until the time is up. It flushes only when the window is
// full: then nothing more will come for a while.
func (b *batch) write(ctx context.Context, w *io.PipeWriter) error {
	defer close(b.sent)
	defer w.Close()
	cfg := &b.stage.cfg
	out := bufio.NewWriterSize(w, batchBuf)
	var line []byte
	for k := 0; ; k++ {
		now := time.Now()
		if !now.Before(b.stage.until) {
			return out.Flush()
		}
		select {
		case b.sent <- now:
		default:
			if err := out.Flush(); err != nil {
				return err
			}
			select {
			case b.sent <- time.Now():
			case <-ctx.Done():
				return nil
			}
		}
		// Stream w has the teams w, w+streams, ... for itself.
		mine := (len(cfg.Teams) - b.worker + cfg.Streams - 1) / cfg.Streams
		id := key{cfg.Run, b.worker, k}
		line = append(line[:0], `{"key":"`...)
		line = id.append(line)
		line = append(line, `","team":"`...)
		line = append(line, cfg.Teams[b.worker+k%mine*cfg.Streams].ID...)
		line = append(line, `","clue":"`...)
		line = appendAnswer(line, cfg.Clue, id)
		line = append(line, "}\n"...)
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
}

// read takes the results in.
func (b *batch) read(hc *http.Client, req *http.Request) error {
	resp, err := hc.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // for the message only
		return fmt.Errorf("submissions:batch answered %s: %s", resp.Status, text)
	}
	t := newTally()
	defer b.stage.add(t)
	scan := bufio.NewScanner(resp.Body)
	scan.Buffer(make([]byte, batchBuf), maxResult)
	for scan.Scan() {
		begin, ok := <-b.sent
		if !ok {
			return errors.New("more results than lines")
		}
		var bad error
		if !bytes.Contains(scan.Bytes(), wanted[Submit]) {
			bad = errors.New("another result")
		}
		if now := time.Now(); !now.Before(b.stage.from) && now.Before(b.stage.until) {
			t.note(now.Sub(begin), bad)
		}
	}
	return scan.Err()
}
