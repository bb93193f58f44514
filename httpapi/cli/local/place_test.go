package local

import (
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestPlaces: a node listens where it is told, gets its environment, is started from
// a thread that has entered its place, and can be started without waiting.
func TestPlaces(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var entered atomic.Int32
	places := []Place{
		{HTTP: free(t), Cluster: free(t), Enter: func() error { entered.Add(1); return nil }},
		{HTTP: free(t), Cluster: free(t)},
	}
	c, err := Start(t.Context(), Config{Binary: self, Dir: t.TempDir(), Nodes: 2, Place: func(i int) Place { return places[i] }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	for i, url := range c.URLs() {
		if url != "http://"+places[i].HTTP {
			t.Errorf("node %d serves at %s, want %s", i, url, places[i].HTTP)
		}
	}
	if n := entered.Load(); n != 1 {
		t.Errorf("the place of node 0 was entered %d times", n)
	}
	if err := c.Launch(1); err == nil {
		t.Error("a running node was started again")
	}
	c.Kill(1)
	if pid := c.PID(1); pid != 0 {
		t.Errorf("process %d runs after Kill", pid)
	}
	c.Use(1, "/bin/false")
	if err := c.Launch(1); err != nil {
		t.Fatal(err)
	}
	if err := c.Ended(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("the other program ended with %v", err)
	}
	c.Use(1, self)
	if err := c.Launch(1); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(startTimeout); ; time.Sleep(pollEvery) {
		conn, err := net.Dial("tcp", places[1].HTTP)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// TestNoPlace: a place that cannot be entered is an error that says whose it is.
func TestNoPlace(t *testing.T) {
	place := Place{HTTP: "127.0.0.1:0", Cluster: "127.0.0.1:0", Enter: func() error { return os.ErrPermission }}
	self, _ := os.Executable()
	_, err := Start(t.Context(), Config{Binary: self, Dir: t.TempDir(), Nodes: 1, Place: func(int) Place { return place }})
	if err == nil || !strings.Contains(err.Error(), "the place of n1") {
		t.Errorf("got %v", err)
	}
}

// free is a loopback address that nobody listens on now.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
