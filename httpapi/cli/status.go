package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

func (a *app) statusCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show the cluster at a glance",
		GroupID: groupCluster,
		Long: `Show the cluster at a glance: its size, what does not work, and its nodes.
With -o json: the body of GET /v1/cluster.`,
		Example: `  cairn status
  cairn status --watch --addr http://10.0.0.1:8080,http://10.0.0.2:8080
  cairn status -o json`,
		Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			return a.show(ctx, watch, func(ctx context.Context) (answer, error) {
				cl, err := c.Cluster(ctx)
				if err != nil {
					return answer{}, err
				}
				parts, err := c.Partitions(ctx)
				if err != nil {
					return answer{}, err
				}
				return answer{cl, func(p *page) { statusText(p, cl, parts.Partitions) }}, nil
			})
		}),
	}
	watchFlag(cmd, &watch)
	return a.online(cmd)
}

func (a *app) nodesCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:     "nodes",
		Short:   "List the nodes",
		GroupID: groupCluster,
		Example: "  cairn nodes\n  cairn nodes --watch",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			return a.show(ctx, watch, func(ctx context.Context) (answer, error) {
				nodes, err := c.Nodes(ctx)
				if err != nil {
					return answer{}, err
				}
				return answer{nodes, func(p *page) { p.table(nodeTable(nodes.Nodes)) }}, nil
			})
		}),
	}
	watchFlag(cmd, &watch)
	return a.online(cmd)
}

func (a *app) partitionsCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:     "partitions",
		Short:   "List the partitions and their replicas",
		GroupID: groupCluster,
		Long: `List the partitions and their replicas. Replicas are the group's real
configuration; TARGET is shown where the partition table wishes another one.
"*" marks the leader, "~" a non-voter, "!" a replica that is not caught up.`,
		Example: "  cairn partitions\n  cairn partitions --watch",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			return a.show(ctx, watch, func(ctx context.Context) (answer, error) {
				parts, err := c.Partitions(ctx)
				if err != nil {
					return answer{}, err
				}
				nodes, err := c.Nodes(ctx)
				if err != nil {
					return answer{}, err
				}
				return answer{parts, func(p *page) { p.table(partitionTable(parts.Partitions, names(nodes.Nodes))) }}, nil
			})
		}),
	}
	watchFlag(cmd, &watch)
	cmd.AddCommand(a.recoverCommand())
	return a.online(cmd)
}

func watchFlag(cmd *cobra.Command, watch *bool) {
	cmd.Flags().BoolVarP(watch, "watch", "w", false, "look again every second until Ctrl-C")
}

func statusText(p *page, c *rest.Cluster, parts []rest.Partition) {
	alive := 0
	for _, n := range c.Nodes {
		if n.State == "alive" {
			alive++
		}
	}
	states, leaderless := map[string]int{}, 0
	for _, part := range parts {
		states[part.State]++
		if part.Leader == "" {
			leaderless++
		}
	}
	p.printf("cluster     %s, version %s, feature level %d\n", c.ID, c.Version, c.FeatureLevel)
	p.printf("nodes       %d of %d alive\n", alive, len(c.Nodes))
	p.printf("partitions  %d of %d ok", states["ok"], c.Partitions)
	for _, bad := range []string{"repairing", "quorum_lost"} {
		if n := states[bad]; n > 0 {
			p.printf(", %d %s", n, bad)
		}
	}
	if leaderless > 0 {
		p.printf(", %d without a leader", leaderless)
	}
	leader := names(c.Nodes)[c.ControllerLeader]
	if leader == "" {
		leader = "none known"
	}
	p.printf("\ncontroller  led by %s, table version %d\n", leader, c.TableVersion)
	p.printf("hunts       %d\n\n", c.Hunts)
	p.table(nodeTable(c.Nodes))
}

func nodeTable(nodes []rest.Node) *table {
	t := newTable("NAME", "STATE", "ZONE", "CONTROLLER", ">LEADING", ">REPLICAS", ">QUEUE", ">CPU", ">HEARD", "HTTP", "ADDRESS", "VERSION", "ID")
	for _, n := range nodes {
		leading, replicas, queue, cpu, heard := "-", "-", "-", "-", "-"
		if l := n.Load; l != nil {
			leading, replicas, queue = strconv.Itoa(l.Leading), strconv.Itoa(l.Replicas), strconv.Itoa(l.QueueDepth)
			cpu = fmt.Sprintf("%.0f %%", l.CPU*100)
			heard = (time.Duration(l.AgeMS) * time.Millisecond).Round(100*time.Millisecond).String() + " ago"
		}
		t.add(n.Name, n.State, orDash(n.Zone), n.Controller, leading, replicas, queue, cpu, heard, n.HTTP, n.Address, n.Version, string(n.ID))
	}
	return t
}

func partitionTable(parts []rest.Partition, name map[fsm.NodeID]string) *table {
	t := newTable(">ID", "SLOTS", ">EPOCH", "STATE", "LEADER", "REPLICAS", ">APPLIED", "TARGET")
	for _, p := range parts {
		real, replicas, applied := map[fsm.NodeID]bool{}, []string(nil), uint64(0)
		for _, r := range p.Replicas {
			real[r.Node] = true
			mark := ""
			if r.Node == p.Leader {
				mark += "*"
			}
			if r.Role == "non_voter" {
				mark += "~"
			}
			if !r.CaughtUp {
				mark += "!"
			}
			replicas = append(replicas, nameOf(name, r.Node)+mark)
			applied = max(applied, r.Applied)
		}
		target, differs := []string(nil), len(p.Target) != len(p.Replicas)
		for _, n := range p.Target {
			target = append(target, nameOf(name, n))
			differs = differs || !real[n]
		}
		wish := ""
		if differs {
			wish = strings.Join(target, " ")
		}
		t.add(strconv.Itoa(int(p.ID)), fmt.Sprintf("%d-%d", p.Slots[0], p.Slots[1]), strconv.FormatUint(p.Epoch, 10), p.State,
			orDash(nameOf(name, p.Leader)), strings.Join(replicas, " "), strconv.FormatUint(applied, 10), wish)
	}
	return t
}

// names maps node ids to names.
func names(nodes []rest.Node) map[fsm.NodeID]string {
	m := make(map[fsm.NodeID]string, len(nodes))
	for _, n := range nodes {
		m[n.ID] = n.Name
	}
	return m
}

func nameOf(names map[fsm.NodeID]string, id fsm.NodeID) string {
	if n := names[id]; n != "" {
		return n
	}
	return string(id)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
