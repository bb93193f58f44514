// Package mutant builds programs that differ from their source in a few places.
//
// A test that wants the program to have a fault, or a clock that can be moved,
// must not ask the source for a hook: it says what to read instead of what, and Go
// builds that through an overlay (go help build, -overlay). Nothing in the tree
// changes.
package mutant

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Goroot begins the File of a mutation of the standard library.
const Goroot = "GOROOT/"

// Mutation replaces Old, which must occur exactly once in File, by New. With an
// empty Old it makes File, which must not exist. File is relative to the root of
// the module, or to Go's after Goroot.
type Mutation struct{ Name, File, Old, New string }

// Build builds the package cairn of the module at root, with all mutations, as the
// program to. Mutations of one file apply one after the other. What other overlays
// replace, files that "go build -overlay" reads, is replaced too; it must be other
// files.
func Build(ctx context.Context, root, to string, list []Mutation, overlays ...string) error {
	dir, err := os.MkdirTemp(filepath.Dir(to), "overlay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	args := []string{"build", "-buildvcs=false", "-trimpath", "-o", to}
	if len(list)+len(overlays) > 0 {
		overlay, err := write(ctx, root, dir, list, overlays)
		if err != nil {
			return err
		}
		args = append(args, "-overlay", overlay)
	}
	if _, err := run(ctx, root, append(args, ".")...); err != nil {
		return fmt.Errorf("build the program: %w", err)
	}
	return nil
}

// run runs a command of Go in the module and returns what it printed.
func run(ctx context.Context, root string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go %s: %w\n%s", args[0], err, out)
	}
	return strings.TrimSpace(string(out)), err
}

// write writes the changed files and the overlay that names them, and returns its
// path.
func write(ctx context.Context, root, dir string, list []Mutation, overlays []string) (string, error) {
	goroot, err := run(ctx, root, "env", "GOROOT")
	if err != nil {
		return "", err
	}
	texts := map[string]string{} // by path
	for _, m := range list {
		path := filepath.Join(root, m.File)
		if rest, ok := strings.CutPrefix(m.File, Goroot); ok {
			path = filepath.Join(goroot, rest)
		}
		if texts[path], err = m.apply(path, texts); err != nil {
			return "", fmt.Errorf("mutation %s: %w", m.Name, err)
		}
	}
	replace := map[string]string{}
	for path, text := range texts {
		replace[path] = filepath.Join(dir, strconv.Itoa(len(replace))+".go")
		if err := os.WriteFile(replace[path], []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	for _, other := range overlays {
		if err := merge(replace, other); err != nil {
			return "", err
		}
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, raw, 0o600)
}

// merge adds what another overlay replaces.
func merge(replace map[string]string, overlay string) error {
	raw, err := os.ReadFile(overlay)
	if err != nil {
		return err
	}
	var other struct{ Replace map[string]string }
	if err := json.Unmarshal(raw, &other); err != nil {
		return fmt.Errorf("overlay %s: %w", overlay, err)
	}
	for path, by := range other.Replace {
		if _, twice := replace[path]; twice {
			return fmt.Errorf("overlay %s: %s is replaced already", overlay, path)
		}
		replace[path] = by
	}
	return nil
}

// apply returns the text of the file at path, changed. Texts are those of files that
// other mutations have changed.
func (m Mutation) apply(path string, texts map[string]string) (string, error) {
	text, changed := texts[path]
	if !changed {
		raw, err := os.ReadFile(path)
		switch {
		case err == nil && m.Old == "":
			return "", fmt.Errorf("%s exists", m.File)
		case os.IsNotExist(err) && m.Old == "":
			return m.New, nil
		case err != nil:
			return "", err
		}
		text = string(raw)
	}
	if n := strings.Count(text, m.Old); n != 1 || m.Old == "" {
		return "", fmt.Errorf("%s has %d places with %q, want one: the source has changed, change the mutation too", m.File, n, m.Old)
	}
	return strings.Replace(text, m.Old, m.New, 1), nil
}
