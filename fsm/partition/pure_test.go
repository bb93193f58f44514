package partition

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestPure keeps the contract of package fsm: what Apply may depend on is
// limited by what the package may import and call.
func TestPure(t *testing.T) {
	allowed := map[string]bool{
		"bufio": true, "bytes": true, "compress/flate": true, "crypto/sha256": true, "encoding/binary": true,
		"errors": true, "fmt": true, "io": true, "math": true, "reflect": true, "slices": true, "sort": true,
		"strings": true, "time": true,
		"cairn/fsm": true, "cairn/fsm/wire": true, "github.com/tidwall/btree": true, "github.com/cespare/xxhash/v2": true,
	}
	onlyOf := map[string]map[string]bool{
		"time":    {"Duration": true, "Millisecond": true},
		"reflect": {"DeepEqual": true}, // in check
	}
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		files++
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			if p := strings.Trim(imp.Path.Value, `"`); !allowed[p] {
				t.Errorf("%s: import of %s", fset.Position(imp.Pos()), p)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a goroutine", fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && onlyOf[x.Name] != nil && !onlyOf[x.Name][n.Sel.Name] {
					t.Errorf("%s: use of %s.%s", fset.Position(n.Pos()), x.Name, n.Sel.Name)
				}
			}
			return true
		})
	}
	if files < 10 {
		t.Errorf("only %d files looked at", files)
	}
}
