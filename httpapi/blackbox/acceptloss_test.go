package blackbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// TestAcceptLoss takes two of five nodes away with their disks: partitions that
// had two replicas there answer unavailable until an operator accepts the loss,
// and go on then with what the third one has; the others never notice. It prints
// how long it took.
func TestAcceptLoss(t *testing.T) {
	if !longForm {
		t.Skip("takes a minute: CAIRN_LONG=1 (make sim) runs it; package cluster has a short form in virtual time")
	}
	c := start(t, 5, "--reassign-after", "5s")
	doc := quiz("loss", 2)
	teams, tokens := c.open(doc, 256)
	submit := func(team fsm.TeamID, clue, key string) error {
		cl := c.any(tokens[team])
		cl.Timeout = 2 * time.Second
		_, err := cl.Submit(t.Context(), doc.id(), team, rest.NewSubmission{Clue: fsm.ClueID(clue), Answer: right}, key)
		return err
	}
	for _, team := range teams {
		if err := submit(team, "c1", "before"); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(3 * time.Second) // every follower has it
	for _, i := range []int{3, 4} {
		c.Kill(i)
		if err := os.RemoveAll(filepath.Join(c.dir, c.Name(i))); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	eventually(t, settleWithin, "partitions without a majority are found", func() error {
		if out := c.cli("partitions", "recover"); out.code != 0 || !strings.Contains(out.stderr, "Nothing was done") {
			return fmt.Errorf("exit %d %s%s", out.code, out.stdout, out.stderr)
		}
		return nil
	})
	t.Logf("after %v it could be recovered:\n%s", time.Since(began).Round(time.Second), c.cli("partitions", "recover").stdout)
	lost := 0
	for _, team := range teams {
		if err := submit(team, "c2", "during"); fsm.KindOf(err) == fsm.Unavailable || fsm.KindOf(err) == fsm.OutcomeUnknown {
			lost++
		} else if err != nil {
			t.Errorf("%s: %v", team, err)
		}
		if lost == 3 {
			break
		}
	}
	if lost == 0 {
		t.Error("no partition had lost its majority")
	}
	recovering := time.Now()
	c.mustCLI("partitions", "recover", "--accept-loss")
	t.Logf("recovered in %v", time.Since(recovering).Round(10*time.Millisecond))
	for _, team := range teams {
		if err := submit(team, "c2", "during"); err != nil {
			t.Errorf("%s: %v", team, err)
		}
		if err := submit(team, "c1", "before"); err != nil {
			t.Errorf("%s: %v", team, err)
		}
	}
	stats, err := c.admin().Stats(t.Context(), doc.id(), client.Strong)
	if err != nil || stats.Submissions["correct"] != 2*len(teams) {
		t.Errorf("%d answers count, %d were given: %v", stats.Submissions["correct"], 2*len(teams), err)
	}
	eventually(t, settleWithin, "three replicas each again", func() error {
		if out := c.cli("status"); strings.Contains(out.stdout, "quorum_lost") || strings.Contains(out.stdout, "repairing") {
			return fmt.Errorf("%s", out.stdout)
		}
		return nil
	})
	t.Logf("three replicas each after %v", time.Since(recovering).Round(100*time.Millisecond))
}
