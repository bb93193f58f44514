package cluster

import (
	"fmt"
	"io"
	"sync"
)

// LogSink is a writer that never blocks: raft's main loop waits for its logger,
// and a leader that waits for a full pipe looks dead. Lines queue, and beyond
// the queue they are dropped and counted.
type LogSink struct {
	lines chan []byte
	done  chan struct{}

	mu      sync.Mutex
	dropped int
	closed  bool
}

// sinkLines is how many lines may wait.
const sinkLines = 4096

// NewLogSink returns a sink that writes to w, one Write a line. Close it.
func NewLogSink(w io.Writer) *LogSink {
	s := &LogSink{lines: make(chan []byte, sinkLines), done: make(chan struct{})}
	go s.run(w)
	return s
}

func (s *LogSink) run(w io.Writer) {
	defer close(s.done)
	for line := range s.lines {
		w.Write(line)
		s.mu.Lock()
		dropped := s.dropped
		s.dropped = 0
		s.mu.Unlock()
		if dropped > 0 {
			fmt.Fprintf(w, "(%d log lines were dropped: whoever reads the log is too slow)\n", dropped)
		}
	}
}

// Write queues a copy of one line. It never fails.
func (s *LogSink) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return len(line), nil
	}
	select {
	case s.lines <- append([]byte(nil), line...):
	default:
		s.dropped++
	}
	return len(line), nil
}

// Close writes what is queued and ends the sink. It may be called again.
func (s *LogSink) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.lines)
	}
	s.mu.Unlock()
	<-s.done
}
