package blackbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cairn/fsm"
	"cairn/httpapi/cli/local"
	"cairn/httpapi/client"
)

const (
	// startWithin bounds a cluster's founding and a node's start, settleWithin
	// the way to a leader and caught-up voters everywhere.
	startWithin  = 2 * time.Minute
	settleWithin = 2 * time.Minute
	// electWithin bounds how long a group may be without a leader after one of
	// its nodes is gone: several times the worst that was measured.
	electWithin = 30 * time.Second
	// pollEvery is the first pause between two looks at something, pollLater the
	// longest: they double, because looking takes time from what is looked for.
	pollEvery, pollLater = 20 * time.Millisecond, 160 * time.Millisecond
	// logTail is how much of a node's log a failed test prints, in bytes.
	logTail = 16 << 10
)

// cluster is a running cluster of processes that a test may hurt.
type cluster struct {
	*local.Cluster
	t    *testing.T
	dir  string // of the nodes' data and logs
	http *http.Client
}

// start founds a cluster, waits until it has settled, and ends it with the
// test. It skips the test if short ones are asked for.
func start(t *testing.T, nodes int, flags ...string) *cluster {
	t.Helper()
	skipShort(t)
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	c := &cluster{t: t, dir: t.TempDir(), http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	var err error
	c.Cluster, err = local.Start(ctx, local.Config{Binary: binary, Dir: c.dir, Nodes: nodes, Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.end)
	c.settle()
	return c
}

func skipShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs real processes")
	}
}

// end stops all nodes and reads their logs.
func (c *cluster) end() {
	for i := range c.Nodes() {
		c.resume(i)
	}
	c.Stop()
	c.http.CloseIdleConnections()
	for i := range c.Nodes() {
		log, err := os.ReadFile(c.Log(i))
		if err != nil {
			c.t.Error(err)
		}
		for _, sign := range []string{"WARNING: DATA RACE", "\npanic: ", "\nfatal error: "} {
			if at := bytes.Index(log, []byte(sign)); at >= 0 {
				c.t.Errorf("%s: its log holds %q:\n%s", c.Name(i), sign, log[at:min(len(log), at+logTail)])
			}
		}
		if c.t.Failed() {
			c.t.Logf("the log of %s ends:\n%s", c.Name(i), log[max(0, len(log)-logTail):])
		}
	}
}

// settle waits until every node is alive and can serve, and every partition has
// its leader and its voters, caught up.
func (c *cluster) settle() {
	c.t.Helper()
	eventually(c.t, settleWithin, "the cluster settles", c.settled)
}

// settled says what is not as settle wants it. What a node reports of itself may
// be of its life before a restart, so each is asked as well; and a controller
// that is still filling a replica would not survive the next fault.
func (c *cluster) settled() error {
	for i := range c.Nodes() {
		if checks, err := c.at(i, "").Ready(c.t.Context()); err != nil {
			return fmt.Errorf("%w: %s", err, checks)
		}
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
	defer cancel()
	nodes, err := c.admin().Nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes.Nodes {
		if n.Controller == "non_voter" {
			return fmt.Errorf("%s has no vote in the controller", n.Name)
		}
	}
	return c.Settled(ctx)
}

// revive starts a node that was stopped or killed.
func (c *cluster) revive(i int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), startWithin)
	defer cancel()
	if err := c.Restart(ctx, i); err != nil {
		c.t.Fatal(err)
	}
}

// reviveAll starts all nodes at once: none of them can do anything alone.
func (c *cluster) reviveAll() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), startWithin)
	defer cancel()
	errs := make([]error, c.Nodes())
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = c.Restart(ctx, i) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		c.t.Fatal(err)
	}
}

// logSize is how much a node has logged, in bytes, logSince what it logged after.
func (c *cluster) logSize(i int) int {
	c.t.Helper()
	return len(c.logSince(i, 0))
}

func (c *cluster) logSince(i, size int) string {
	c.t.Helper()
	log, err := os.ReadFile(c.Log(i))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(log[size:])
}

// pid is a node's process id; 0 if it does not run. The command line of every
// node names it.
func (c *cluster) pid(i int) int {
	want := []byte("\x00--name\x00" + c.Name(i) + "\x00")
	for _, pid := range c.PIDs() {
		line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err == nil && bytes.Contains(line, want) {
			return pid
		}
	}
	return 0
}

// pause stops a node where it stands (SIGSTOP), resume lets it go on. To the
// others a paused node is one that hangs: its connections stay open.
func (c *cluster) pause(i int)  { c.signal(i, syscall.SIGSTOP) }
func (c *cluster) resume(i int) { c.signal(i, syscall.SIGCONT) }

func (c *cluster) signal(i int, sig syscall.Signal) {
	if pid := c.pid(i); pid != 0 {
		if err := syscall.Kill(pid, sig); err != nil {
			c.t.Errorf("signal %v to %s: %v", sig, c.Name(i), err)
		}
	}
}

// at returns a client that asks one node, once: nothing hides what it answers.
func (c *cluster) at(i int, token string) *client.Client {
	return &client.Client{Addrs: c.URLs()[i : i+1], Token: token, HTTP: c.http, Attempts: 1}
}

// any returns a client of all nodes that retries as a user's does.
func (c *cluster) any(token string) *client.Client {
	return &client.Client{Addrs: c.URLs(), Token: token, HTTP: c.http}
}

// admin is the client of all nodes with the admin's token.
func (c *cluster) admin() *client.Client { return c.any(c.AdminToken()) }

// get reads a path of one node as it is, with the admin's token.
func (c *cluster) get(i int, path string, headers ...string) (int, http.Header, []byte) {
	c.t.Helper()
	return c.send(i, http.MethodGet, path, c.AdminToken(), nil, headers...)
}

// send makes one request of one node, with pairs of header names and values.
func (c *cluster) send(i int, method, path, token string, body io.Reader, headers ...string) (int, http.Header, []byte) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.URLs()[i]+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for pair := range slices.Chunk(headers, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s of %s: %v", method, path, c.Name(i), err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s %s of %s: %v", method, path, c.Name(i), err)
	}
	return resp.StatusCode, resp.Header, answer
}

// ran is what became of a command line.
type ran struct {
	stdout, stderr string
	code           int
}

// cli runs the program as a user would, against all nodes and as the admin.
func (c *cluster) cli(args ...string) ran {
	c.t.Helper()
	return runCommand(c.t, []string{
		"CAIRN_ADDR=" + strings.Join(c.URLs(), ","), "CAIRN_TOKEN=" + c.AdminToken(),
	}, args...)
}

// mustCLI is cli for a command that has to succeed; it returns its stdout.
func (c *cluster) mustCLI(args ...string) string {
	c.t.Helper()
	r := c.cli(args...)
	if r.code != 0 {
		c.t.Fatalf("cairn %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

func runCommand(t *testing.T, env []string, args ...string) ran {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(cleanEnv(), env...)
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return ran{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// cleanEnv is this process's environment without settings of the program.
func cleanEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "CAIRN_") })
}

// eventually polls check until it returns nil, and ends the test with its last
// error if it does not within the time.
func eventually(t *testing.T, within time.Duration, what string, check func() error) {
	t.Helper()
	end := time.Now().Add(within)
	for pause := pollEvery; ; pause = min(2*pause, pollLater) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) || t.Context().Err() != nil {
			t.Fatalf("%s: not within %v: %v", what, within, err)
		}
		time.Sleep(pause)
	}
}

// wait returns after d, or false when ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// wantKind fails the test unless err is of one of the kinds.
func wantKind(t *testing.T, what string, err error, kinds ...fsm.Kind) {
	t.Helper()
	if err == nil || !slices.Contains(kinds, fsm.KindOf(err)) {
		t.Errorf("%s: %v (%v), want one of %v", what, err, fsm.KindOf(err), kinds)
	}
}

// leader returns the node that leads a team's partition, -1 if none does.
func (c *cluster) leader(hunt fsm.HuntID, team fsm.TeamID) int {
	c.t.Helper()
	routing, err := c.admin().Routing(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	slot := fsm.SlotOf(hunt, team)
	for _, p := range routing.Partitions {
		if p.Slots[0] <= slot && slot <= p.Slots[1] {
			return slices.IndexFunc(c.URLs(), func(url string) bool {
				return p.Leader != "" && strings.HasSuffix(url, strings.TrimPrefix(p.Leader, "http://"))
			})
		}
	}
	c.t.Fatal(fmt.Errorf("no partition has slot %d", slot))
	return -1
}
