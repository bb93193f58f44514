package fsm

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The tidy test keeps what a linter does not know of this repository: its
// layout, the sizes of files and functions, the direction of imports, and that
// the state machines are pure. It reads every Go file of the module.

const (
	maxFileLines = 500
	maxFuncLines = 70
	module       = "cairn"
)

// topLevel is all there may be at the top, besides dotfiles and what
// .gitignore names.
var topLevel = []string{
	"go.mod", "go.sum", "main.go", "fsm", "cluster", "httpapi", "store", "testdata", "Makefile", "README.md", "LICENSE",
}

// layers are the top folders from the top down; "" is the main package. A layer
// imports itself and those below it. Besides, everyone but store may import
// fsm, and everyone testdata, which embeds files and imports nothing.
var layers = []string{"", "httpapi", "cluster", "store"}

// impure are the imports that would let something else than the log into a
// state machine. The tables of unicode and x/text change with their releases.
var impure = []string{
	"os", "net", "syscall", "io/ioutil", "math/rand", "crypto/rand", "unicode", "golang.org/x/text", "testing", "log", "runtime",
}

// clock are the functions of package time that read or follow the clock.
var clock = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTicker", "NewTimer"}

// dumps are package names that say nothing of what is inside.
var dumps = []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "shared", "base"}

// source is one parsed Go file. Its name is its path in the module.
type source struct {
	name   string
	lines  int
	fset   *token.FileSet
	file   *ast.File
	bubble bool // a test of its folder runs in bubbles of synctest
}

func (s *source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }

// layer is the top folder of the file, "" for the main package.
func (s *source) layer() string {
	top, _, inside := strings.Cut(s.name, "/")
	if !inside {
		return ""
	}
	return top
}

func (s *source) at(pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", s.name, s.fset.Position(pos).Line, fmt.Sprintf(format, args...))
}

func (s *source) imports(pkg string) bool {
	return slices.ContainsFunc(s.file.Imports, func(i *ast.ImportSpec) bool { return importPath(i) == pkg })
}

func importPath(i *ast.ImportSpec) string {
	p, err := strconv.Unquote(i.Path.Value)
	if err != nil {
		panic(err) // the parser has read it
	}
	return p
}

// within reports whether pkg is root or lies below it.
func within(pkg, root string) bool { return pkg == root || strings.HasPrefix(pkg, root+"/") }

func parse(name string, text []byte) (*source, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	return &source{name: name, lines: strings.Count(string(text), "\n"), fset: fset, file: file}, err
}

// sizes reports files and functions that are too long to read at once.
func sizes(s *source) (problems []string) {
	if ast.IsGenerated(s.file) {
		return nil
	}
	if s.lines > maxFileLines {
		problems = append(problems, fmt.Sprintf("%s:%d: the file has %d lines, at most %d: split it by what it does", s.name, maxFileLines+1, s.lines, maxFileLines))
	}
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		first, last := s.fset.Position(f.Pos()).Line, s.fset.Position(f.End()).Line
		if n := last - first + 1; n > maxFuncLines {
			problems = append(problems, s.at(f.Pos(), "%s has %d lines, at most %d: give its steps names", f.Name.Name, n, maxFuncLines))
		}
	}
	return problems
}

// direction reports imports that point up or sideways.
func direction(s *source) (problems []string) {
	from := s.layer()
	for _, i := range s.file.Imports {
		p := importPath(i)
		if within(p, "github.com/hashicorp/raft") || strings.HasPrefix(p, "github.com/hashicorp/raft-") {
			if from != "cluster" && from != "store" {
				problems = append(problems, s.at(i.Pos(), "imports %s, which stays inside cluster and store", p))
			}
			continue
		}
		if !within(p, module) {
			continue
		}
		to, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(p, module), "/"), "/")
		if !mayImport(from, to) {
			problems = append(problems, s.at(i.Pos(), "imports %s, and %q may not import %q: main -> httpapi -> cluster -> store, and all but store -> fsm", p, from, to))
		}
	}
	return problems
}

func mayImport(from, to string) bool {
	switch {
	case from == to || to == "testdata":
		return true
	case to == "fsm":
		return from != "store" && from != "testdata"
	}
	above, below := slices.Index(layers, from), slices.Index(layers, to)
	return above >= 0 && below > above
}

// purity reports what would make Apply depend on anything but its state and
// the command: in the files of fsm that are not tests.
func purity(s *source) (problems []string) {
	if s.layer() != "fsm" || s.isTest() {
		return nil
	}
	for _, i := range s.file.Imports {
		for _, banned := range impure {
			if p := importPath(i); within(p, banned) && p != "unicode/utf8" {
				problems = append(problems, s.at(i.Pos(), "imports %s: a state machine is a function of its log", p))
			}
		}
	}
	for _, pos := range timeCalls(s, clock) {
		problems = append(problems, s.at(pos, "uses the clock: time enters a state machine as a field of the command"))
	}
	return problems
}

// sleeps reports tests that hope. Two sleeps are fine: the pause of a poll, in a
// loop, and any in a folder whose tests run in bubbles of synctest, where time
// goes on only when all wait.
func sleeps(s *source) (problems []string) {
	if !s.isTest() || s.bubble || s.imports("testing/synctest") {
		return nil
	}
	polls := loops(s.file)
	for _, pos := range timeCalls(s, []string{"Sleep"}) {
		if !slices.ContainsFunc(polls, func(l ast.Node) bool { return l.Pos() <= pos && pos < l.End() }) {
			problems = append(problems, s.at(pos, "time.Sleep in a test: poll a condition with a deadline, or use a synctest bubble"))
		}
	}
	return problems
}

func loops(f *ast.File) (found []ast.Node) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.ForStmt, *ast.RangeStmt:
			found = append(found, n)
		}
		return true
	})
	return found
}

// timeCalls finds the uses of functions of package time, under whatever name
// the file imports it.
func timeCalls(s *source, names []string) (found []token.Pos) {
	local := ""
	for _, i := range s.file.Imports {
		if importPath(i) == "time" {
			local = "time"
			if i.Name != nil {
				local = i.Name.Name
			}
		}
	}
	if local == "" {
		return nil
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local && slices.Contains(names, sel.Sel.Name) {
				found = append(found, sel.Pos())
			}
		}
		return true
	})
	return found
}

// names reports packages whose name is a dumping ground, and promises to do
// something later.
func names(s *source) (problems []string) {
	if slices.Contains(dumps, s.file.Name.Name) || slices.Contains(dumps, path.Base(path.Dir(s.name))) {
		problems = append(problems, s.at(s.file.Package, "package %s says nothing of what is inside: name it by what it provides", s.file.Name.Name))
	}
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			for _, word := range []string{"TODO", "FIXME", "XXX"} {
				if strings.Contains(c.Text, word) {
					problems = append(problems, s.at(c.Pos(), "%s: do it, or say in README.md what is not done", word))
				}
			}
		}
	}
	return problems
}

// repository is the root of the module.
const repository = ".."

// ignored reports whether .gitignore names a file or folder at the top.
func ignored(t *testing.T, name string) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		pattern := strings.Trim(strings.TrimSpace(line), "/")
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return false
}

// sources are all Go files of the module.
func sources(t *testing.T) (out []*source) {
	t.Helper()
	err := filepath.WalkDir(repository, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(repository, file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || !strings.Contains(name, "/") && ignored(t, name)) {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		s, err := parse(name, text)
		out = append(out, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	bubbles := map[string]bool{}
	for _, s := range out {
		bubbles[path.Dir(s.name)] = bubbles[path.Dir(s.name)] || s.imports("testing/synctest")
	}
	for _, s := range out {
		s.bubble = bubbles[path.Dir(s.name)]
	}
	return out
}

// TestTidy runs every rule over every file.
func TestTidy(t *testing.T) {
	all := sources(t)
	if len(all) < 20 {
		t.Fatalf("only %d files found: is %s the repository?", len(all), repository)
	}
	for _, s := range all {
		for _, rule := range []func(*source) []string{sizes, direction, purity, sleeps, names} {
			for _, problem := range rule(s) {
				t.Error(problem)
			}
		}
	}
}

// TestTopLevel keeps the top of the repository as DESIGN says: each thing has
// one obvious room, and a new room is a decision.
func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(repository)
	if err != nil {
		t.Fatal(err)
	}
	missing := slices.Clone(topLevel)
	for _, e := range entries {
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == e.Name() })
		if !slices.Contains(topLevel, e.Name()) && !strings.HasPrefix(e.Name(), ".") && !ignored(t, e.Name()) {
			t.Errorf("%s does not belong at the top: only %s and dotfiles do", e.Name(), strings.Join(topLevel, ", "))
		}
	}
	for _, name := range missing {
		t.Errorf("%s is missing at the top", name)
	}
}

// TestTidyRules shows each rule a file that breaks it and one that does not.
func TestTidyRules(t *testing.T) {
	long := "package p\nfunc f() {\n" + strings.Repeat("\t_ = 0\n", maxFuncLines-2) + "}\n"
	longer := strings.Replace(long, "{\n", "{\n\t_ = 1\n", 1)
	file := "package p\n" + strings.Repeat("// line\n", maxFileLines-1)
	for _, tc := range []struct {
		why, name, text string
		rule            func(*source) []string
		broken          int
	}{
		{"a function of 70 lines", "fsm/a.go", long, sizes, 0},
		{"a function of 71 lines", "fsm/a.go", longer, sizes, 1},
		{"a test of 71 lines", "fsm/a_test.go", longer, sizes, 1},
		{"a file of 500 lines", "fsm/a.go", file, sizes, 0},
		{"a file of 501 lines", "fsm/a.go", file + "\n", sizes, 1},
		{"a generated file", "fsm/a.go", "// Code generated by x. DO NOT EDIT.\n" + file, sizes, 0},

		{"main wires", "main.go", `package main; import ("cairn/httpapi"; "cairn/store"; "cairn/fsm/wire")`, direction, 0},
		{"down", "httpapi/a.go", `package a; import ("cairn/cluster/link"; "cairn/httpapi/rest"; "cairn/fsm"; "cairn/testdata")`, direction, 0},
		{"up", "cluster/a.go", `package a; import "cairn/httpapi/rest"`, direction, 1},
		{"up from the bottom", "store/a_test.go", `package a; import "cairn/cluster"`, direction, 1},
		{"store knows no machine", "store/a.go", `package a; import "cairn/fsm"`, direction, 1},
		{"fsm knows nobody", "fsm/a/a.go", `package a; import ("cairn/store"; "cairn/cluster"; "cairn/httpapi"; "cairn/fsm/wire")`, direction, 3},
		{"testdata knows nobody", "testdata/a.go", `package a; import "cairn/fsm"`, direction, 1},
		{"raft at home", "cluster/a.go", `package a; import "github.com/hashicorp/raft"`, direction, 0},
		{"raft abroad", "httpapi/a.go", `package a; import ("github.com/hashicorp/raft"; "github.com/hashicorp/raft-boltdb/v2")`, direction, 2},
		{"another module", "httpapi/a.go", `package a; import "cairnery/raft"`, direction, 0},

		{"pure", "fsm/a.go", `package a; import ("time"; "unicode/utf8"; "fmt"); var _ = time.Second`, purity, 0},
		{"impure", "fsm/x/a.go", `package a; import ("os"; "net/http"; "math/rand/v2"; "unicode"; "golang.org/x/text/cases")`, purity, 5},
		{"the clock", "fsm/a.go", `package a; import t "time"; var _ = t.Now(); var _ = t.After`, purity, 2},
		{"a test may", "fsm/a_test.go", `package a; import ("os"; "time"); var _ = time.Now()`, purity, 0},
		{"not fsm", "cluster/a.go", `package a; import ("os"; "time"); var _ = time.Now()`, purity, 0},

		{"sleeps", "cluster/a_test.go", `package a; import "time"; func f() { time.Sleep(1) }`, sleeps, 1},
		{"sleeps in a bubble", "cluster/a_test.go", `package a; import ("time"; "testing/synctest"); func f() { time.Sleep(1) }`, sleeps, 0},
		{"polls", "cluster/a_test.go", `package a; import "time"; func f() { for range 9 { time.Sleep(1) } }`, sleeps, 0},
		{"sleeps before it polls", "cluster/a_test.go", `package a; import "time"; func f() { time.Sleep(1); for range 9 {} }`, sleeps, 1},
		{"no test", "cluster/a.go", `package a; import "time"; func f() { time.Sleep(1) }`, sleeps, 0},

		{"a dump", "cluster/util/a.go", `package util`, names, 1},
		{"a promise", "cluster/a.go", "package a\n\n// TO" + "DO later\n", names, 1},
		{"a name", "cluster/link/a.go", "package link\n\n// what is to do\n", names, 0},
	} {
		s, err := parse(tc.name, []byte(tc.text))
		if err != nil {
			t.Fatalf("%s: %v", tc.why, err)
		}
		if problems := tc.rule(s); len(problems) != tc.broken {
			t.Errorf("%s: %d problems, want %d: %q", tc.why, len(problems), tc.broken, problems)
		}
	}
}
