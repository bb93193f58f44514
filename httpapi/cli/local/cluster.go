// Package local runs a real cluster of child processes on loopback, for the
// demo, the benchmark and tests: real data directories, real sockets, real
// kills. It needs no privileges and no fixed ports, so any number can run at
// once, and it leaves nothing behind: every child is in a process group of its
// own and dies with this process, however that ends (on Linux).
package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// MaxNodes bounds a cluster on one machine.
const MaxNodes = 50

const (
	// startTimeout bounds a node's way to its ready file.
	startTimeout = 60 * time.Second
	// stopTimeout is what a node has between SIGTERM and SIGKILL.
	stopTimeout = 10 * time.Second
	// pollEvery is the pause between two looks at a file or a node.
	pollEvery = 20 * time.Millisecond
)

// Config of a cluster.
type Config struct {
	Binary string   // path of the cairn program
	Dir    string   // an empty directory for everything the nodes write
	Nodes  int      // 1 to MaxNodes
	Flags  []string // more flags of "serve" and "join"
	CPUs   []int    // on which the nodes run; none: on all

	Replicas int // how many of a partition Settled waits for, if Flags ask for more than three
}

// Cluster is a running cluster. Its methods are safe for concurrent use; Stop
// must be called once and last.
type Cluster struct {
	cfg        Config
	spawner    *spawner
	adminToken string
	joinToken  string
	joinAddr   string // the founder's, for the others

	mu      sync.Mutex
	nodes   []*node // only ever more
	helpers []*process
}

// node is one member, running or not.
type node struct {
	name    string
	dir     string
	founder bool

	mu    sync.Mutex
	proc  *process // nil: never started
	ready Ready
}

// Start founds a cluster, joins the other nodes to it, and returns when every
// node serves. On an error nothing is left running.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Nodes < 1 || cfg.Nodes > MaxNodes {
		return nil, fmt.Errorf("a local cluster has 1 to %d nodes", MaxNodes)
	}
	spawner, err := newSpawner(cfg.CPUs)
	if err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, spawner: spawner}
	for range cfg.Nodes {
		c.more()
	}
	if err := c.start(ctx); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// more adds a node that was never started, and returns its number.
func (c *Cluster) more() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := "n" + strconv.Itoa(len(c.nodes)+1)
	c.nodes = append(c.nodes, &node{name: name, dir: filepath.Join(c.cfg.Dir, name), founder: len(c.nodes) == 0})
	return len(c.nodes) - 1
}

// Add joins one more node, and returns its number once it serves.
func (c *Cluster) Add(ctx context.Context) (int, error) {
	if c.Nodes() >= MaxNodes {
		return 0, fmt.Errorf("a local cluster has 1 to %d nodes", MaxNodes)
	}
	i := c.more()
	return i, c.Restart(ctx, i)
}

// node and all return nodes.
func (c *Cluster) node(i int) *node { return c.all()[i] }

func (c *Cluster) all() []*node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[:len(c.nodes):len(c.nodes)]
}

func (c *Cluster) start(ctx context.Context) error {
	if err := c.Restart(ctx, 0); err != nil {
		return err
	}
	var err error
	if c.adminToken, err = readToken(c.adminTokenFile()); err != nil {
		return err
	}
	if c.joinToken, err = readToken(c.joinTokenFile()); err != nil {
		return err
	}
	c.joinAddr = c.node(0).ready.Cluster
	errs := make([]error, c.Nodes())
	var wg sync.WaitGroup
	for i := 1; i < len(errs); i++ {
		wg.Go(func() { errs[i] = c.Restart(ctx, i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// AdminToken is the token that the founding node made.
func (c *Cluster) AdminToken() string { return c.adminToken }

// JoinToken admits more nodes.
func (c *Cluster) JoinToken() string { return c.joinToken }

// Nodes is the number of nodes, running or not.
func (c *Cluster) Nodes() int { return len(c.all()) }

// Name is a node's name.
func (c *Cluster) Name(i int) string { return c.node(i).name }

// Log is the file that a node's stderr goes to.
func (c *Cluster) Log(i int) string { return c.node(i).dir + ".log" }

// Data is a node's data directory.
func (c *Cluster) Data(i int) string { return c.node(i).dir }

// URLs are the base URLs of all nodes. A node keeps its own over restarts.
func (c *Cluster) URLs() []string {
	nodes := c.all()
	urls := make([]string, len(nodes))
	for i, n := range nodes {
		n.mu.Lock()
		urls[i] = n.ready.HTTP
		n.mu.Unlock()
	}
	return urls
}

// DebugURL is the base URL of a node's debug port; empty if it has none.
func (c *Cluster) DebugURL(i int) string {
	n := c.node(i)
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ready.Debug
}

// PIDs are the process ids of the nodes that run.
func (c *Cluster) PIDs() []int {
	var pids []int
	for _, n := range c.all() {
		n.mu.Lock()
		if n.proc != nil && !n.proc.exited() {
			pids = append(pids, n.proc.pid())
		}
		n.mu.Unlock()
	}
	return pids
}

// Kill ends a node with SIGKILL, as a crash would, and waits until it is gone.
// A node that does not run is left alone.
func (c *Cluster) Kill(i int) {
	n := c.node(i)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil {
		n.proc.kill()
		<-n.proc.done
	}
}

// Ended waits until a node's process has ended, and tells how: nil for exit code
// 0. A node that was never started has.
func (c *Cluster) Ended(ctx context.Context, i int) error {
	n := c.node(i)
	n.mu.Lock()
	proc := n.proc
	n.mu.Unlock()
	if proc == nil {
		return nil
	}
	select {
	case <-proc.done:
		return proc.err
	case <-ctx.Done():
		return fmt.Errorf("%s still runs: %w", n.name, ctx.Err())
	}
}

// Terminate asks a node to stop (SIGTERM) and waits; after 10 s it is killed.
func (c *Cluster) Terminate(i int) {
	n := c.node(i)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil {
		n.proc.stop(stopTimeout)
	}
}

// Restart starts a node that does not run, on its data and its addresses, and
// returns when it serves again.
func (c *Cluster) Restart(ctx context.Context, i int) error {
	n := c.node(i)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil && !n.proc.exited() {
		return fmt.Errorf("%s runs already", n.name)
	}
	readyFile := n.dir + ".ready"
	if err := os.Remove(readyFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	proc, err := c.spawner.start(c.cfg.Binary, c.args(n, readyFile), c.Log(i))
	if err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	n.proc = proc
	ready, err := awaitReady(ctx, proc, readyFile)
	if err != nil {
		return fmt.Errorf("%s: %w; its log ends:\n%s", n.name, err, tail(c.Log(i)))
	}
	n.ready = ready
	return nil
}

// args of a node's command line. A node that ran before keeps its ports: the
// others and the clients know them.
func (c *Cluster) args(n *node, readyFile string) []string {
	http, cluster := "127.0.0.1:0", "127.0.0.1:0"
	if n.ready.HTTP != "" {
		http, cluster = strings.TrimPrefix(n.ready.HTTP, "http://"), n.ready.Cluster
	}
	args := []string{"serve"}
	if !n.founder {
		args = []string{"join", c.joinAddr, "--token", c.joinToken}
	} else if n.proc == nil {
		args = append(args, "--admin-token-file", c.adminTokenFile(), "--join-token-file", c.joinTokenFile())
	}
	args = append(args, "--data", n.dir, "--name", n.name, "--http", http, "--cluster", cluster, "--ready-file", readyFile)
	return append(args, c.cfg.Flags...)
}

func (c *Cluster) adminTokenFile() string { return filepath.Join(c.cfg.Dir, "admin-token") }
func (c *Cluster) joinTokenFile() string  { return filepath.Join(c.cfg.Dir, "join-token") }

// Settled waits until all nodes are alive and every partition has a leader and
// as many caught-up voters as the cluster's size wants: 1 of up to two nodes,
// else 3.
func (c *Cluster) Settled(ctx context.Context) error {
	cl, err := client.New(c.URLs(), c.adminToken)
	if err != nil {
		return err
	}
	defer cl.HTTP.CloseIdleConnections()
	why := ""
	for {
		if why = c.unsettled(ctx, cl); why == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cluster did not settle: %s: %w", why, ctx.Err())
		case <-time.After(5 * pollEvery):
		}
	}
}

// unsettled says what is not as it should be; empty if everything is.
func (c *Cluster) unsettled(ctx context.Context, cl *client.Client) string {
	nodes, err := cl.Nodes(ctx)
	if err != nil {
		return err.Error()
	}
	alive := 0
	for _, n := range nodes.Nodes {
		if n.State == "alive" {
			alive++
		}
	}
	if alive != c.Nodes() {
		return fmt.Sprintf("%d of %d nodes are alive", alive, c.Nodes())
	}
	parts, err := cl.Partitions(ctx)
	if err != nil {
		return err.Error()
	}
	want := max(3, c.cfg.Replicas)
	if c.Nodes() < want {
		want = 1
	}
	for _, p := range parts.Partitions {
		if voters := caughtUp(p); p.State != "ok" || voters != want {
			return fmt.Sprintf("partition %d is %s, has leader %q and %d of %d voters", p.ID, p.State, p.Leader, voters, want)
		}
	}
	return c.uneven(parts.Partitions)
}

// uneven says whether replicas are still to move: moves that only balance come a
// few at a time, and in between every partition is as the table wishes.
func (c *Cluster) uneven(parts []rest.Partition) string {
	count := map[fsm.NodeID]int{}
	for _, p := range parts {
		for _, n := range p.Target {
			count[n]++
		}
	}
	most, least := 0, len(parts)
	for _, n := range count {
		most, least = max(most, n), min(least, n)
	}
	if c.Nodes() >= 3 && (most-least > 1 || len(count) < min(c.Nodes(), 3*len(parts))) {
		return fmt.Sprintf("the nodes are wished %d to %d replicas", least, most)
	}
	return ""
}

func caughtUp(p rest.Partition) int {
	seen := map[fsm.NodeID]bool{}
	for _, r := range p.Replicas {
		if r.Role == "voter" && r.CaughtUp {
			seen[r.Node] = true
		}
	}
	return len(seen)
}

// Helper runs another command of the same program beside the nodes until Stop,
// with --ready-file added to args, and returns its address and process id.
func (c *Cluster) Helper(ctx context.Context, name string, args ...string) (Ready, int, error) {
	base := filepath.Join(c.cfg.Dir, name)
	proc, err := c.spawner.start(c.cfg.Binary, append(args, "--ready-file", base+".ready"), base+".log")
	if err != nil {
		return Ready{}, 0, fmt.Errorf("start %s: %w", name, err)
	}
	c.mu.Lock()
	c.helpers = append(c.helpers, proc)
	c.mu.Unlock()
	ready, err := awaitReady(ctx, proc, base+".ready")
	if err != nil {
		return Ready{}, 0, fmt.Errorf("%s: %w; its log ends:\n%s", name, err, tail(base+".log"))
	}
	return ready, proc.pid(), nil
}

// Stop ends all nodes: SIGTERM, and SIGKILL for what is left after 10 s. The
// directory stays; it is the caller's.
func (c *Cluster) Stop() {
	var wg sync.WaitGroup
	for i := range c.all() {
		wg.Go(func() { c.Terminate(i) })
	}
	for _, h := range c.helpers {
		wg.Go(func() { h.stop(stopTimeout) })
	}
	wg.Wait()
	c.spawner.close()
}

// KillAll ends all nodes at once with SIGKILL, as a power cut would.
func (c *Cluster) KillAll() {
	var wg sync.WaitGroup
	for i := range c.all() {
		wg.Go(func() { c.Kill(i) })
	}
	wg.Wait()
}

// awaitReady waits for a node's ready file, or for its end.
func awaitReady(ctx context.Context, p *process, path string) (Ready, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		if r, ok, err := readReady(path); ok || err != nil {
			return r, err
		}
		select {
		case <-ctx.Done():
			return Ready{}, fmt.Errorf("did not serve in time: %w", ctx.Err())
		case <-p.done:
			return Ready{}, fmt.Errorf("ended at once (%v)", p.state())
		case <-ticker.C:
		}
	}
}

func readToken(path string) (string, error) {
	data, err := os.ReadFile(path)
	return strings.TrimSpace(string(data)), err
}

// maxTail is how much of a log an error quotes, in bytes.
const maxTail = 2 << 10

func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data[max(0, len(data)-maxTail):]))
}
