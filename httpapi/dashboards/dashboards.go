// Package dashboards holds what operators load into Grafana and Prometheus: a
// dashboard, rules that record and alert, and the rules' own tests. They travel
// inside the program, so that they name the metrics of that version and no
// other: the tests of this package hold every metric and label value that they
// name against what a node exports.
package dashboards

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Names of the files.
const (
	Dashboard = "cairn-dashboard.json"
	Rules     = "cairn-rules.yml"
	RulesTest = "cairn-rules-test.yml"
)

//go:embed cairn-dashboard.json cairn-rules.yml cairn-rules-test.yml
var files embed.FS

// uses are the files in the order in which they are told.
var uses = []struct{ name, use string }{
	{Dashboard, "import it into Grafana"},
	{Rules, "name it under rule_files of Prometheus"},
	{RulesTest, "promtool test rules " + RulesTest},
}

// Read returns a file's text. It panics for any other name.
func Read(name string) []byte {
	text, err := files.ReadFile(name)
	if err != nil {
		panic(err) // the names are the constants above
	}
	return text
}

// Exported is what became of one file.
type Exported struct {
	Name    string `json:"name"`
	Path    string `json:"path"`
	Use     string `json:"use"`     // what to do with it
	Written bool   `json:"written"` // false: it was there already, just so
}

// ErrChanged: there are files that Export would have to overwrite.
var ErrChanged = errors.New("a file is there and differs")

// Export writes the files into dir, which it makes. A file that is there and
// differs, because somebody changed it or another version wrote it, is
// overwritten only with force; without, nothing at all is written and the error
// wraps ErrChanged and names all such files.
func Export(dir string, force bool) ([]Exported, error) {
	var plan []Exported
	var changed []string
	for _, f := range uses {
		e := Exported{Name: f.name, Path: filepath.Join(dir, f.name), Use: f.use}
		there, err := os.ReadFile(e.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			e.Written = true
		case err != nil:
			return nil, err
		case !bytes.Equal(there, Read(f.name)):
			e.Written = true
			changed = append(changed, e.Path)
		}
		plan = append(plan, e)
	}
	if len(changed) > 0 && !force {
		return nil, fmt.Errorf("%w: %s", ErrChanged, strings.Join(changed, ", "))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for _, e := range plan {
		if !e.Written {
			continue
		}
		if err := write(e.Path, Read(e.Name)); err != nil {
			return nil, err
		}
	}
	return plan, nil
}

// write replaces a file whole: Prometheus and Grafana may look at any moment.
func write(path string, text []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, text, 0o644); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}
