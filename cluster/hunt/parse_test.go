package hunt

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cairn/fsm"
	"cairn/fsm/partition"

	"github.com/goccy/go-yaml/lexer"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata/hunts")

const hunts = "../../testdata/hunts/"

// parseFile parses by the file's extension.
func parseFile(t testing.TB, path string) (*Document, error) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(path) == ".yaml" {
		return ParseYAML(data)
	}
	return Parse(data)
}

func mustParse(t testing.TB, text string) *Document {
	t.Helper()
	d, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// golden compares got with a file, or rewrites the file with -update.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

// TestBadHunts keeps what the author of a bad hunt is told: every problem of
// every file in testdata/hunts/bad, with its line and path, in order.
func TestBadHunts(t *testing.T) {
	paths, err := filepath.Glob(hunts + "bad/*")
	if err != nil {
		t.Fatal(err)
	}
	tested := 0
	for _, path := range paths {
		ext := filepath.Ext(path)
		if ext == ".problems" {
			continue
		}
		tested++
		t.Run(filepath.Base(path), func(t *testing.T) {
			_, err := parseFile(t, path)
			bad, ok := errors.AsType[*Error](err)
			if !ok || fsm.KindOf(err) != fsm.Invalid {
				t.Fatalf("got error %v, want an *Error that is Invalid", err)
			}
			var out bytes.Buffer
			for _, p := range bad.Problems {
				fmt.Fprintln(&out, p)
			}
			golden(t, strings.TrimSuffix(path, ext)+".problems", out.Bytes())
		})
	}
	if tested < 5 {
		t.Fatalf("only %d bad hunts found", tested)
	}
}

// TestSample keeps the sample in both syntaxes equal, and the JSON readable.
func TestSample(t *testing.T) {
	d, err := parseFile(t, hunts+"sample.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, d.JSON(), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, hunts+"sample.json", append(pretty.Bytes(), '\n'))
	twin, err := parseFile(t, hunts+"sample.json")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := d.JSON(), twin.JSON(); !bytes.Equal(a, b) {
		t.Errorf("the syntaxes disagree:\n%s\n%s", a, b)
	}
	if _, err := d.Rules(partition.Open); err != nil {
		t.Error(err)
	}
}

// TestCanonical: what means the same has the same bytes, however it is written.
func TestCanonical(t *testing.T) {
	long := `{
		"clues": [{"answers": [{"kind": "text", "normalize": "alnum", "value": "\u0078"}], "points": 0, "title": "", "id": "a"},
			{"unlock": {"solved": "a"}, "id": "b", "nudges": [], "answers": ["<y>"], "attempts": {}}],
		"rounds": [], "ranking": ["points", "last_solve"], "after_end": "reject", "public": true, "registration": "closed",
		"ends_at": "2026-05-01T02:00:00.1234567+02:00", "state": "open", "id": "h"}`
	short := `{"id":"h","ends_at":"2026-05-01T00:00:00.123456Z","clues":[{"id":"a","answers":["x"]},{"id":"b","answers":["<y>"],"unlock":"a"}]}`
	if got := string(mustParse(t, long).JSON()); got != short {
		t.Errorf("got  %s\nwant %s", got, short)
	}
	if got := string(mustParse(t, short).JSON()); got != short {
		t.Errorf("the canonical form is not its own:\ngot  %s\nwant %s", got, short)
	}
	full := `{"id":"h","title":"t","description":"d","public":false,"registration":"open","state":"draft",` +
		`"starts_at":"2026-05-01T00:00:00.000000Z","ends_at":"2026-05-02T00:00:00.000000Z","after_end":"unranked",` +
		`"ranking":["finish"],"finish_clue":"a","rounds":[{"id":"r","title":"t","unlock":"a"}],` +
		`"clues":[{"id":"a","title":"t","prompt":"p","solution":"s","points":5,` +
		`"answers":[{"value":"x","normalize":"trim","reply":"r"}],"nudges":[{"value":"y","normalize":"letters"},{"value":"Z","normalize":"exact"}],` +
		`"hints":[{"id":"1","text":"t","cost":3}],"attempts":{"limit":2}},` +
		`{"id":"b","round":"r","answers":["x"],"unlock":{"all":["a",{"any":["a"]},{"at_least":1,"of":["a"]},{"at_least":1,"round":"r"}]}},` +
		`{"id":"c","round":"r","answers":["x"]}]}`
	if got := string(mustParse(t, full).JSON()); got != full {
		t.Errorf("a field is lost or moved:\ngot  %s\nwant %s", got, full)
	}
}

// many joins n copies of a format, each with its number.
func many(n int, format string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(parts, ",")
}

// TestLimits: one more than each limit is refused with the path of what is too
// large, and the limit itself is accepted.
func TestLimits(t *testing.T) {
	clue := func(fields string) string { return `{"id":"h","clues":[{"id":"a","answers":["x"],` + fields + `}]}` }
	nested := func(n int) string {
		return `{"id":"h","clues":[{"id":"a","answers":["x"]},{"id":"b","answers":["x"],"unlock":` +
			strings.Repeat(`{"all":[`, n-1) + `"a"` + strings.Repeat(`]}`, n-1) + `}]}`
	}
	for _, tt := range []struct {
		name  string
		make  func(n int) string
		limit int
		path  string
	}{
		{"clues", func(n int) string { return `{"id":"h","clues":[` + many(n, `{"id":"c%d","answers":["x"]}`) + `]}` }, MaxClues, "clues"},
		{"rounds", func(n int) string { return `{"id":"h","rounds":[` + many(n, `{"id":"r%d"}`) + `]}` }, MaxRounds, "rounds"},
		{"answers", func(n int) string { return `{"id":"h","clues":[{"id":"a","answers":[` + many(n, `"x%d"`) + `]}]}` }, MaxAnswers, "clues[0].answers"},
		{"nudges", func(n int) string { return clue(`"nudges":[` + many(n, `"y%d"`) + `]`) }, MaxAnswers, "clues[0].nudges"},
		{"hints", func(n int) string { return clue(`"hints":[` + many(n, `{"id":"h%d","text":"t"}`) + `]`) }, MaxHints, "clues[0].hints"},
		{"prompt", func(n int) string { return clue(`"prompt":"` + strings.Repeat("x", n) + `"`) }, MaxText, "clues[0].prompt"},
		{"title", func(n int) string { return clue(`"title":"` + strings.Repeat("é", n) + `"`) }, MaxNameChars, "clues[0].title"},
		{"answer", func(n int) string { return clue(`"nudges":["` + strings.Repeat("é", n) + `"]`) }, MaxAnswerChars, "clues[0].nudges[0].value"},
		{"reply", func(n int) string { return clue(`"nudges":[{"value":"y","reply":"` + strings.Repeat("x", n) + `"}]`) }, partition.MaxReply, "clues[0].nudges[0].reply"},
		{"points", func(n int) string { return clue(fmt.Sprintf(`"points":%d`, n)) }, MaxPoints, "clues[0].points"},
		{"cost", func(n int) string { return clue(fmt.Sprintf(`"hints":[{"id":"1","text":"t","cost":%d}]`, n)) }, MaxPoints, "clues[0].hints[0].cost"},
		{"attempts", func(n int) string { return clue(fmt.Sprintf(`"attempts":{"limit":%d}`, n)) }, MaxAttempts, "clues[0].attempts.limit"},
		{"depth", nested, MaxConditionDepth, "clues[1].unlock" + strings.Repeat(".all[0]", MaxConditionDepth)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mustParse(t, tt.make(tt.limit))
			_, err := Parse([]byte(tt.make(tt.limit + 1)))
			bad, ok := errors.AsType[*Error](err)
			if !ok || len(bad.Problems) != 1 || bad.Problems[0].Path != tt.path {
				t.Errorf("one more: got %v, want one problem at %s", err, tt.path)
			}
		})
	}
}

// TestTooMuch: what cannot be read, or would cost too much, is refused at once.
func TestTooMuch(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		kind       fsm.Kind
		want       string
	}{
		{"encoding", "{\"id\":\"\xff\"}", fsm.Invalid, "UTF-8"},
		{"bytes", strings.Repeat(" ", MaxDocument+1), fsm.TooLarge, "16777216"},
		{"values", `{"id":[` + strings.Repeat("1,", MaxValues) + `1]}`, fsm.Invalid, "too many values"},
		{"nesting", strings.Repeat("[", MaxNesting+1) + strings.Repeat("]", MaxNesting+1), fsm.Invalid, "nested too deeply"},
		{"conditions", `{"id":"h","rounds":[{"id":"r"}],"clues":[` +
			many(500, `{"id":"c%d","round":"r","answers":["x"],"unlock":{"at_least":1,"round":"r"}}`) + `]}`, fsm.Invalid, "at most 250000"},
		{"problems", `{` + strings.Repeat(`"x":1,`, 1000) + `"id":"h"}`, fsm.Invalid, "100 problems or more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.text))
			if fsm.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v (%v), want %v with %q", err, fsm.KindOf(err), tt.kind, tt.want)
			}
		})
	}
}

// TestYAMLPiles: a parser that recurses must not be reached by text that makes
// it recurse without end.
func TestYAMLPiles(t *testing.T) {
	for _, pile := range []string{"[", "{", "- ", "? ", "!a ", "&a ", "*a ", "<<: "} {
		text := strings.Repeat(pile, 50_000)
		if refuse(lexer.Tokenize(text)) == nil {
			t.Errorf("%q piled up would reach the parser", pile)
		} else if _, err := ParseYAML([]byte(text)); fsm.KindOf(err) != fsm.Invalid {
			t.Errorf("%q piled up: got %v, want Invalid", pile, err)
		}
	}
}

func TestCheckText(t *testing.T) {
	for _, tt := range []struct {
		text         string
		answer, name bool // accepted as
	}{
		{"", false, false},
		{"x", true, true},
		{" ", true, true},
		{strings.Repeat("𝄞", MaxNameChars), true, true},
		{strings.Repeat("𝄞", MaxNameChars+1), true, false},
		{strings.Repeat("𝄞", MaxAnswerChars+1), false, false},
		{"two\nlines\tand a tab\r\n", true, false},
		{"bell\a", false, false},
		{"nul\x00", false, false},
		{"next line \u0085", false, false},
		{"\xff", false, false},
		{"👩‍👩‍👧‍👦 and ⚓️", true, true},
		{"\u202ereversed", true, true},
	} {
		if err := CheckAnswer(tt.text); (err == nil) != tt.answer || err != nil && fsm.KindOf(err) != fsm.Invalid {
			t.Errorf("CheckAnswer(%.20q) = %v", tt.text, err)
		}
		if err := CheckName(tt.text); (err == nil) != tt.name || err != nil && fsm.KindOf(err) != fsm.Invalid {
			t.Errorf("CheckName(%.20q) = %v", tt.text, err)
		}
	}
	if n := len(strings.Repeat("𝄞", MaxNameChars)); n > partition.MaxName {
		t.Errorf("a name of %d bytes does not fit the partition's limit", n)
	}
	if n := len(strings.Repeat("𝄞", MaxAnswerChars)); n > partition.MaxAnswer {
		t.Errorf("an answer of %d bytes does not fit the partition's limit", n)
	}
}
