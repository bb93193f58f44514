package controller

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestPure keeps the machine a function of its entries: it may import this and
// nothing more. io and bufio are for snapshots; utf8 has no tables that change.
func TestPure(t *testing.T) {
	allowed := []string{
		"bufio", "bytes", "cmp", "crypto/sha256", "encoding/binary", "errors", "fmt", "io", "iter", "math", "slices",
		"sync/atomic", "time", "unicode/utf8", "cairn/fsm", "cairn/fsm/wire",
	}
	paths, err := filepath.Glob("*.go")
	if err != nil || len(paths) == 0 {
		t.Fatal("no files", err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			if p, _ := strconv.Unquote(imp.Path.Value); !slices.Contains(allowed, p) {
				t.Errorf("%s: the machine must not import %s", fset.Position(imp.Pos()), p)
			}
		}
	}
}
