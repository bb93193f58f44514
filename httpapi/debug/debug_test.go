package debug_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"cairn/httpapi/debug"
)

// TestHandler: profiles for this machine, nothing for a page that calls it by
// another name, and never the command line.
func TestHandler(t *testing.T) {
	for _, c := range []struct {
		host, path string
		status     int
		has        string
	}{
		{"127.0.0.1:6060", "/debug/pprof/", 200, "goroutine"},
		{"localhost:6060", "/debug/pprof/goroutine?debug=2", 200, "TestHandler"},
		{"[::1]:6060", "/debug/pprof/heap?debug=1", 200, "heap profile"},
		{"127.0.0.1:6060", "/debug/pprof/cmdline", 404, ""},
		{"evil.example:6060", "/debug/pprof/", 403, "only to localhost"},
		{"192.0.2.1:6060", "/debug/pprof/", 403, ""},
		{"", "/debug/pprof/", 403, ""},
		{"127.0.0.1:6060", "/metrics", 404, ""},
		{"127.0.0.1:6060", "/debug/log", 200, ""},
		{"evil.example:6060", "/debug/log", 403, "only to localhost"},
	} {
		r := httptest.NewRequest("GET", c.path, nil)
		r.Host = c.host
		w := httptest.NewRecorder()
		debug.Handler(debug.NewLog()).ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.has) {
			t.Errorf("%s as %q: %d %.80q, want %d and %q", c.path, c.host, w.Code, w.Body, c.status, c.has)
		}
	}
}

// TestLoopback: only what cannot be reached from another machine.
func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:6060": true, "127.8.8.8:1": true, "[::1]:6060": true, "localhost:6060": true, "localhost": true,
		":6060": false, "0.0.0.0:6060": false, "[::]:6060": false, "10.0.0.1:6060": false, "localhost.example:6060": false, "": false,
	} {
		if debug.Loopback(addr) != want {
			t.Errorf("Loopback(%q) is %v", addr, !want)
		}
	}
}
