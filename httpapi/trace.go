package httpapi

import (
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// slowRequest is how long a request, other than a stream, may take without the
	// log being told.
	slowRequest = 2 * time.Second
	// slowEvery is how often it is told, at most; how many were left out goes with it.
	slowEvery = time.Second
)

// log is the logger of a request: with its id, and the trace it is part of.
func (a *api) log(c *call) *slog.Logger {
	l := a.Logger.With("request", c.id, "method", c.r.Method, "route", c.route.path)
	if id := traceID(c.r.Header); id != "" {
		l = l.With("trace", id)
	}
	return l
}

// traceID is the trace-id of a valid traceparent header (W3C Trace Context, level 1),
// empty without one.
func traceID(h http.Header) string {
	values := h["Traceparent"]
	if len(values) != 1 {
		return ""
	}
	v := values[0]
	const version, trace, parent, end = 2, 35, 52, 55 // where each field ends
	if len(v) < end || len(v) > end && (v[:version] == "00" || v[end] != '-') || v[:version] == "ff" ||
		v[version] != '-' || v[trace] != '-' || v[parent] != '-' ||
		!lowerHex(v[:version]) || !lowerHex(v[version+1:trace]) || !lowerHex(v[trace+1:parent]) || !lowerHex(v[parent+1:end]) {
		return ""
	}
	id := v[version+1 : trace]
	if strings.Trim(id, "0") == "" || strings.Trim(v[trace+1:parent], "0") == "" {
		return ""
	}
	return id
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// slowLog tells the log of slow requests, but not of each when there are many.
type slowLog struct {
	told    atomic.Int64 // when, in nanoseconds since 1970
	skipped atomic.Int64
}

// note tells of a request that took so long, if that is worth it.
func (s *slowLog) note(a *api, c *call, took time.Duration) {
	if took < slowRequest || c.route.stream {
		return
	}
	last, now := s.told.Load(), time.Now().UnixNano()
	if now-last < int64(slowEvery) || !s.told.CompareAndSwap(last, now) {
		s.skipped.Add(1)
		return
	}
	a.log(c).Warn("a request was slow", "took", took, "status", c.w.status, "others", s.skipped.Swap(0))
}
