package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

const (
	// goneWithin is how long leave and remove wait by default.
	goneWithin = 5 * time.Minute
	// drainedWithin is how long drain waits by default.
	drainedWithin = time.Minute
	// memberEvery is how often they look.
	memberEvery = 500 * time.Millisecond
)

func (a *app) leaveCommand() *cobra.Command {
	var node string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:     "leave",
		Short:   "Move everything away from a node and take it out of the cluster",
		GroupID: groupCluster,
		Long: `Move everything away from a node and take it out of the cluster: leaderships
first, then replicas; then the node stops being a member and its process exits
with 0. Without --node the node at --addr leaves. It is refused when it would
leave a partition without a quorum.

The move goes on by itself: Ctrl-C stops only the waiting, and "cairn undrain"
makes the node stay.`,
		Example: "  cairn leave --addr http://10.0.0.4:8080\n  cairn leave --node n4",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			if node == "" && len(a.addrs) > 1 {
				return usagef("which node is to leave? Name it with --node, or give one --addr")
			}
			name := node
			if name == "" {
				name = "self"
			}
			n, err := c.Leave(ctx, name)
			if err != nil {
				return err
			}
			return a.awaitGone(ctx, c, n, timeout)
		}),
	}
	cmd.Flags().StringVar(&node, "node", "", "`NODE` that leaves: an id, a name, or the beginning of an id")
	cmd.Flags().DurationVar(&timeout, "timeout", goneWithin, "how long to wait")
	return a.online(cmd)
}

func (a *app) removeCommand() *cobra.Command {
	var node string
	var force bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:     "remove",
		Short:   "Remove a dead node from the cluster",
		GroupID: groupCluster,
		Long: `Remove a dead node from the cluster: its replicas are made again elsewhere, at
once. It is refused for a node that is alive ("cairn leave"), and when a
partition has no quorum without it. Its data directory cannot be used again.`,
		Example: "  cairn remove --node n4 --force",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			if !force {
				return usagef("removing a node is for dead ones, and for good: say --force. A live node leaves with \"cairn leave\"")
			}
			n, err := c.Remove(ctx, node)
			if err != nil {
				return err
			}
			return a.awaitGone(ctx, c, n, timeout)
		}),
	}
	needNode(cmd, &node)
	cmd.Flags().BoolVar(&force, "force", false, "yes, it is dead and will not come back")
	cmd.Flags().DurationVar(&timeout, "timeout", goneWithin, "how long to wait")
	return a.online(cmd)
}

// needNode declares --node, which must be given.
func needNode(cmd *cobra.Command, node *string) {
	cmd.Flags().StringVar(node, "node", "", "`NODE`: an id, a name, or the beginning of an id")
	cmd.MarkFlagRequired("node") // cannot fail: the flag was just declared
}

func (a *app) drainCommand() *cobra.Command {
	var node string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:     "drain",
		Short:   "Move leaderships away from a node and keep them away",
		GroupID: groupCluster,
		Long: `Move leaderships away from a node and keep them away until "cairn undrain". The
node keeps its replicas, which go on following.`,
		Example: "  cairn drain --node n2",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			n, err := c.Drain(ctx, node)
			if err != nil {
				return err
			}
			return a.await(ctx, c, n, timeout, func(h holding) (string, bool) {
				return fmt.Sprintf("%s leads %s", n.Name, counted(h.leads, "partition")), h.leads == 0
			}, "drained")
		}),
	}
	needNode(cmd, &node)
	cmd.Flags().DurationVar(&timeout, "timeout", drainedWithin, "how long to wait")
	return a.online(cmd)
}

func (a *app) undrainCommand() *cobra.Command {
	var node string
	cmd := &cobra.Command{
		Use:     "undrain",
		Short:   "Let leaderships come back to a node, or keep one that is leaving",
		GroupID: groupCluster,
		Example: "  cairn undrain --node n2",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			n, err := c.Undrain(ctx, node)
			if err != nil {
				return err
			}
			return a.emit(answer{n, func(p *page) { p.table(nodeTable([]rest.Node{*n})) }})
		}),
	}
	needNode(cmd, &node)
	return a.online(cmd)
}

// holding is what a node has.
type holding struct {
	state           string
	replicas, leads int
}

// awaitGone waits until a node has left.
func (a *app) awaitGone(ctx context.Context, c *client.Client, n *rest.Node, timeout time.Duration) error {
	return a.await(ctx, c, n, timeout, func(h holding) (string, bool) {
		return fmt.Sprintf("%s has %s left and leads %s", n.Name, counted(h.replicas, "replica"), counted(h.leads, "partition")), h.state == "left"
	}, "left the cluster")
}

// await shows progress until done says so.
func (a *app) await(ctx context.Context, c *client.Client, n *rest.Node, timeout time.Duration, done func(holding) (string, bool), end string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	status := newLive(newScreen(a.Stderr, a.Getenv))
	last := ""
	for {
		h, node, err := look(ctx, c, n)
		switch {
		case err == nil:
			line, ok := done(h)
			if ok {
				status.finish(func(int) string { return fmt.Sprintf("Node %s %s.", n.Name, end) })
				return a.emit(answer{node, func(p *page) { p.table(nodeTable([]rest.Node{*node})) }})
			}
			last = line
			status.status(func(int) string { return line })
		case ctx.Err() == nil && fsm.KindOf(err) != fsm.Unavailable && fsm.KindOf(err) != fsm.OutcomeUnknown && !errors.Is(err, client.ErrUnreachable):
			return err
		}
		select {
		case <-ctx.Done():
			return fsm.Errorf(fsm.OutcomeUnknown, "%s; it goes on by itself: look with \"cairn nodes --watch\"", orDash(last))
		case <-time.After(memberEvery):
		}
	}
}

// look asks what a node has. It learns the other nodes' addresses on the way: the
// one that answers may be the one that goes.
func look(ctx context.Context, c *client.Client, n *rest.Node) (holding, *rest.Node, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return holding{}, nil, err
	}
	parts, err := c.Partitions(ctx)
	if err != nil {
		return holding{}, nil, err
	}
	h, found := holding{state: "left"}, n // a node that is not listed any more has left
	known := map[string]bool{}
	for _, addr := range c.Addrs {
		known[strings.TrimSuffix(addr, "/")] = true
	}
	for i := range nodes.Nodes {
		m := &nodes.Nodes[i]
		if m.ID == n.ID {
			h.state, found = m.State, m
		} else if url := "http://" + m.HTTP; m.State == "alive" && !known[url] {
			c.Addrs = append(c.Addrs, url)
		}
	}
	for _, p := range parts.Partitions {
		if p.Leader == n.ID {
			h.leads++
		}
		for _, r := range p.Replicas {
			if r.Node == n.ID {
				h.replicas++
			}
		}
	}
	return h, found, nil
}

func counted(n int, what string) string {
	switch n {
	case 0:
		return "no " + what
	case 1:
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
