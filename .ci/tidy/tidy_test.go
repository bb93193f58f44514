// Package tidy holds the rules that the whole tree keeps and that no compiler
// checks. "make test" and "make lint" run it.
package tidy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	root    = "../.."
	maxFile = 500 // lines
	maxFunc = 70  // lines
	module  = "cairn/"
)

// topLevel is everything that may stand at the top of the tree, beside files
// whose names begin with a dot and what the Makefile builds.
var topLevel = []string{
	"go.mod", "go.sum", "main.go", "fsm", "cluster", "httpapi", "store", "testdata", "Makefile", "README.md", "LICENSE",
	"cairn", "bin", "data",
}

// dumpingGrounds are package names that say nothing about what belongs inside.
var dumpingGrounds = []string{"util", "utils", "common", "helpers", "misc", "shared", "types"}

// layers are the imports that a folder's packages may have of other folders of
// the tree. Imports point one way: main -> httpapi -> cluster -> store, and
// everyone -> fsm.
var layers = map[string][]string{
	"fsm":     {},
	"store":   {},
	"cluster": {"store", "fsm", "httpapi/rest"},
	"httpapi": {"cluster", "store", "fsm"},
}

// source is one Go file of the tree.
type source struct {
	path string // from the root
	fset *token.FileSet
	file *ast.File
}

func (s *source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s *source) line(p token.Pos) int { return s.fset.Position(p).Line }

func sources(t *testing.T) []*source {
	t.Helper()
	var out []*source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if d.IsDir() && (rel == ".git" || rel == "data" || rel == "bin" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		out = append(out, &source{filepath.ToSlash(rel), fset, f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("found only %d Go files: is %s the root?", len(out), root)
	}
	return out
}

// bubbles are the folders whose tests run in synctest bubbles, where sleeping
// is free and exact.
func bubbles(all []*source) map[string]bool {
	found := map[string]bool{}
	for _, s := range all {
		if slices.ContainsFunc(s.file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` }) {
			found[path.Dir(s.path)] = true
		}
	}
	return found
}

// TestTidy keeps files and functions small enough to read, names telling, and
// tests free of waiting by the clock; a pause in a loop that polls is none.
func TestTidy(t *testing.T) {
	all := sources(t)
	bubbles := bubbles(all)
	for _, s := range all {
		if n := s.line(s.file.FileEnd); n > maxFile {
			t.Errorf("%s has %d lines; at most %d", s.path, n, maxFile)
		}
		if name := s.file.Name.Name; slices.Contains(dumpingGrounds, strings.TrimSuffix(name, "_test")) {
			t.Errorf("%s: package %s says nothing about what belongs inside", s.path, name)
		}
		for _, c := range s.file.Comments {
			if words := strings.Fields(c.Text()); len(words) > 0 && slices.Contains([]string{"TODO", "FIXME", "XXX"}, strings.TrimRight(words[0], ":")) {
				t.Errorf("%s:%d: do it or file it", s.path, s.line(c.Pos()))
			}
		}
		checkCode(t, s, s.test() && !bubbles[path.Dir(s.path)])
	}
}

// checkCode checks functions and calls; in awake code, a pause outside of any
// loop is waiting by the clock.
func checkCode(t *testing.T, s *source, awake bool) {
	var loopEnd token.Pos // of the outermost loop around the node
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ForStmt:
			loopEnd = max(loopEnd, n.End())
		case *ast.FuncDecl:
			if lines := s.line(n.End()) - s.line(n.Pos()) + 1; lines > maxFunc {
				t.Errorf("%s:%d: %s has %d lines; at most %d", s.path, s.line(n.Pos()), n.Name.Name, lines, maxFunc)
			}
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if ok && x.Name == "time" && n.Sel.Name == "Sleep" && awake && n.Pos() > loopEnd {
				t.Errorf("%s:%d: time.Sleep in a test; poll a condition with a deadline, or use a synctest bubble", s.path, s.line(n.Pos()))
			}
			if ok && x.Name == "os" && n.Sel.Name == "Exit" && !s.test() && s.file.Name.Name != "main" {
				t.Errorf("%s:%d: os.Exit outside of main", s.path, s.line(n.Pos()))
			}
		}
		return true
	})
}

// TestImports keeps imports pointing one way.
func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		folder, _, _ := strings.Cut(s.path, "/")
		allowed, layered := layers[folder]
		if !layered || s.test() {
			continue
		}
		for _, imp := range s.file.Imports {
			target, ours := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), module)
			if !ours || within(target, folder) {
				continue
			}
			if !slices.ContainsFunc(allowed, func(a string) bool { return within(target, a) }) {
				t.Errorf("%s imports %s; %s may import only %v", s.path, target, folder, allowed)
			}
		}
	}
}

// within reports whether target is folder or inside it.
func within(target, folder string) bool {
	return target == folder || strings.HasPrefix(target, folder+"/")
}

// TestTopLevel keeps the top of the tree as it was laid out.
func TestTopLevel(t *testing.T) {
	entries, err := filepath.Glob(filepath.Join(root, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := filepath.Base(e); !strings.HasPrefix(name, ".") && !slices.Contains(topLevel, name) {
			t.Errorf("%s does not belong at the top", name)
		}
	}
}
