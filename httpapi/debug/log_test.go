package debug_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cairn/httpapi/debug"
)

// served is a log behind a server, and the logger that writes it.
func served(t *testing.T) (log *slog.Logger, url string, beneath *strings.Builder) {
	t.Helper()
	l := debug.NewLog()
	s := httptest.NewServer(debug.Handler(l))
	t.Cleanup(s.Close)
	beneath = &strings.Builder{}
	return slog.New(l.Handler(slog.NewTextHandler(beneath, nil))), s.URL + "/debug/log", beneath
}

func get(t *testing.T, url string) (*http.Response, *bufio.Scanner) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp, bufio.NewScanner(resp.Body)
}

// TestRecent: the newest lines, in order, however many came before.
func TestRecent(t *testing.T) {
	log, url, _ := served(t)
	for i := range debug.Recent + 10 {
		log.Info("line", "n", i)
	}
	resp, _ := get(t, url+"?lines=3")
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i, line := range lines {
		if want := fmt.Sprintf("msg=line n=%d", debug.Recent+7+i); len(lines) != 3 || !strings.HasSuffix(line, want) {
			t.Errorf("line %d of %d: %q, want %q", i, len(lines), line, want)
		}
	}
}

// TestFollow: whoever reads along sees details, with the attributes that a logger has;
// the log beneath never does, and nobody makes details that nobody reads.
func TestFollow(t *testing.T) {
	log, url, beneath := served(t)
	log = log.With("node", "n1").WithGroup("g")
	log.Info("before")
	if log.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("details are made though nobody reads them")
	}
	_, lines := get(t, url+"?follow=true&level=debug")
	expect := func(want string) {
		t.Helper()
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Fatalf("read %q, want %q (%v)", lines.Text(), want, lines.Err())
		}
	}
	expect("msg=before")
	log.Debug("detail", "k", 7)
	expect("level=DEBUG msg=detail node=n1 g.k=7")
	log.Warn("trouble")
	expect("level=WARN msg=trouble node=n1")
	if text := beneath.String(); strings.Contains(text, "detail") || !strings.Contains(text, "trouble") {
		t.Errorf("the log beneath holds %q", text)
	}
}

// TestReaderGoes: one who goes is forgotten: details end, and there is room again.
func TestReaderGoes(t *testing.T) {
	log, url, _ := served(t)
	for range 9 { // one more than may read at once
		resp, _ := get(t, url+"?follow=true&level=debug")
		if resp.StatusCode != http.StatusOK || !log.Enabled(t.Context(), slog.LevelDebug) {
			t.Fatalf("%s, details %t", resp.Status, log.Enabled(t.Context(), slog.LevelDebug))
		}
		resp.Body.Close()
		for end := time.Now().Add(10 * time.Second); log.Enabled(t.Context(), slog.LevelDebug); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("details are still made for a reader who has gone")
			}
		}
	}
}

// TestSlowReader: one who does not read holds nobody up, and is told what is missing.
func TestSlowReader(t *testing.T) {
	log, url, _ := served(t)
	_, lines := get(t, url+"?follow=true&lines=0")
	long := strings.Repeat("x", 8<<10) // more than the sockets' buffers hold, in all
	for i := range 4000 {
		log.Info(long, "n", i)
	}
	log.Info("the last one")
	told := false
	for !told && lines.Scan() {
		if len(lines.Text()) > 5<<10 {
			t.Fatalf("a line of %d bytes", len(lines.Text()))
		}
		told = strings.Contains(lines.Text(), "lines were left out")
	}
	if !told {
		t.Error("lines are missing and nobody said so")
	}
}

// TestLogRefusals: what is asked for wrongly is said, and readers are bounded.
func TestLogRefusals(t *testing.T) {
	_, url, _ := served(t)
	for _, query := range []string{"?lines=many", "?lines=-1", "?level=loud"} {
		if resp, _ := get(t, url+query); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", query, resp.Status)
		}
	}
	for range 8 {
		if resp, _ := get(t, url+"?follow=true"); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	if resp, _ := get(t, url+"?follow=true"); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one more reader: %s", resp.Status)
	}
	if resp, _ := get(t, url); resp.StatusCode != http.StatusOK {
		t.Errorf("who only looks: %s", resp.Status)
	}
}
