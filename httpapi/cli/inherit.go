package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// ControllerCopy is what a stopped node has of the controller.
type ControllerCopy struct {
	Cluster    string            `json:"cluster"`
	Node       string            `json:"node"`
	Index      uint64            `json:"index"` // of its last entry
	Term       uint64            `json:"term"`  // likewise
	Members    int               `json:"members"`
	Partitions int               `json:"partitions"`
	Hunts      int               `json:"hunts"`
	Voters     []ControllerVoter `json:"voters"`
	Begun      bool              `json:"begun"` // a recovery from it began and did not end
	Aside      bool              `json:"aside"` // it is of before a recovery whose result this node never got
	Done       bool              `json:"done"`  // the copy is the controller now
}

// ControllerVoter is a voter of the controller, as a copy has it.
type ControllerVoter struct {
	Node    string `json:"node"`
	Name    string `json:"name"`
	Address string `json:"address"`
	State   string `json:"state"` // this one, answers, silent
}

// raftRecoverCommand is the last resort for a controller without a majority.
func (a *app) raftRecoverCommand() *cobra.Command {
	var data string
	var accept bool
	cmd := &cobra.Command{
		Use:   "recover --data DIR",
		Short: "Let the controller go on from this stopped node's copy alone",
		Long: `Have the controller, when the majority of its voters is gone for good, go on from
the copy of one node, which must be stopped. The controller has the members, the
table of partitions, the hunts and the tokens; answers are in the partitions.

What other voters acknowledged and this copy lacks is lost: of the changes of
hunts, tokens and members the last ones. Every node has a copy, voter or not: run
this without --accept-loss where you can, and take the one with the highest term,
and of those the one with the highest last entry. Then, on that one node only:

  cairn operator raft recover --data DIR --accept-loss
  start the node, and after it those others that are left
  cairn partitions recover                  (once it shows the lost nodes as down)
  cairn remove --node N --force             (for each lost node)

The other nodes notice, and take the copy of this one in place of theirs. It is
refused while enough of the voters answer for a majority. Until they have it, they
keep theirs aside: should this node be lost before, say it on one of them.`,
		Example: "  cairn operator raft recover --data /var/lib/cairn\n  cairn operator raft recover --data /var/lib/cairn --accept-loss",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if data == "" {
				return usagef("--data DIR is missing: the stopped node's directory")
			}
			if _, err := os.Stat(data); err != nil {
				return &usageError{fmt.Errorf("--data: %w", err)}
			}
			c, err := a.Inherit(cmd.Context(), data, accept)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.Stderr, inherited(c))
			return a.emit(answer{c, func(p *page) { p.table(voterTable(c.Voters)) }})
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the stopped node's `DIR`")
	cmd.Flags().BoolVar(&accept, "accept-loss", false, "do it, and lose what only other copies have")
	return cmd
}

func inherited(c *ControllerCopy) string {
	have := fmt.Sprintf("%s, %s and %s, up to entry %d of term %d",
		count(c.Members, "member"), count(c.Partitions, "partition"), count(c.Hunts, "hunt"), c.Index, c.Term)
	if c.Done {
		return "The controller goes on from this copy: " + have + ".\nStart this node, and then the others that are left."
	}
	if c.Begun {
		return "This node's copy of the controller: " + have + `.
A recovery from it was begun and did not end, and the node does not start before it has: say it again with
--accept-loss.`
	}
	if c.Aside && len(c.Voters) > 0 {
		return "A copy of the controller that this node put aside: " + have + `.
The controller goes on from another node's copy, which this node has not got yet. Nothing was done. Start this node,
and it is filled. Only if ` + c.Voters[0].Name + ` is gone for good, and no other node shows a copy that is not one put aside,
say it again with --accept-loss.`
	}
	return "This node's copy of the controller: " + have + `.
Nothing was done. First try to start the voters below that are silent: with a majority of them nothing is
lost. If they are gone for good, say it again with --accept-loss, on the node with the highest term and entry.`
}

func voterTable(all []ControllerVoter) *table {
	t := newTable("VOTER", "ADDRESS", "STATE")
	for _, v := range all {
		t.add(v.Name, v.Address, v.State)
	}
	return t
}
