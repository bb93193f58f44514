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

// lossy is a hunt of two clues whose partitions lose their majorities.
type lossy struct {
	*cluster
	hunt   fsm.HuntID
	teams  []fsm.TeamID
	tokens map[fsm.TeamID]string
}

// TestAcceptLoss takes two of five nodes away with their disks: partitions that
// had two replicas there answer unavailable until an operator accepts the loss,
// and go on then with what the third one has; the others never notice. It prints
// how long it took.
func TestAcceptLoss(t *testing.T) {
	if !longForm {
		t.Skip("takes a minute: CAIRN_LONG=1 (make sim) runs it; package cluster has a short form in virtual time")
	}
	doc := quiz("loss", 2)
	c := lossy{cluster: start(t, 5, "--reassign-after", "5s"), hunt: doc.id()}
	c.teams, c.tokens = c.open(doc, 256)
	c.all("c1", "before")
	eventually(t, settleWithin, "every follower has it", c.even)
	c.lose(3)
	c.lose(4)
	began := time.Now()
	eventually(t, settleWithin, "partitions without a majority are found", func() error {
		if out := c.cli("partitions", "recover"); out.code != 0 || !strings.Contains(out.stderr, "Nothing was done") {
			return fmt.Errorf("exit %d %s%s", out.code, out.stdout, out.stderr)
		}
		return nil
	})
	t.Logf("after %v it could be recovered:\n%s", time.Since(began).Round(time.Second), c.cli("partitions", "recover").stdout)
	c.refuses(3)
	recovering := time.Now()
	c.mustCLI("partitions", "recover", "--accept-loss")
	t.Logf("recovered in %v", time.Since(recovering).Round(10*time.Millisecond))
	c.all("c2", "during")
	c.all("c1", "before")
	stats, err := c.admin().Stats(t.Context(), c.hunt, client.Strong)
	if err != nil || stats.Submissions["correct"] != 2*len(c.teams) {
		t.Errorf("%d answers count, %d were given: %v", stats.Submissions["correct"], 2*len(c.teams), err)
	}
	eventually(t, settleWithin, "three replicas each again", func() error {
		if out := c.cli("status"); strings.Contains(out.stdout, "quorum_lost") || strings.Contains(out.stdout, "repairing") {
			return fmt.Errorf("%s", out.stdout)
		}
		return nil
	})
	t.Logf("three replicas each after %v", time.Since(recovering).Round(100*time.Millisecond))
}

// TestControllerLoss kills three of five nodes, and takes the disks of two: the
// controller's majority is gone. An operator has it go on from one of the two that
// are left. The other, which never stopped, and the third one, which comes back,
// give their own copies up.
func TestControllerLoss(t *testing.T) {
	if !longForm {
		t.Skip("takes half a minute: CAIRN_LONG=1 (make sim) runs it; package cluster has a short form in virtual time")
	}
	doc := quiz("alone", 2)
	c := lossy{cluster: start(t, 5), hunt: doc.id()}
	c.teams, c.tokens = c.open(doc, 64)
	c.all("c1", "before")
	eventually(t, settleWithin, "every follower has it", c.even)
	data := c.Data(0)
	if out := c.cli("operator", "raft", "recover", "--data", data); out.code == 0 || !strings.Contains(out.stderr, "use") {
		t.Errorf("read while the node runs: exit %d %s", out.code, out.stderr)
	}
	c.Kill(0)
	if out := c.cli("operator", "raft", "recover", "--data", data, "--accept-loss"); out.code != 4 || !strings.Contains(out.stderr, "could go on together") {
		t.Errorf("recovered while four voters answer: exit %d %s", out.code, out.stderr)
	}
	c.lose(2)
	c.lose(3)
	c.Kill(4)
	began := time.Now()
	shown := c.cli("operator", "raft", "recover", "--data", data)
	if !strings.Contains(shown.stderr, "Nothing was done") || strings.Count(shown.stdout, "silent") != 3 {
		t.Errorf("shown: %s%s", shown.stdout, shown.stderr)
	}
	c.mustCLI("operator", "raft", "recover", "--data", data, "--accept-loss")
	c.revive(0)
	c.revive(4)
	eventually(t, settleWithin, "every partition can be recovered", func() error {
		out := c.cli("partitions", "recover")
		if out.code != 0 || !strings.Contains(out.stderr, "Nothing was done") {
			return fmt.Errorf("exit %d %s%s", out.code, out.stdout, out.stderr)
		}
		return nil
	})
	c.mustCLI("partitions", "recover", "--accept-loss")
	c.all("c1", "before")
	c.all("c2", "after")
	t.Logf("plays again after %v", time.Since(began).Round(100*time.Millisecond))
	c.mustCLI("remove", "--node", c.Name(2), "--force")
	c.mustCLI("remove", "--node", c.Name(3), "--force")
	c.spread("three nodes are left", 2, 3)
	t.Logf("whole again after %v", time.Since(began).Round(100*time.Millisecond))
	for _, i := range []int{1, 4} {
		if log, err := os.ReadFile(c.Log(i)); err != nil || !strings.Contains(string(log), "starting again with an empty one") {
			t.Errorf("%s kept its copy of the controller: %v", c.Name(i), err)
		}
	}
	stats, err := c.admin().Stats(t.Context(), c.hunt, client.Strong)
	if err != nil || stats.Submissions["correct"] != 2*len(c.teams) {
		t.Errorf("%d answers count, %d were given: %v", stats.Submissions["correct"], 2*len(c.teams), err)
	}
}

func (c *lossy) submit(team fsm.TeamID, clue fsm.ClueID, key string) error {
	cl := c.any(c.tokens[team])
	cl.Timeout = 2 * time.Second
	_, err := cl.Submit(c.t.Context(), c.hunt, team, rest.NewSubmission{Clue: clue, Answer: right}, key)
	return err
}

// all has every team solve a clue.
func (c *lossy) all(clue fsm.ClueID, key string) {
	c.t.Helper()
	for _, team := range c.teams {
		if err := c.submit(team, clue, key); err != nil {
			c.t.Errorf("%s: %v", team, err)
		}
	}
}

// even says what is not the same on all replicas.
func (c *lossy) even() error {
	parts, err := c.admin().Partitions(c.t.Context())
	if err != nil {
		return err
	}
	for _, p := range parts.Partitions {
		for _, r := range p.Replicas {
			if r.Applied != p.Replicas[0].Applied {
				return fmt.Errorf("partition %d: %+v", p.ID, p.Replicas)
			}
		}
	}
	return nil
}

// lose kills a node and takes its disk away.
func (c *lossy) lose(i int) {
	c.t.Helper()
	c.Kill(i)
	if err := os.RemoveAll(filepath.Join(c.dir, c.Name(i))); err != nil {
		c.t.Fatal(err)
	}
}

// refuses wants some teams to get no answer, and none a wrong one.
func (c *lossy) refuses(some int) {
	c.t.Helper()
	lost := 0
	for _, team := range c.teams {
		switch err := c.submit(team, "c2", "during"); fsm.KindOf(err) {
		case fsm.Unavailable, fsm.OutcomeUnknown:
			lost++
		default:
			if err != nil {
				c.t.Errorf("%s: %v", team, err)
			}
		}
		if lost == some {
			return
		}
	}
	c.t.Error("no partition had lost its majority")
}
