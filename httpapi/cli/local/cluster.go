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
	"net/http"
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

	Place func(node int) Place // where a node runs; nil: on loopback, at any port
	HTTP  *http.Client         // reaches the nodes, if this process does not by itself
}

// Place is where a node runs.
type Place struct {
	HTTP, Cluster string       // host:port it listens on
	Env           []string     // more environment for it
	Enter         func() error // not nil: takes the thread that will start it to where it is to run
}

// Cluster is a running cluster. Its methods are safe for concurrent use; Stop
// must be called once and last.
type Cluster struct {
	cfg        Config
	spawner    *spawner // of helpers, and of nodes that have no place of their own
	adminToken string
	joinToken  string
	joinAddr   string // the founder's, for the others

	mu      sync.Mutex
	nodes   []*node // only ever more
	helpers []*process
}

// Start founds a cluster, joins the other nodes to it, and returns when every
// node serves. On an error nothing is left running.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Nodes < 1 || cfg.Nodes > MaxNodes {
		return nil, fmt.Errorf("a local cluster has 1 to %d nodes", MaxNodes)
	}
	spawner, err := newSpawner(cfg.CPUs, nil)
	if err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, spawner: spawner}
	for range cfg.Nodes {
		if _, err := c.more(); err != nil {
			c.Stop()
			return nil, err
		}
	}
	if err := c.start(ctx); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// more adds a node that was never started, and returns its number.
func (c *Cluster) more() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := len(c.nodes)
	name := "n" + strconv.Itoa(i+1)
	n := &node{name: name, dir: filepath.Join(c.cfg.Dir, name), founder: i == 0, binary: c.cfg.Binary, spawner: c.spawner}
	n.place = Place{HTTP: "127.0.0.1:0", Cluster: "127.0.0.1:0"}
	if c.cfg.Place != nil {
		n.place = c.cfg.Place(i)
	}
	if n.place.Enter != nil {
		var err error
		if n.spawner, err = newSpawner(c.cfg.CPUs, n.place.Enter); err != nil {
			return 0, fmt.Errorf("the place of %s: %w", name, err)
		}
	}
	c.nodes = append(c.nodes, n)
	return i, nil
}

// Add joins one more node, and returns its number once it serves.
func (c *Cluster) Add(ctx context.Context) (int, error) {
	if c.Nodes() >= MaxNodes {
		return 0, fmt.Errorf("a local cluster has 1 to %d nodes", MaxNodes)
	}
	i, err := c.more()
	if err != nil {
		return 0, err
	}
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
	if c.cfg.HTTP != nil {
		cl.HTTP = c.cfg.HTTP
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
	proc, err := c.spawner.start(c.cfg.Binary, append(args, "--ready-file", base+".ready"), nil, base+".log")
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
	for _, n := range c.all() {
		if n.spawner != c.spawner {
			n.spawner.close()
		}
	}
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
