package debug

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
)

// Limits of a Log.
const (
	// Recent is how many lines it remembers, and maxRecentLine how much of one, in
	// bytes.
	Recent        = 2048
	maxRecentLine = 4 << 10
	// behind is how many lines may wait for one who reads along; beyond it lines are
	// left out, and the reader is told how many.
	behind = 1024
	// maxReaders read along at once.
	maxReaders = 8
)

// Log remembers the newest lines of a node's log, and lets whoever sits at the
// machine read along, in more detail than the log itself has if they like: the
// details are made only while somebody reads them.
type Log struct {
	detail atomic.Int64 // the lowest level that anybody reads

	mu      sync.Mutex
	lines   [Recent]string // the next goes to written % Recent
	written int
	level   slog.Level // of the line that is being written
	readers map[*reader]struct{}
}

// reader is one who reads along.
type reader struct {
	level slog.Level
	lines chan string
	lost  int
}

// nobody reads details: above all levels.
const nobody = 1 << 10

// NewLog returns an empty log.
func NewLog() *Log {
	l := &Log{readers: map[*reader]struct{}{}}
	l.detail.Store(nobody)
	return l
}

// Handler returns a handler that passes records on to next and shows them to l.
func (l *Log) Handler(next slog.Handler) slog.Handler {
	return &tee{next: next, tap: slog.NewTextHandler((*tap)(l), &slog.HandlerOptions{Level: slog.LevelDebug}), log: l}
}

// tee is a handler with a tap.
type tee struct {
	next, tap slog.Handler
	log       *Log
}

func (t *tee) Enabled(ctx context.Context, level slog.Level) bool {
	return t.next.Enabled(ctx, level) || int64(level) >= t.log.detail.Load()
}

func (t *tee) Handle(ctx context.Context, r slog.Record) error {
	t.log.mu.Lock()
	t.log.level = r.Level
	_ = t.tap.Handle(ctx, r) // a tap never fails
	t.log.mu.Unlock()
	if !t.next.Enabled(ctx, r.Level) {
		return nil
	}
	return t.next.Handle(ctx, r)
}

func (t *tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &tee{t.next.WithAttrs(attrs), t.tap.WithAttrs(attrs), t.log}
}

func (t *tee) WithGroup(name string) slog.Handler {
	return &tee{t.next.WithGroup(name), t.tap.WithGroup(name), t.log}
}

// tap is the end of a Log that is written to. The caller holds mu.
type tap Log

// Write takes one line.
func (t *tap) Write(b []byte) (int, error) {
	line := string(b[:min(len(b), maxRecentLine)])
	if len(line) < len(b) {
		line += "...\n"
	}
	if t.level >= slog.LevelInfo { // details are not worth forgetting the rest for
		t.lines[t.written%Recent] = line
		t.written++
	}
	for r := range t.readers {
		if t.level < r.level {
			continue
		}
		select {
		case r.lines <- line:
		default:
			r.lost++
		}
	}
	return len(b), nil
}

// join returns the newest n lines, and one who reads along from there unless follow
// is false; ok is false if there are too many.
func (l *Log) join(n int, level slog.Level, follow bool) (recent []string, r *reader, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := max(0, l.written-min(n, Recent)); i < l.written; i++ {
		recent = append(recent, l.lines[i%Recent])
	}
	if !follow {
		return recent, nil, true
	}
	if len(l.readers) >= maxReaders {
		return nil, nil, false
	}
	r = &reader{level: level, lines: make(chan string, behind)}
	l.readers[r] = struct{}{}
	l.tune()
	return recent, r, true
}

func (l *Log) leave(r *reader) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.readers, r)
	l.tune()
}

// tune has details made that somebody reads. The caller holds mu.
func (l *Log) tune() {
	detail := int64(nobody)
	for r := range l.readers {
		detail = min(detail, int64(r.level))
	}
	l.detail.Store(detail)
}

// gap is how many lines were left out for r since it was asked last.
func (l *Log) gap(r *reader) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := r.lost
	r.lost = 0
	return n
}

// ServeHTTP answers GET with the newest ?lines=N lines (200; at most Recent) of level
// info and above, and with ?follow=true with what comes after them too, of ?level=L
// (debug, info, warn or error) and above, until the client goes.
func (l *Log) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, level, follow := 200, slog.LevelInfo, r.FormValue("follow") == "true"
	if s := r.FormValue("lines"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 0 {
			http.Error(w, "lines must be a number", http.StatusBadRequest)
			return
		}
	}
	if s := r.FormValue("level"); s != "" {
		if err := level.UnmarshalText([]byte(s)); err != nil {
			http.Error(w, "level must be debug, info, warn or error", http.StatusBadRequest)
			return
		}
	}
	recent, reading, ok := l.join(n, level, follow)
	if !ok {
		http.Error(w, fmt.Sprintf("%d read along already, and no more can", maxReaders), http.StatusTooManyRequests)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, line := range recent {
		fmt.Fprint(w, line) // a client that has gone is noticed below
	}
	if reading != nil {
		defer l.leave(reading)
		l.pass(w, r, reading)
	}
}

// pass writes lines until the client goes.
func (l *Log) pass(w http.ResponseWriter, r *http.Request, reading *reader) {
	out := http.NewResponseController(w)
	for {
		if err := out.Flush(); err != nil {
			return
		}
		select {
		case line := <-reading.lines:
			if n := l.gap(reading); n > 0 {
				fmt.Fprintf(w, "(%d lines were left out: they came faster than they were read)\n", n)
			}
			if _, err := fmt.Fprint(w, line); err != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
