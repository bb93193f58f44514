package httpapi

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

	"cairn/cluster/admit"
	"cairn/fsm"
)

const (
	// streamIdle is how long a stream may be silent, and how long a client may
	// take to read an answer: beyond it the stream is cut off.
	streamIdle = 60 * time.Second
	// flushBytes is how much of the answer gathers before it is sent even though
	// more is at hand.
	flushBytes = 32 << 10
)

// task is one line of a stream.
type task interface {
	// chain names the team whose earlier lines must be done before this one is
	// run; run is false for a line that failed already.
	chain() (team fsm.TeamID, run bool)
	// run does it; its deadline is ctx's.
	run(ctx context.Context)
	// append writes the line's answer, without a newline.
	append(b []byte) []byte
}

// parser makes the task of a line, which it must not keep. If err is set there
// is no line to parse, and the task has failed with it.
type parser func(number int, line []byte, err error) task

// stream answers a body of lines while it is read:
//
//	read ──queue (Window, in order)──────────────> write
//	  └──> one worker per team at work ──done──────┘
//
// read makes a task of each line, puts it into the queue, and gives it to a
// worker, or behind the last line of its team if a worker is at that. write
// takes the tasks from the queue and answers each when it is done. So answers
// come in the order of the lines, one team's lines run in their order, and at
// most Window lines are held: when the oldest is not done, reading stops.
//
// A line that is too long, or that parse makes a failed task of, is answered
// with its error; the rest goes on. A body that breaks off is answered, if there
// is still somebody to be told, with a last line that says so; the part of a
// line before the break is not run.
func (a *api) stream(c *call, parse parser) error {
	rc := http.NewResponseController(c.w)
	// net/http ends a request's context when its body breaks off. The lines that
	// came whole are judged all the same: each has its deadline, and write stops
	// the work when the client does not take the answers. Lines wait for their turn:
	// while they do no more are read, and so the client waits.
	ctx, cancel := context.WithCancel(admit.Patient(context.WithoutCancel(c.r.Context())))
	s := &stream{
		ctx: ctx, stop: cancel, rc: rc, timeout: c.budget, parse: parse,
		queue: make(chan *slot, a.Window), ready: make(chan *slot), last: map[fsm.TeamID]*slot{},
	}
	// Wake a read that waits for a client, once nobody waits for its result. On
	// the way out this is called off first: a deadline that comes after the
	// handler has returned would hit the connection's next request.
	stop := context.AfterFunc(ctx, func() { s.setReadDeadline(time.Now()) })
	defer s.workers.Wait()
	defer cancel()
	defer stop()
	c.w.Header()["Content-Type"] = []string{"application/x-ndjson"}
	c.w.WriteHeader(http.StatusOK)
	s.workers.Go(func() { s.read(c.r.Body) })
	return s.write(c.w)
}

type stream struct {
	ctx     context.Context
	stop    context.CancelFunc
	rc      *http.ResponseController
	timeout time.Duration // of a line
	parse   parser

	queue   chan *slot // in the order of the lines; closed at the end of the body
	ready   chan *slot // to a worker that is idle; closed likewise
	workers sync.WaitGroup

	mu   sync.Mutex
	last map[fsm.TeamID]*slot // of teams at work: the last line read
}

// slot is a line on its way. Guarded by the stream's mu: next.
type slot struct {
	task task
	team fsm.TeamID
	done chan struct{}
	next *slot // of the same team
}

// read runs until the end of the body.
func (s *stream) read(body io.Reader) {
	defer close(s.queue)
	defer close(s.ready)
	r := bufio.NewReaderSize(deadlineReader{s, body}, MaxLine+2) // with its line end
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		tooLong := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			s.put(s.parse(n, nil, streamError(err, n)))
			return
		}
		line = bytes.TrimSpace(line)
		switch {
		case tooLong || len(line) > MaxLine:
			s.put(s.parse(n, nil, fsm.Errorf(fsm.TooLarge, "line %d is longer than %d bytes", n, MaxLine)))
		case len(line) > 0:
			s.put(s.parse(n, line, nil))
		}
		if err == io.EOF || s.ctx.Err() != nil {
			return
		}
	}
}

func streamError(err error, line int) error {
	return invalid("", fmt.Sprintf("the stream broke off in line %d; this line was not done: %v", line, bodyError(err, 0)))
}

// put queues a task and sees to it that it is run.
func (s *stream) put(t task) {
	sl := &slot{task: t, done: make(chan struct{})}
	team, run := t.chain()
	if !run {
		close(sl.done)
		s.queue <- sl
		return
	}
	sl.team = team
	s.queue <- sl // waits while the window is full
	s.mu.Lock()
	before := s.last[team]
	s.last[team] = sl
	if before != nil {
		before.next = sl
	}
	s.mu.Unlock()
	if before != nil {
		return
	}
	select {
	case s.ready <- sl:
	default:
		s.workers.Go(func() { s.work(sl) })
	}
}

// work runs a slot and those behind it, then what read has ready. There are
// never more workers than slots in the window.
func (s *stream) work(sl *slot) {
	for ok := true; ok; sl, ok = <-s.ready {
		for sl != nil {
			ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
			sl.task.run(ctx)
			cancel()
			next := s.advance(sl)
			close(sl.done)
			sl = next
		}
	}
}

// advance returns the next line of the slot's team, if one is waiting.
func (s *stream) advance(sl *slot) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl.next == nil {
		delete(s.last, sl.team)
	}
	return sl.next
}

// write answers the slots in their order. What is ready is sent before it waits
// for more. When the client is gone it stops the work and empties the queue.
func (s *stream) write(w io.Writer) (err error) {
	var buf []byte
	send := func() {
		if err == nil {
			if err = s.send(w, buf); err != nil {
				s.stop()
			}
		}
		buf = buf[:0]
	}
	send() // the header
	for {
		var sl *slot
		var ok bool
		select {
		case sl, ok = <-s.queue:
		default:
			send()
			sl, ok = <-s.queue
		}
		if !ok {
			send()
			return err
		}
		select {
		case <-sl.done:
		default:
			send()
			<-sl.done
		}
		if buf = append(sl.task.append(buf), '\n'); len(buf) >= flushBytes {
			send()
		}
	}
}

func (s *stream) send(w io.Writer, b []byte) error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(streamIdle)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	return s.rc.Flush()
}

// deadlineReader gives the client streamIdle for each read.
type deadlineReader struct {
	s    *stream
	body io.Reader
}

func (r deadlineReader) Read(b []byte) (int, error) {
	r.s.setReadDeadline(time.Now().Add(streamIdle))
	if err := r.s.ctx.Err(); err != nil { // set before the deadline was moved on
		return 0, err
	}
	return r.body.Read(b)
}

// setReadDeadline cannot fail but for want of a connection, in tests.
func (s *stream) setReadDeadline(t time.Time) { _ = s.rc.SetReadDeadline(t) }
