//go:build linux

package blackbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

// TestPromtool: Prometheus' own tool finds nothing to say about a node's
// metrics, nor about the rules and their tests that the program exports.
func TestPromtool(t *testing.T) {
	promtool := need(t, "promtool")
	besideAnother(t)
	c := start(t, 1)
	_, header, metrics := c.get(0, "/metrics")
	if ct := header.Get("Content-Type"); !strings.HasPrefix(ct, "text/plain") {
		t.Errorf("the metrics come as %q", ct)
	}
	dir := c.exportDashboards()
	for _, args := range [][]string{
		{"check", "metrics"}, {"check", "rules", "cairn-rules.yml"}, {"test", "rules", "cairn-rules-test.yml"},
	} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir, cmd.Stdin = dir, bytes.NewReader(metrics)
		out, err := cmd.CombinedOutput()
		if err != nil || args[1] == "metrics" && len(out) > 0 {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// exportDashboards writes what the program ships into a new directory.
func (c *cluster) exportDashboards() string {
	c.t.Helper()
	dir := filepath.Join(c.t.TempDir(), "monitoring")
	c.mustCLI("dashboards", "export", "--dir", dir)
	return dir
}

// TestPrometheus has a real Prometheus scrape a cluster of three with the rules
// that are shipped: it must see all nodes, count what was submitted, answer every
// question of the dashboard, and have nothing to alert about, until a node is
// killed.
func TestPrometheus(t *testing.T) {
	need(t, "prometheus")
	besideAnother(t)
	c := start(t, 3)
	dir := c.exportDashboards()
	p := scrape(c, dir)
	eventually(t, scrapedWithin, "all nodes are scraped", func() error { return p.is(`sum(up{job="cairn"})`, "3") })
	eventually(t, scrapedWithin, "every verdict is known at 0", func() error { return p.is(`sum(cairn_submissions_total)`, "0") })

	sent := c.playForPrometheus()
	for verdict, n := range sent {
		expr := fmt.Sprintf("sum(cairn_submissions_total{verdict=%q})", verdict)
		eventually(t, scrapedWithin, "what was submitted is counted", func() error { return p.is(expr, fmt.Sprint(n)) })
	}
	eventually(t, scrapedWithin, "it is counted at all", func() error { return p.is(`sum(cairn_submissions_total)`, fmt.Sprint(sum(sent))) })
	eventually(t, scrapedWithin, "the rules record", func() error { return p.records(dir) })
	eventually(t, scrapedWithin, "every partition is led", func() error { return p.is("max(cairn_partitions) - sum(cairn:partitions_led:sum)", "0") })
	p.answers(dir)
	eventually(t, scrapedWithin, "nothing alerts", func() error { return p.quiet() })

	victim := c.controller(false)
	c.Kill(victim)
	down := []string{"CairnNodeDown", "CairnMemberDown"}
	eventually(t, scrapedWithin, "the node that was killed alerts", func() error {
		states, err := p.alerts()
		for _, name := range down {
			if states[name] == "" && err == nil { // pending at first: the rules are as shipped
				err = fmt.Errorf("alerts: %v", states)
			}
		}
		return err
	})
	gone := strings.TrimPrefix(c.URLs()[victim], "http://")
	if err := p.is(fmt.Sprintf(`count(ALERTS{alertname="CairnNodeDown",instance=%q,severity="warning"})`, gone), "1"); err != nil {
		t.Error(err)
	}
	eventually(t, electWithin, "nothing else alerts, for the others lead", func() error { return p.quiet(down...) })
	c.revive(victim)
	c.settle()
	eventually(t, scrapedWithin, "nothing alerts any more", func() error { return p.quiet() })
}

// playForPrometheus submits through all nodes, and returns how many submissions
// got which verdict.
func (c *cluster) playForPrometheus() map[string]int {
	c.t.Helper()
	doc := quiz("watched", 3)
	teams, tokens := c.open(doc, 12)
	verdicts := map[string]int{}
	for n, team := range teams {
		for k, answer := range []string{"wrong", "wrong", right, right} {
			cl := c.at((n+k)%c.Nodes(), tokens[team])
			in := rest.NewSubmission{Clue: fsm.ClueID(fmt.Sprintf("c%d", 1+n%3)), Answer: answer}
			eventually(c.t, electWithin, "a verdict", func() error {
				s, err := cl.Submit(c.t.Context(), doc.id(), team, in, fmt.Sprintf("k%d", k))
				if err == nil {
					verdicts[s.Verdict]++
				}
				return err
			})
		}
	}
	if len(verdicts) != 4 {
		c.t.Fatalf("verdicts: %v", verdicts)
	}
	return verdicts
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

var recordLine = regexp.MustCompile(`(?m)^ *- record: (\S+)$`)

// records says which recording rule of the exported ones has no value.
func (p *prom) records(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "cairn-rules.yml"))
	if err != nil {
		return err
	}
	names := recordLine.FindAllSubmatch(text, -1)
	if len(names) < 5 {
		return fmt.Errorf("only %d recording rules", len(names))
	}
	for _, m := range names {
		if got, err := p.query(string(m[1])); err != nil || len(got) == 0 {
			return fmt.Errorf("%s has no value: %w", m[1], err)
		}
	}
	return nil
}

// silent are panels that may have nothing to show in a healthy cluster.
var silent = []string{"Changes of leaders", "HTTP errors", "Time of a snapshot"}

// answers asks Prometheus all that the exported dashboard asks, with what
// Grafana puts in: each must be an expression and have an answer.
func (p *prom) answers(dir string) {
	p.t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "cairn-dashboard.json"))
	if err != nil {
		p.t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		p.t.Fatal(err)
	}
	fill := strings.NewReplacer("$job", "cairn", "$instance", ".+", "$__rate_interval", "1m")
	asked := 0
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			expr := fill.Replace(target.Expr)
			eventually(p.t, scrapedWithin, "an answer to "+panel.Title, func() error {
				got, err := p.query(expr)
				if err == nil && len(got) == 0 && !slices.Contains(silent, panel.Title) {
					err = fmt.Errorf("%s has none", expr)
				}
				return err
			})
			asked++
		}
	}
	if asked < 40 {
		p.t.Errorf("the dashboard asks only %d questions", asked)
	}
}
