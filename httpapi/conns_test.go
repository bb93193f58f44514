package httpapi_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cairn/httpapi"
)

// TestConns: beyond the bound the connection that was idle for longest makes room,
// and if all are busy the new one is closed.
func TestConns(t *testing.T) {
	reg := prometheus.NewRegistry()
	conns := httpapi.NewConns(reg, 3)
	busy, entered := make(chan struct{}), make(chan struct{}, 3)
	s := httpapi.Server("", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			entered <- struct{}{}
			<-busy
		}
		io.WriteString(w, "done")
	}))
	conns.Bound(s)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	defer s.Close()

	dial := func() wire { return dialWire(t, l.Addr().String()) }
	all := []wire{dial(), dial(), dial()}
	for i, c := range all {
		if c.ask("/"); c.answer() != nil {
			t.Fatalf("connection %d has no answer", i)
		}
	}
	all[0].ask("/") // so that the second is idle for longest
	if err := all[0].answer(); err != nil {
		t.Fatal(err)
	}
	fourth := dial()
	if fourth.ask("/slow"); !all[1].closed() {
		t.Error("the connection that was idle for longest is open")
	}
	for _, c := range []wire{all[0], all[2]} {
		c.ask("/slow")
	}
	for range 3 {
		<-entered
	}
	fifth := dial()
	if fifth.ask("/"); !fifth.closed() {
		t.Error("one more than the bound was served beside busy ones")
	}
	if n := conns.Open(); n != 3 {
		t.Errorf("%d are open, want 3", n)
	}
	close(busy)
	for i, c := range []wire{all[0], all[2], fourth} {
		if err := c.answer(); err != nil {
			t.Errorf("busy connection %d: %v", i, err)
		}
	}
	for _, c := range []wire{all[0], all[2], fourth} {
		c.Close()
	}
	for until := time.Now().Add(20 * time.Second); conns.Open() > 0; runtime.Gosched() {
		if time.Now().After(until) {
			t.Fatalf("%d are counted as open, and all are closed", conns.Open())
		}
	}
	checkClosed(t, reg)
}

// checkClosed wants that one connection was closed of each kind.
func checkClosed(t *testing.T, reg *prometheus.Registry) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "cairn_http_connections_closed_total" {
			continue
		}
		for _, m := range f.Metric {
			if n := m.GetCounter().GetValue(); n != 1 {
				t.Errorf("%v were closed of %v, want 1", n, m.Label)
			}
		}
	}
}

// wire is a connection to a server, without a client that repairs it.
type wire struct {
	*bufio.ReadWriter
	io.Closer
}

func dialWire(t *testing.T, addr string) wire {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	return wire{bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)), c}
}

func (w wire) ask(path string) {
	w.WriteString("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
	w.Flush()
}

func (w wire) answer() error {
	resp, err := http.ReadResponse(w.Reader, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// closed reports whether the other side has closed it.
func (w wire) closed() bool {
	_, err := w.ReadByte()
	return err != nil
}
