package mutant

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// newModule makes a module that prints a word.
func newModule(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module cairn\n\ngo 1.26\n",
		"main.go": "package main\n\nfunc main() { println(word) }\n",
		"word.go": "package main\n\nconst word = \"right\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestBuild(t *testing.T) {
	root := newModule(t)
	for _, c := range []struct {
		name string
		list []Mutation
		want string // printed, or in the error
	}{
		{"none", nil, "right"},
		{"one", []Mutation{{"m", "word.go", "right", "wrong"}}, "wrong"},
		{"one after the other", []Mutation{{"m", "word.go", "right", "wrong"}, {"n", "word.go", "wrong", "bad"}}, "bad"},
		{"a new file", []Mutation{{"m", "word.go", `"right"`, "other"}, {"n", "other.go", "", "package main\n\nconst other = \"new\"\n"}}, "new"},
		{"not there", []Mutation{{"m", "word.go", "nothing", ""}}, `mutation m: word.go has 0 places with "nothing"`},
		{"twice", []Mutation{{"m", "main.go", "main", ""}}, "has 2 places"},
		{"no file", []Mutation{{"m", "none.go", "x", ""}}, "no such file"},
		{"made again", []Mutation{{"m", "word.go", "", "x"}}, "exists"},
		{"not Go", []Mutation{{"m", "word.go", "const", "cost"}}, "build the program"},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "program")
			err := Build(t.Context(), root, to, c.list)
			if err != nil {
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
				return
			}
			out, err := exec.Command(to).CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != c.want {
				t.Errorf("it says %q (%v), want %q", out, err, c.want)
			}
		})
	}
}

// TestOverlays: another overlay has its say, about other files.
func TestOverlays(t *testing.T) {
	root, dir := newModule(t), t.TempDir()
	word, overlay := filepath.Join(dir, "word.go"), filepath.Join(dir, "overlay.json")
	for path, text := range map[string]string{
		word:    "package main\n\nconst word = \"another\"\n",
		overlay: `{"Replace":{"` + filepath.Join(root, "word.go") + `":"` + word + `"}}`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(dir, "program")
	if err := Build(t.Context(), root, to, []Mutation{{"m", "main.go", "println(word)", "println(word, 2)"}}, overlay); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(to).CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "another 2" {
		t.Errorf("it says %q (%v)", out, err)
	}
	if err := Build(t.Context(), root, to, []Mutation{{"m", "word.go", "right", "wrong"}}, overlay); err == nil || !strings.Contains(err.Error(), "replaced already") {
		t.Errorf("one file by two: %v", err)
	}
}
