package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// node is one member, running or not.
type node struct {
	name    string
	dir     string
	founder bool
	place   Place
	spawner *spawner

	mu     sync.Mutex
	binary string
	proc   *process // nil: never started
	ready  Ready
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
	if err := c.launch(n); err != nil {
		return err
	}
	ready, err := awaitReady(ctx, n.proc, n.readyFile())
	if err != nil {
		return fmt.Errorf("%s: %w; its log ends:\n%s", n.name, err, tail(c.Log(i)))
	}
	n.ready = ready
	return nil
}

// Launch starts a node that served before and does not run, and returns at once:
// while the others are in trouble, it may be long until it serves.
func (c *Cluster) Launch(i int) error {
	n := c.node(i)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ready.HTTP == "" {
		return fmt.Errorf("%s never served", n.name)
	}
	return c.launch(n)
}

// launch starts a node's process; n.mu is held.
func (c *Cluster) launch(n *node) error {
	if n.proc != nil && !n.proc.exited() {
		return fmt.Errorf("%s runs already", n.name)
	}
	if err := os.Remove(n.readyFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	proc, err := n.spawner.start(n.binary, c.args(n, n.readyFile()), n.place.Env, n.dir+".log")
	if err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	n.proc = proc
	return nil
}

func (n *node) readyFile() string { return n.dir + ".ready" }

// Use has a node run another program from its next start on.
func (c *Cluster) Use(i int, binary string) {
	n := c.node(i)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.binary = binary
}

// PID is a node's process id; 0 if it does not run.
func (c *Cluster) PID(i int) int {
	n := c.node(i)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil || n.proc.exited() {
		return 0
	}
	return n.proc.pid()
}

// args of a node's command line. A node that ran before keeps its ports: the
// others and the clients know them.
func (c *Cluster) args(n *node, readyFile string) []string {
	http, cluster := n.place.HTTP, n.place.Cluster
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
