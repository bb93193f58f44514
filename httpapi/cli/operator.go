package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// operatorCommand is what is rarely needed.
func (a *app) operatorCommand() *cobra.Command {
	raft := &cobra.Command{Use: "raft", Short: "Look into the Raft groups"}
	raft.AddCommand(a.listPeersCommand(), a.raftRecoverCommand())
	return a.online(group("operator", "Look into groups, compare replicas and hand leaderships over", groupCluster, raft, a.transferCommand(), a.checkpointCommand()))
}

// peer is a member of a group, as list-peers shows it.
type peer struct {
	Group    string     `json:"group"`
	Node     fsm.NodeID `json:"node"`
	Name     string     `json:"name"`
	Role     string     `json:"role"` // leader, voter, non_voter
	Applied  *uint64    `json:"applied,omitempty"`
	CaughtUp *bool      `json:"caught_up,omitempty"`
}

func (a *app) listPeersCommand() *cobra.Command {
	var only string
	cmd := &cobra.Command{
		Use:   "list-peers",
		Short: "List the members of the Raft groups",
		Long: `List the members of the Raft groups, the controller first: the groups' real
configurations, as their leaders have them.`,
		Example: "  cairn operator raft list-peers\n  cairn operator raft list-peers --group controller\n  cairn operator raft list-peers --group 7",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			peers, err := listPeers(ctx, c)
			if err != nil {
				return err
			}
			shown := []peer{}
			for _, p := range peers {
				if only == "" || p.Group == only {
					shown = append(shown, p)
				}
			}
			if len(shown) == 0 {
				return fsm.Errorf(fsm.NotFound, "there is no group %q: it is controller, or a partition's number", only)
			}
			return a.emit(answer{map[string]any{"peers": shown}, func(p *page) { p.table(peerTable(shown)) }})
		}),
	}
	cmd.Flags().StringVar(&only, "group", "", "only this `GROUP`: controller, or a partition's number")
	return cmd
}

func listPeers(ctx context.Context, c *client.Client) ([]peer, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	parts, err := c.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	var peers []peer
	for _, n := range nodes.Nodes {
		if n.State != "left" {
			peers = append(peers, peer{Group: "controller", Node: n.ID, Name: n.Name, Role: n.Controller})
		}
	}
	name := names(nodes.Nodes)
	for _, p := range parts.Partitions {
		for _, r := range p.Replicas {
			role := r.Role
			if r.Node == p.Leader {
				role = "leader"
			}
			peers = append(peers, peer{
				Group: strconv.Itoa(int(p.ID)), Node: r.Node, Name: nameOf(name, r.Node), Role: role, Applied: &r.Applied, CaughtUp: &r.CaughtUp,
			})
		}
	}
	return peers, nil
}

func peerTable(peers []peer) *table {
	t := newTable("GROUP", "NODE", "ROLE", ">APPLIED", "CAUGHT UP", "ID")
	for _, p := range peers {
		applied, caught := "-", "-"
		if p.Applied != nil {
			applied, caught = strconv.FormatUint(*p.Applied, 10), strconv.FormatBool(*p.CaughtUp)
		}
		t.add(p.Group, p.Name, p.Role, applied, caught, string(p.Node))
	}
	return t
}

func (a *app) transferCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "transfer PARTITION NODE",
		Short: "Hand a partition to another of its voters",
		Long: `Hand a partition to another of its voters: the node becomes the preferred leader
and takes over as soon as it has caught up. Balance may hand it on later.`,
		Example: "  cairn operator transfer 7 n2",
		Args:    cobra.ExactArgs(2),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			id, err := strconv.ParseUint(args[0], 10, 16)
			if err != nil {
				return usagef("%q is no partition's number", args[0])
			}
			p, err := c.Transfer(ctx, fsm.PartitionID(id), args[1])
			if err != nil {
				return err
			}
			nodes, err := c.Nodes(ctx)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Stderr, "Partition %d is led by %s.\n", p.ID, nameOf(names(nodes.Nodes), p.Leader))
			return a.emit(answer{p, func(out *page) { out.table(partitionTable([]rest.Partition{*p}, names(nodes.Nodes))) }})
		}),
	}
}
