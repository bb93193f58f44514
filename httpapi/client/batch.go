package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

const (
	// flushDelay is how long a line may wait for others before it is sent.
	flushDelay = 2 * time.Millisecond
	// maxLine bounds a line of a batch's answer, in bytes.
	maxLine = 1 << 20
	ioBuf   = 64 << 10
)

// SubmitBatch sends lines as one stream and calls result for each answer, in
// the order of the lines, while more lines are being sent. Neither side holds
// the whole. A line that failed has result.Error set and does not end the
// stream.
//
// It returns nil when every line has been answered, else why it stopped:
// ErrUnreachable if no line was sent, ErrLost if the stream broke (send the
// lines without an answer again with the same keys, if you like), the error of
// result, ctx's, or what the cluster refused the stream with. lines runs on
// another goroutine; SubmitBatch returns only after it has ended, so it must
// not block for ever once ctx is done.
func (c *Client) SubmitBatch(ctx context.Context, hunt fsm.HuntID, lines iter.Seq[rest.BatchLine], result func(rest.BatchResult) error) error {
	encoded := func(yield func([]byte) bool) {
		var buf []byte
		for l := range lines {
			buf = append(rest.AppendBatchLine(buf[:0], &l), '\n')
			if !yield(buf) {
				return
			}
		}
	}
	return c.stream(ctx, path("hunts", string(hunt))+"/submissions:batch", encoded, func(b []byte) error {
		var r rest.BatchResult
		if err := json.Unmarshal(b, &r); err != nil {
			return fmt.Errorf("client: a line of the answer is not a result: %w", err)
		}
		return result(r)
	})
}

// CreateTeams is SubmitBatch for teams: a team that exists is answered with the
// token of its first import.
func (c *Client) CreateTeams(ctx context.Context, hunt fsm.HuntID, teams iter.Seq[rest.NewTeam], result func(rest.TeamLine) error) error {
	encoded := func(yield func([]byte) bool) {
		for t := range teams {
			b, err := json.Marshal(t)
			if err != nil || !yield(append(b, '\n')) { // a struct of strings always encodes
				return
			}
		}
	}
	return c.stream(ctx, path("hunts", string(hunt))+"/teams:batch", encoded, func(b []byte) error {
		var l rest.TeamLine
		if err := json.Unmarshal(b, &l); err != nil {
			return fmt.Errorf("client: a line of the answer is not a result: %w", err)
		}
		return result(l)
	})
}

// stream posts lines and hands every line of the answer to result. A node that
// is unreachable is passed over: no line was taken from lines yet.
func (c *Client) stream(ctx context.Context, path string, lines iter.Seq[[]byte], result func([]byte) error) error {
	var err error
	for range c.Addrs {
		at := c.preferred.Load()
		if err = c.streamTo(ctx, c.addr(at), path, lines, result); !errors.Is(err, ErrUnreachable) {
			return err
		}
		c.preferred.CompareAndSwap(at, at+1)
	}
	return err
}

func (c *Client) streamTo(ctx context.Context, addr, path string, lines iter.Seq[[]byte], result func([]byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	up := newUpload(lines)
	defer up.wait()
	defer cancel()
	req, sent, err := c.request(ctx, addr, call{method: http.MethodPost, path: path}, up)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := c.http().Do(req)
	if err != nil {
		return sent.classify(addr, http.MethodPost, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxLine))
		if err != nil {
			return lost(addr, err)
		}
		return problemError(resp, body)
	}
	scan := bufio.NewScanner(resp.Body)
	scan.Buffer(make([]byte, ioBuf), maxLine)
	scan.Split(wholeLines)
	answered := int64(0)
	for scan.Scan() {
		if err := result(scan.Bytes()); err != nil {
			return err
		}
		answered++
	}
	if err := scan.Err(); err != nil {
		return lost(addr, err)
	}
	if n := up.lines.Load(); !up.done() || n != answered {
		return lost(addr, fmt.Errorf("the stream ended after %d answers to %d lines", answered, n))
	}
	return nil
}

// wholeLines splits at line ends and leaves out what has none: a stream that
// breaks in the middle of an answer gave no answer.
func wholeLines(data []byte, atEOF bool) (advance int, line []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF {
		return len(data), nil, nil
	}
	return 0, nil, nil
}

// upload is a request's body made of lines. It starts to take lines at the
// first Read, which is when there is a connection.
type upload struct {
	lines    atomic.Int64 // taken
	seq      iter.Seq[[]byte]
	r        *io.PipeReader
	w        *io.PipeWriter
	start    sync.Once
	finished chan struct{} // closed when seq has ended or was never started
	whole    atomic.Bool   // seq ended by itself

	mu    sync.Mutex // guards buf and flush
	buf   *bufio.Writer
	flush *time.Timer // due within flushDelay; nil: nothing waits to be sent
}

func newUpload(seq iter.Seq[[]byte]) *upload {
	u := &upload{seq: seq, finished: make(chan struct{})}
	u.r, u.w = io.Pipe()
	u.buf = bufio.NewWriterSize(u.w, ioBuf)
	return u
}

func (u *upload) Read(p []byte) (int, error) {
	u.start.Do(func() { go u.run() })
	return u.r.Read(p)
}

// Close is called by the transport when it needs no more of the body.
func (u *upload) Close() error { return u.r.Close() }

func (u *upload) done() bool { return u.whole.Load() }

// wait ends the upload and returns when nothing of it runs any more.
func (u *upload) wait() {
	u.r.Close()
	u.start.Do(func() { close(u.finished) })
	<-u.finished
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.flush != nil {
		u.flush.Stop()
	}
}

func (u *upload) run() {
	defer close(u.finished)
	for line := range u.seq {
		if !u.write(line) {
			return
		}
		u.lines.Add(1)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.buf.Flush() == nil {
		u.whole.Store(true)
		u.w.Close()
	}
}

// write buffers a line and sees that it is sent soon: lines may be minutes
// apart, and full buffers are worth their wait only while more are coming.
func (u *upload) write(line []byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, err := u.buf.Write(line); err != nil {
		return false
	}
	if u.flush == nil && u.buf.Buffered() > 0 {
		u.flush = time.AfterFunc(flushDelay, func() {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.flush = nil
			u.buf.Flush() // its error sticks and meets the next Write
		})
	}
	return true
}
