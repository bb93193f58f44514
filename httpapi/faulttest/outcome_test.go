//go:build linux

package faulttest

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"cairn/cluster/faulttest"
)

// TestOutcomes: what a client may conclude from a node that it could not reach, and
// from one that it could and that did not answer. A submission that may have been
// sent may have happened.
func TestOutcomes(t *testing.T) {
	silent := listen(t, func(net.Conn) {})
	broken := listen(t, func(c net.Conn) {
		c.Read(make([]byte, 1<<16))
		c.Close()
	})
	confused := listen(t, func(c net.Conn) {
		c.Read(make([]byte, 1<<16))
		c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops"))
		c.Close()
	})
	r := &remote{
		known: known{URLs: []string{"http://" + freePort(t), silent, broken, confused}},
		asked: time.Second, http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	defer r.http.CloseIdleConnections()
	for node, want := range []struct {
		what         string
		submit, read faulttest.Outcome
	}{
		{"nobody listens", faulttest.None, faulttest.None},
		{"no answer", faulttest.Unknown, faulttest.None},
		{"the connection breaks", faulttest.Unknown, faulttest.None},
		{"no JSON", faulttest.Unknown, faulttest.Unknown},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		_, err := r.Submit(ctx, node, "team", "free", "answer", "key")
		if got, code := faulttest.OutcomeOf(err); got != want.submit {
			t.Errorf("%s: a submission is %s (%s, %v), want %s", want.what, got, code, err, want.submit)
		}
		_, err = r.Team(ctx, node, "team")
		if got, code := faulttest.OutcomeOf(err); got != want.read {
			t.Errorf("%s: a read is %s (%s, %v), want %s", want.what, got, code, err, want.read)
		}
		cancel()
	}
}

// listen serves each connection and returns the base URL.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(t.Context(), func() { conn.Close() })
			serve(conn)
		}
	}()
	return "http://" + l.Addr().String()
}

func TestLeaderMeter(t *testing.T) {
	var m leaderMeter
	for _, step := range []struct {
		node  int
		value float64
		want  int
	}{{0, 5, 0}, {0, 7, 2}, {1, 3, 2}, {0, 7, 2}, {1, 1, 3}, {1, 4, 6}} {
		if m.take(step.node, step.value); m.total() != step.want {
			t.Errorf("after %+v: %d", step, m.total())
		}
	}
}
