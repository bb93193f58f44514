package httpapi_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cairn/cluster"
	"cairn/httpapi"
	"cairn/httpapi/apitest"
)

// TestLogHidesSecrets: at debug level every request is logged, and neither
// tokens, keys nor answers are.
func TestLogHidesSecrets(t *testing.T) {
	var log bytes.Buffer
	s := newServer(t, func(c *httpapi.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	red, _ := s.withMaze(t)
	s.must(t, nil, "POST", "/v1/hunts/maze/teams/red/submissions?token=hushhush", red, `{"clue":"gate","answer":"friend"}`, "Idempotency-Key", "mykey")
	for _, word := range []string{red, apitest.Organizer, "friend", "mykey", "hushhush"} {
		if strings.Contains(log.String(), word) {
			t.Errorf("%q is in the log", word)
		}
	}
	if !strings.Contains(log.String(), "path=/v1/hunts/maze/teams/red/submissions status=200") {
		t.Errorf("the request is not in the log: %s", &log)
	}
}

func TestPanicIsAnAnswer(t *testing.T) {
	var log bytes.Buffer
	s := newServer(t, func(c *httpapi.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	s.cluster.Fault = func(string) error { panic("the sky fell") }
	a := s.do(t, "GET", "/v1/hunts", "", "", "X-Request-Id", "my-id")
	if a.status != 500 || a.code(t) != "internal" || strings.Contains(a.body, "sky") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a.header.Get("X-Request-Id") != "my-id" || !strings.Contains(log.String(), "my-id") || !strings.Contains(log.String(), "sky") {
		t.Errorf("header %q, log %s", a.header.Get("X-Request-Id"), &log)
	}
	if id := s.do(t, "GET", "/livez", "", "", "X-Request-Id", "a\x01b").header.Get("X-Request-Id"); id == "a\x01b" || id == "" {
		t.Errorf("request id %q", id)
	}
}

// TestTooManyRequests: beyond the cap requests are refused at once, but for those
// that ask how the node is.
func TestTooManyRequests(t *testing.T) {
	s := newServer(t, func(c *httpapi.Config) { c.MaxRequests, c.MaxStreams = 1, 1 })
	s.withMaze(t)
	inside, release := make(chan struct{}), make(chan struct{})
	s.cluster.Before = func(context.Context, cluster.Submission) error {
		inside <- struct{}{}
		<-release
		return nil
	}
	const path = "/v1/hunts/maze/teams/red/submissions"
	done := make(chan answer)
	go func() {
		done <- s.do(t, "POST", path, apitest.Organizer, `{"clue":"gate","answer":"x"}`)
	}()
	<-inside
	if a := s.do(t, "GET", "/v1/hunts", "", ""); a.status != 503 || a.code(t) != "overloaded" || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		if a := s.do(t, "GET", path, "", ""); a.status != 200 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	close(release)
	if a := <-done; a.status != 200 {
		t.Errorf("the one inside: %d %s", a.status, a.body)
	}
	if a := s.do(t, "GET", "/v1/hunts", "", ""); a.status != 200 {
		t.Errorf("after it: %d", a.status)
	}
}

func TestChecks(t *testing.T) {
	s := newServer(t)
	if a := s.do(t, "GET", "/readyz", "", ""); a.status != 200 || a.body != "ok\n" {
		t.Errorf("%d %q", a.status, a.body)
	}
	if a := s.do(t, "GET", "/readyz?verbose", "", ""); a.body != "[+]controller ok\n[+]disk ok\nok\n" {
		t.Errorf("%q", a.body)
	}
	s.cluster.Failing = "the last sync took 12s"
	if a := s.do(t, "GET", "/readyz", "", ""); a.status != 503 || a.body != "[-]disk failed: the last sync took 12s\nfailed\n" {
		t.Errorf("%d %q", a.status, a.body)
	}
	if a := s.do(t, "HEAD", "/livez", "", ""); a.status != 200 {
		t.Errorf("HEAD: %d", a.status)
	}
}

// TestMetricsFromTheStart: every family and every closed label value is there at
// 0 before the first request, and counts afterwards.
func TestMetricsFromTheStart(t *testing.T) {
	s := newServer(t)
	before := s.do(t, "GET", "/metrics", "", "").body
	for _, want := range []string{
		`cairn_submissions_total{verdict="correct"} 0`, `cairn_submissions_total{verdict="incorrect"} 0`,
		`cairn_submissions_total{verdict="nudge"} 0`, `cairn_submissions_total{verdict="duplicate"} 0`,
		`cairn_submissions_total{verdict="already_solved"} 0`,
		`cairn_submission_duration_seconds_count{outcome="recorded"} 0`, `cairn_submission_duration_seconds_count{outcome="unknown"} 0`,
		`cairn_http_request_duration_seconds_count{code="201",method="POST",route="/v1/hunts"} 0`,
		`cairn_http_request_duration_seconds_count{code="200",method="POST",route="/v1/hunts/{hunt}/submissions:batch"} 0`,
		`cairn_board_cache_total{result="hit"} 0`,
	} {
		if !strings.Contains(before, want+"\n") {
			t.Errorf("missing at the start: %s", want)
		}
	}
	s.withMaze(t)
	s.must(t, nil, "POST", "/v1/hunts/maze/teams/red/submissions", apitest.Organizer, `{"clue":"gate","answer":"friend"}`)
	s.do(t, "POST", "/v1/hunts/maze/teams/red/submissions", apitest.Organizer, `{"clue":"nope","answer":"friend"}`)
	s.do(t, "GET", "/no/such/path", "", "")
	after := s.do(t, "GET", "/metrics", "", "").body
	for _, want := range []string{
		`cairn_submissions_total{verdict="correct"} 1`,
		`cairn_submission_duration_seconds_count{outcome="recorded"} 1`,
		`cairn_submission_duration_seconds_count{outcome="refused"} 1`,
		`cairn_http_request_duration_seconds_count{code="404",method="POST",route="/v1/hunts/{hunt}/teams/{team}/submissions"} 1`,
		`cairn_http_request_duration_seconds_count{code="404",method="other",route="other"} 1`,
	} {
		if !strings.Contains(after, want+"\n") {
			t.Errorf("missing afterwards: %s", want)
		}
	}
	if strings.Contains(after, "maze") || strings.Contains(after, "/no/such/path") {
		t.Error("an id or a path of a request became a label")
	}
}

// TestLongRequest: a request that asks for more time than the server's own
// timeouts gets it; without moving the connection's deadlines it would be
// cancelled at the first of them.
func TestLongRequest(t *testing.T) {
	s := newServer(t)
	s.withMaze(t)
	const limit = 50 * time.Millisecond
	s.cluster.Before = func(ctx context.Context, _ cluster.Submission) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(4 * limit): // the time a slow cluster takes is the subject
			return nil
		}
	}
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = httpapi.Server("", s)
	ts.Config.ReadTimeout, ts.Config.WriteTimeout = limit, limit
	ts.Start()
	defer ts.Close()
	req, err := http.NewRequest("POST", ts.URL+"/v1/hunts/maze/teams/red/submissions", strings.NewReader(`{"clue":"gate","answer":"friend"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apitest.Organizer)
	req.Header.Set("Cairn-Timeout", "20s")
	resp, err := ts.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		body, _ := io.ReadAll(resp.Body)
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// TestDocsAreSelfContained: the page asks for nothing from elsewhere, and its
// policy would not let it.
func TestDocsAreSelfContained(t *testing.T) {
	s := newServer(t)
	for path, media := range map[string]string{"/docs": "text/html", "/docs/docs.css": "text/css", "/docs/docs.js": "text/javascript"} {
		a := s.must(t, nil, "GET", path, "", "")
		if !strings.HasPrefix(a.header.Get("Content-Type"), media) || !strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %v", path, a.header)
		}
		if strings.Contains(a.body, "://") || strings.Contains(a.body, "<script>") {
			t.Errorf("%s refers to something outside itself", path)
		}
	}
	for _, path := range []string{"/docs/none.js", "/docs/index.html", "/docs/..%2fserver.go"} {
		if a := s.do(t, "GET", path, "", ""); a.status != 404 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := s.do(t, "GET", "/", "", ""); a.status != 302 || a.header.Get("Location") != "/docs" {
		t.Errorf("/: %d %s", a.status, a.header.Get("Location"))
	}
}
