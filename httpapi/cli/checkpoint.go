package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// compareWithin is how long a checkpoint may take: states may be large, and a
// node hashes one after the other.
const compareWithin = 30 * time.Second

// checkpointCommand compares the replicas' states.
func (a *app) checkpointCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "checkpoint [PARTITION...]",
		Short: "Compare the states of the partitions' replicas",
		Long: `Compare the states of the replicas of all partitions, or of those named. Each
partition's leader writes an entry into its log, every replica hashes the state
that it has behind that entry, and the hashes are compared. Players are not
disturbed. A replica that does not answer in time is missing, which says nothing
of its state.

Exit code 0: the replicas that answered agree. 1: some have different states;
the message names them and says what to do. 5: of some partition there is
nothing to compare.`,
		Example: "  cairn operator checkpoint\n  cairn operator checkpoint 3 7 -o json",
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			var ids []fsm.PartitionID
			for _, arg := range args {
				id, err := strconv.ParseUint(arg, 10, 16)
				if err != nil {
					return usagef("%q is no partition's number", arg)
				}
				ids = append(ids, fsm.PartitionID(id))
			}
			c.Timeout = timeout
			out, err := c.Checkpoint(ctx, ids)
			if err != nil {
				return err
			}
			nodes, err := c.Nodes(ctx)
			if err != nil {
				return err
			}
			name := names(nodes.Nodes)
			if err := a.emit(answer{out, func(p *page) { p.table(checkpointTable(out.Partitions, name)) }}); err != nil {
				return err
			}
			if err := checkpointVerdict(out.Partitions, name); err != nil {
				return err
			}
			fmt.Fprintln(a.Stderr, checkpointSummary(out.Partitions))
			return nil
		}),
	}
	cmd.Flags().DurationVar(&timeout, "timeout", compareWithin, "how long to wait for replicas, at most 60s")
	return cmd
}

// shownHash is how much of a hash the table shows: enough to see what is equal.
const shownHash = 12

func checkpointTable(all []rest.Checkpoint, name map[fsm.NodeID]string) *table {
	t := newTable(">PARTITION", ">ENTRY", "NODE", "HASH", "STATE")
	for _, p := range all {
		id := strconv.Itoa(int(p.ID))
		if len(p.Replicas) == 0 {
			t.add(id, "-", "-", "-", "not compared: "+p.Detail)
		}
		for _, r := range p.Replicas {
			state := "agrees"
			switch {
			case r.Hash == "":
				state = "missing: " + r.Missing
			case r.Differs:
				state = "DIFFERS"
			}
			t.add(id, strconv.FormatUint(p.Index, 10), nameOf(name, r.Node), orDash(r.Hash[:min(shownHash, len(r.Hash))]), state)
		}
	}
	return t
}

// checkpointSummary is of partitions whose replicas agree.
func checkpointSummary(all []rest.Checkpoint) string {
	missing := 0
	for _, p := range all {
		for _, r := range p.Replicas {
			if r.Hash == "" {
				missing++
			}
		}
	}
	if missing == 0 {
		return count(len(all), "partition") + " compared: all replicas agree."
	}
	return fmt.Sprintf("%s compared: the replicas that answered agree. %s did not: start their nodes and compare again.",
		count(len(all), "partition"), count(missing, "replica"))
}

// checkpointVerdict is an error if replicas differ, or if there is a partition of
// which nothing could be compared.
func checkpointVerdict(all []rest.Checkpoint, name map[fsm.NodeID]string) error {
	var differ, not []string
	var one, unclear bool
	for _, p := range all {
		if p.Agree {
			continue
		}
		nodes, agree := apart(p, name)
		switch {
		case len(nodes) == 0:
			not = append(not, fmt.Sprintf("partition %d was not compared: %s", p.ID, cmpDetail(p)))
		case agree:
			one = true
			differ = append(differ, fmt.Sprintf("partition %d: the state on %s differs from the other replicas'", p.ID, strings.Join(nodes, ", ")))
		default:
			unclear = true
			differ = append(differ, fmt.Sprintf("partition %d: the states on %s differ from each other", p.ID, strings.Join(nodes, ", ")))
		}
	}
	if len(differ) > 0 {
		if one {
			differ = append(differ, differsAdvice)
		}
		if unclear {
			differ = append(differ, unclearAdvice)
		}
		return errors.New(strings.Join(append(differ, not...), "\n"))
	}
	if len(not) > 0 {
		return fsm.Errorf(fsm.Unavailable, "%s", strings.Join(not, "\n"))
	}
	return nil
}

// apart names who differs, and says whether most others agree.
func apart(p rest.Checkpoint, name map[fsm.NodeID]string) (nodes []string, agree bool) {
	for _, r := range p.Replicas {
		if r.Differs {
			nodes = append(nodes, nameOf(name, r.Node))
		}
		agree = agree || r.Hash != "" && !r.Differs
	}
	slices.Sort(nodes)
	return nodes, agree
}

func cmpDetail(p rest.Checkpoint) string {
	if p.Detail != "" {
		return p.Detail
	}
	return "no replica had a hash in time; try again, with a longer --timeout if states are large"
}

// What to do about replicas that differ.
const (
	differsAdvice = `A node that differs must not lead, or what it has is copied to the others:
  1. If it leads the partition ("cairn partitions"), hand it over to one that agrees: cairn operator transfer PARTITION NODE
  2. Keep its log and a copy of its data directory for a report of the fault.
  3. Restart it and compare again: it makes its state anew from its newest snapshot and its log.
  4. If it differs still: cairn leave --node NODE, then join it again with an empty directory.`
	unclearAdvice = `No majority has the same state, so nobody can tell which one is right. Let nothing be repaired or moved until that
is known: pause the hunts, keep copies of the data directories of all nodes named, and report the fault.`
)
