package hunt

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"cairn/fsm"
	"cairn/fsm/partition"
)

// seeds adds every hunt of testdata with one of the extensions.
func seeds(f *testing.F, extension string) {
	paths, err := filepath.Glob(hunts + "*" + extension)
	if err != nil {
		f.Fatal(err)
	}
	bad, err := filepath.Glob(hunts + "bad/*" + extension)
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(paths, bad...) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

func FuzzParse(f *testing.F) {
	seeds(f, ".json")
	f.Add([]byte(`{"id":"h","clues":[{"id":"a","answers":[{"value":"\ud800 x","normalize":"trim"}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) { checkParsed(t, data, Parse) })
}

func FuzzParseYAML(f *testing.F) {
	seeds(f, ".yaml")
	seeds(f, ".json") // JSON is YAML
	f.Fuzz(func(t *testing.T, data []byte) { checkParsed(t, data, ParseYAML) })
}

// checkParsed: a document is refused with its reasons, or it is sound: it has
// one canonical form, compiles, and accepts its own answers.
func checkParsed(t *testing.T, data []byte, parse func([]byte) (*Document, error)) {
	d, err := parse(data)
	if err != nil {
		if kind := fsm.KindOf(err); kind != fsm.Invalid || !utf8.ValidString(err.Error()) {
			t.Fatalf("%v: %q", kind, err)
		}
		return
	}
	canonical := d.JSON()
	again, err := Parse(canonical)
	if err != nil {
		t.Fatalf("the canonical form %s: %v", canonical, err)
	}
	if !bytes.Equal(again.JSON(), canonical) {
		t.Fatalf("the canonical form changes from\n%s to\n%s", canonical, again.JSON())
	}
	rules, err := d.Rules(partition.Open)
	if err != nil {
		t.Fatal(err)
	}
	if err := rules.Validate(); err != nil {
		t.Fatalf("the rules of %s: %v", canonical, err)
	}
	m := NewMatcher(d)
	for _, clue := range d.Clues {
		for _, a := range clue.Answers {
			if match, _, _, ok := m.Match(clue.ID, a.Value); !ok || match != partition.Correct {
				t.Fatalf("clue %s does not accept its answer %q", clue.ID, a.Value)
			}
		}
	}
}

func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"", "Straße", "İ", "\u0345", "e\u0301\u0327", "등대", "\xff", "Ꭰꭰ", "ﷺ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for n := range normalisationEnd {
			n.Apply(s) // must not panic, whatever it is
			s = strings.ToValidUTF8(s, "")
			form := n.Apply(s)
			if again := n.Apply(form); again != form {
				t.Fatalf("%v of %+q is %+q, and of that %+q", n, s, form, again)
			}
		}
	})
}
