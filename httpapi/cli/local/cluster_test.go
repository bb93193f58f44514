package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test binary stand in for cairn: as a node that only binds
// its ports, and as a parent that starts a cluster and then dies.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "serve", "join":
			os.Exit(fakeNode(os.Args[1:]))
		case "doomed-parent":
			os.Exit(doomedParent(os.Args[2]))
		}
	}
	goleak.VerifyTestMain(m)
}

// fakeNode writes its command line to stderr, which is its log.
func fakeNode(args []string) int {
	flag := func(name string) string {
		if i := slices.Index(args, name); i >= 0 {
			return args[i+1]
		}
		return ""
	}
	fmt.Fprintln(os.Stderr, strings.Join(args, " "))
	if flag("--fail") != "" {
		fmt.Fprintln(os.Stderr, "the disk is on fire")
		return 3
	}
	for _, file := range []string{flag("--admin-token-file"), flag("--join-token-file")} {
		if file != "" && os.WriteFile(file, []byte(filepath.Base(file)+"\n"), 0o600) != nil {
			return 1
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	http, err := net.Listen("tcp", flag("--http"))
	if err != nil {
		return 1
	}
	cluster, err := net.Listen("tcp", flag("--cluster"))
	if err != nil {
		return 1
	}
	if os.Getenv("CAIRN_DATA") != "" {
		return 1
	}
	if err := WriteReady(flag("--ready-file"), Ready{HTTP: "http://" + http.Addr().String(), Cluster: cluster.Addr().String()}); err != nil {
		return 1
	}
	<-ctx.Done()
	fmt.Fprintln(os.Stderr, "stopped")
	return 0
}

func start(t *testing.T, flags ...string) (*Cluster, error) {
	t.Helper()
	t.Setenv("CAIRN_DATA", "somewhere") // must not reach the nodes
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Start(t.Context(), Config{Binary: self, Dir: t.TempDir(), Nodes: 3, Flags: flags})
}

// alive reports whether a process exists.
func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestCluster(t *testing.T) {
	c, err := start(t)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	defer func() {
		if !stopped {
			c.Stop()
		}
	}()
	urls, pids := c.URLs(), c.PIDs()
	if len(urls) != 3 || len(pids) != 3 || slices.Contains(urls, "") || c.AdminToken() != "admin-token" || c.JoinToken() != "join-token" {
		t.Fatalf("urls %v, pids %v, tokens %q %q", urls, pids, c.AdminToken(), c.JoinToken())
	}
	joined, _ := os.ReadFile(c.Log(2))
	if want := "join " + c.joinAddr + " --token join-token --data " + c.Data(2); !strings.HasPrefix(string(joined), want) {
		t.Errorf("node 3 was started with %q, want %q", joined, want)
	}

	for _, i := range []int{0, 2} {
		c.Kill(i)
		c.Kill(i) // a node that does not run is left alone
		if alive(pids[i]) || len(c.PIDs()) != 2 {
			t.Errorf("node %d is alive after Kill", i)
		}
		if err := c.Restart(t.Context(), i); err != nil {
			t.Fatal(err)
		}
		if err := c.Restart(t.Context(), i); err == nil {
			t.Error("a running node was started again")
		}
	}
	if !slices.Equal(c.URLs(), urls) {
		t.Errorf("addresses changed from %v to %v", urls, c.URLs())
	}
	founder, _ := os.ReadFile(c.Log(0))
	if n := strings.Count(string(founder), "--admin-token-file"); n != 1 {
		t.Errorf("the founder was told %d times to write its token", n)
	}

	pids = c.PIDs()
	c.Stop()
	stopped = true
	for i, pid := range pids {
		log, _ := os.ReadFile(c.Log(i))
		if alive(pid) || !strings.HasSuffix(string(log), "stopped\n") {
			t.Errorf("node %d was not stopped in order: %q", i, log)
		}
	}
}

// TestFailedStart tells why, and leaves nothing running.
func TestFailedStart(t *testing.T) {
	_, err := start(t, "--fail", "yes")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "the disk is on fire") {
		t.Errorf("got %v, want the exit status and the log", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	self, _ := os.Executable()
	if _, err := Start(ctx, Config{Binary: self, Dir: t.TempDir(), Nodes: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	if _, err := Start(t.Context(), Config{Binary: self, Dir: t.TempDir()}); err == nil {
		t.Error("a cluster without nodes")
	}
}

// doomedParent starts a cluster, tells its pids, and waits for its end.
func doomedParent(dir string) int {
	self, err := os.Executable()
	if err != nil {
		return 1
	}
	c, err := Start(context.Background(), Config{Binary: self, Dir: dir, Nodes: 2})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, pid := range c.PIDs() {
		fmt.Println(pid)
	}
	os.Stdout.Close()
	select {}
}
