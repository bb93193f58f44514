package httpapi

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const goodTrace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// TestTraceID: only what the standard calls valid is taken over.
func TestTraceID(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	for v, want := range map[string]string{
		goodTrace:                               id,
		"cc" + goodTrace[2:]:                    id,
		"cc" + goodTrace[2:] + "-more":          id,
		"cc" + goodTrace[2:] + "more":           "",
		goodTrace + "-more":                     "",
		"ff" + goodTrace[2:]:                    "",
		strings.ToUpper(goodTrace):              "",
		strings.ReplaceAll(goodTrace, "-", "_"): "",
		strings.Replace(goodTrace, id, strings.Repeat("0", 32), 1):                 "",
		strings.Replace(goodTrace, "00f067aa0ba902b7", strings.Repeat("0", 16), 1): "",
		goodTrace[:54]: "", "": "", "00": "",
	} {
		if got := traceID(http.Header{"Traceparent": {v}}); got != want {
			t.Errorf("%q: %q, want %q", v, got, want)
		}
	}
	if traceID(http.Header{"Traceparent": {goodTrace, goodTrace}}) != "" || traceID(nil) != "" {
		t.Error("two headers, or none, name a trace")
	}
}

func FuzzTraceID(f *testing.F) {
	f.Add(goodTrace)
	f.Add("01-" + goodTrace[3:] + "-x")
	valid := regexp.MustCompile(`^(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|([1-9a-e][0-9a-f]|0[1-9a-f]|f[0-9a-e])-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-(?s:.*))?)$`)
	f.Fuzz(func(t *testing.T, v string) {
		want := valid.MatchString(v) && v[3:35] != strings.Repeat("0", 32) && v[36:52] != strings.Repeat("0", 16)
		if got := traceID(http.Header{"Traceparent": {v}}); (got != "") != want || want && got != v[3:35] {
			t.Errorf("%q: %q, valid %v", v, got, want)
		}
	})
}

// TestSlowRequests: the log is told of slow requests with their ids, once a second
// and of how many besides.
func TestSlowRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		a := &api{Config: Config{Logger: slog.New(slog.NewTextHandler(&out, nil))}}
		r := httptest.NewRequest("GET", "/v1/hunts", nil)
		r.Header.Set("Traceparent", goodTrace)
		c := &call{w: &response{status: 200}, r: r, route: &route{path: "/v1/hunts"}, id: "abc-1"}
		var s slowLog
		s.note(a, c, slowRequest-1)
		for range 5 {
			s.note(a, c, slowRequest)
		}
		time.Sleep(slowEvery)
		s.note(a, c, slowRequest)
		time.Sleep(slowEvery) // else it would not be told anyway
		s.note(a, &call{w: c.w, r: r, route: &route{stream: true}}, time.Hour)
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("%d lines:\n%s", len(lines), &out)
		}
		for i, want := range []string{"others=0", "others=4"} {
			for _, part := range []string{want, "level=WARN", "request=abc-1", "trace=4bf92f3577b34da6a3ce929d0e0e4736", "route=/v1/hunts", "took=2s"} {
				if !strings.Contains(lines[i], part) {
					t.Errorf("line %d lacks %s: %s", i, part, lines[i])
				}
			}
		}
	})
}
