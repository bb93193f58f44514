package dashboards_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"cairn/httpapi/dashboards"
)

// ruleFile and testFile are of these files what the tests look at.
type ruleFile struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	} `yaml:"groups"`
}

type rule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

type testFile struct {
	Order []string `yaml:"group_eval_order"`
	Tests []struct {
		Name  string `yaml:"name"`
		Exprs []struct {
			Expr string `yaml:"expr"`
			Want []struct {
				Labels string `yaml:"labels"`
			} `yaml:"exp_samples"`
		} `yaml:"promql_expr_test"`
	} `yaml:"tests"`
}

func load(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal(dashboards.Read(name), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// rules returns all rules in their order, and what there is for them to read.
func rules(t *testing.T) ([]rule, exports) {
	t.Helper()
	var f ruleFile
	load(t, dashboards.Rules, &f)
	x := nodeExports(t)
	x.add("up", "job", "instance")
	x.add("ALERTS", "job", "instance", "alertname", "alertstate", "severity")
	var all []rule
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			all = append(all, r)
			if r.Record != "" {
				x.record(r.Record, r.Expr)
			}
		}
	}
	return all, x
}

// TestRules: the rules name what nodes export, and every alert says how bad it
// is, what it means and what to do.
func TestRules(t *testing.T) {
	all, x := rules(t)
	seen := map[string]bool{}
	for _, r := range all {
		name := r.Record + r.Alert
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
		for _, p := range x.problems(r.Expr) {
			t.Errorf("%s: %s", name, p)
		}
		if r.Alert == "" {
			continue
		}
		if s := r.Labels["severity"]; !slices.Contains([]string{"critical", "warning", "info"}, s) {
			t.Errorf("%s has severity %q", name, s)
		}
		if s := r.Annotations["summary"]; len(s) < 20 || len(s) > 160 || strings.HasSuffix(s, ".") {
			t.Errorf("%s: a summary is one line that says what is wrong, without a full stop: %q", name, s)
		}
		if d := r.Annotations["description"]; len(d) < 100 || !strings.HasSuffix(d, ".") {
			t.Errorf("%s: a description says what it means and what to do first: %q", name, d)
		}
	}
}

// TestAlertsAreTested: every alert has a test of its name for promtool, in which
// it fires at one time and not at another.
func TestAlertsAreTested(t *testing.T) {
	var f testFile
	load(t, dashboards.RulesTest, &f)
	var groups ruleFile
	load(t, dashboards.Rules, &groups)
	for i, g := range groups.Groups {
		if i >= len(f.Order) || f.Order[i] != g.Name {
			t.Errorf("group %s is not evaluated in its order: %q", g.Name, f.Order)
		}
	}
	all, _ := rules(t)
	for _, r := range all {
		if r.Alert == "" {
			continue
		}
		fires, rests := false, false
		for _, test := range f.Tests {
			for _, e := range test.Exprs {
				if test.Name != r.Alert || !strings.Contains(e.Expr, `ALERTS{alertstate="firing"}`) {
					continue
				}
				fired := false
				for _, w := range e.Want {
					fired = fired || strings.Contains(w.Labels, `alertname="`+r.Alert+`",severity="`+r.Labels["severity"]+`"`)
				}
				fires, rests = fires || fired, rests || !fired
			}
		}
		if !fires || !rests {
			t.Errorf("the test %s has a case where it fires: %v; one where it does not: %v", r.Alert, fires, rests)
		}
	}
}

// dashboard is of Grafana's JSON what the tests look at.
type dashboard struct {
	UID           string `json:"uid"`
	SchemaVersion int    `json:"schemaVersion"`
	Annotations   struct {
		List []struct{ Expr string }
	}
	Templating struct {
		List []struct{ Name, Type, Query string }
	}
	Panels []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               struct{ UID string }
	Targets                  []struct {
		RefID      string
		Expr       string
		Datasource struct{ UID string }
	}
}

// TestDashboard: every panel says what it shows, asks the data source that was
// chosen for what nodes export, and has a place and an id of its own.
func TestDashboard(t *testing.T) {
	_, x := rules(t)
	var d dashboard
	if err := json.Unmarshal(dashboards.Read(dashboards.Dashboard), &d); err != nil {
		t.Fatal(err)
	}
	if d.SchemaVersion < 41 || d.UID == "" || len(d.Panels) < 30 {
		t.Errorf("schema %d, uid %q, %d panels", d.SchemaVersion, d.UID, len(d.Panels))
	}
	exprs := []string{d.Annotations.List[0].Expr}
	vars := map[string]string{}
	for _, v := range d.Templating.List {
		vars[v.Name] = v.Type
		exprs = append(exprs, v.Query)
	}
	if vars["datasource"] != "datasource" {
		t.Errorf("no variable for the data source: %v", vars)
	}
	ids := map[int]bool{}
	for i, p := range d.Panels {
		if ids[p.ID] || p.ID < 1 {
			t.Errorf("%q has the id %d of another", p.Title, p.ID)
		}
		ids[p.ID] = true
		for _, o := range d.Panels[:i] {
			if overlap(p, o) {
				t.Errorf("%q lies over %q", p.Title, o.Title)
			}
		}
		if g := p.GridPos; g.X < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("%q is outside the grid: %+v", p.Title, g)
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || !strings.HasSuffix(p.Description, ".") || len(p.Targets) == 0 {
			t.Errorf("panel %d %q says not what it shows: %q", p.ID, p.Title, p.Description)
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			exprs = append(exprs, target.Expr)
			if refs[target.RefID] || p.Datasource.UID != "${datasource}" || target.Datasource.UID != "${datasource}" {
				t.Errorf("%q: query %q comes twice or asks another data source", p.Title, target.RefID)
			}
			refs[target.RefID] = true
		}
	}
	for _, e := range exprs {
		for _, p := range x.problems(e) {
			t.Errorf("%s: %s", e, p)
		}
	}
}

func overlap(a, b panel) bool {
	g, h := a.GridPos, b.GridPos
	return g.X < h.X+h.W && h.X < g.X+g.W && g.Y < h.Y+h.H && h.Y < g.Y+g.H
}

// TestDashboardShowsAll: what the nodes export of Cairn itself can be seen.
func TestDashboardShowsAll(t *testing.T) {
	shown := string(dashboards.Read(dashboards.Dashboard)) + string(dashboards.Read(dashboards.Rules))
	for name := range nodeExports(t) {
		family := name
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			family = strings.TrimSuffix(family, suffix)
		}
		if strings.HasPrefix(name, "cairn_") && !strings.Contains(shown, family) {
			t.Errorf("neither the dashboard nor a rule uses %s", family)
		}
	}
}

// TestExport: files that differ stop it before anything is written.
func TestExport(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	if done, err := dashboards.Export(dir, false); err != nil || len(done) != 3 || !done[0].Written {
		t.Fatalf("%+v %v", done, err)
	}
	changed := filepath.Join(dir, dashboards.RulesTest)
	if err := os.WriteFile(changed, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(dir, dashboards.Dashboard)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	if _, err := dashboards.Export(dir, false); !errors.Is(err, dashboards.ErrChanged) || !strings.Contains(err.Error(), changed) {
		t.Errorf("it said %v", err)
	}
	if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it wrote something all the same: %v", err)
	}
	done, err := dashboards.Export(dir, true)
	if err != nil || !done[0].Written || done[1].Written || !done[2].Written {
		t.Fatalf("%+v %v", done, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 {
		t.Errorf("it left %v %v", left, err)
	}
	for _, f := range left {
		if text, err := os.ReadFile(filepath.Join(dir, f.Name())); err != nil || string(text) != string(dashboards.Read(f.Name())) {
			t.Errorf("%s differs from what is shipped: %v", f.Name(), err)
		}
	}
}
