package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// recoverCommand is the last resort for partitions without a majority.
func (a *app) recoverCommand() *cobra.Command {
	var accept bool
	cmd := &cobra.Command{
		Use:   "recover [PARTITION...]",
		Short: "Go on without a majority, and accept what that loses",
		Long: `Have partitions that lost the majority of their replicas for good go on from the
best replica that is left: those named, or all that have lost it.

An answer is acknowledged once a majority has it. The replica that is left may
not have been among them, so answers that teams were told are accepted may be
missing afterwards: the newest ones, of the last moments before the failure or,
if the replica had fallen behind, more. Where a majority can be had again, by
starting a node or by bringing its disk back, do that instead: nothing is lost.

A partition of which nothing is left on any node is founded anew, empty: all its
teams and their submissions are gone for good. That is refused while a node that
is up, or that does not count as down yet, may have a replica of it.

The replicas that are given up never count again. Nodes that come back with
them delete them.

Without --accept-loss the command only shows what it would do.`,
		Example: "  cairn partitions recover\n  cairn partitions recover --accept-loss\n  cairn partitions recover 3 7 --accept-loss",
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			var ids []fsm.PartitionID
			for _, arg := range args {
				id, err := strconv.ParseUint(arg, 10, 16)
				if err != nil {
					return usagef("%q is no partition's number", arg)
				}
				ids = append(ids, fsm.PartitionID(id))
			}
			out, err := c.Recover(ctx, ids, accept)
			if err != nil {
				return err
			}
			nodes, err := c.Nodes(ctx)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.Stderr, recovered(out))
			return a.emit(answer{out, func(p *page) {
				if len(out.Recoveries) > 0 {
					p.table(recoveryTable(out.Recoveries, names(nodes.Nodes)))
				}
			}})
		}),
	}
	cmd.Flags().BoolVar(&accept, "accept-loss", false, "do it, and lose what only the replicas that are given up have")
	return cmd
}

func recovered(out *rest.Recoveries) string {
	n := len(out.Recoveries)
	switch {
	case n == 0:
		return "No partition has lost its majority: there is nothing to recover."
	case out.Done:
		return count(n, "partition") + " recovered, from one replica each; the others are made anew." + emptied(out, "is empty now: its", "are empty now: their")
	}
	return count(n, "partition") + ` without a majority. Nothing was done.
First try to start the nodes that are given up below: with them nothing is lost.
If they are gone for good, say it again with --accept-loss.` + emptied(out, "would begin empty: its", "would begin empty: their")
}

// emptied says of how many partitions nothing is left.
func emptied(out *rest.Recoveries, one, many string) string {
	n := 0
	for _, r := range out.Recoveries {
		if r.Founder != "" {
			n++
		}
	}
	switch n {
	case 0:
		return ""
	case 1:
		many = one
	}
	return fmt.Sprintf("\nNOTHING IS LEFT of %s, which %s teams and submissions are gone for good.", count(n, "partition"), many)
}

func recoveryTable(all []rest.Recovery, name map[fsm.NodeID]string) *table {
	t := newTable(">PARTITION", "GOES ON FROM", ">LAST ENTRY", "GIVEN UP")
	for _, r := range all {
		var gone []string
		for _, g := range r.GivenUp {
			gone = append(gone, nameOf(name, g))
		}
		from := nameOf(name, r.Survivor)
		if r.Founder != "" {
			from = "nothing, on " + nameOf(name, r.Founder)
		}
		t.add(strconv.Itoa(int(r.Partition)), from, strconv.FormatUint(r.Last, 10), strings.Join(gone, " "))
	}
	return t
}
