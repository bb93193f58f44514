package hunt

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

// TestNormalisationVectors: the table is a promise to organisers. A change of it
// means that answers which were accepted are not any more.
func TestNormalisationVectors(t *testing.T) {
	text, err := os.ReadFile(hunts + "normalise.txt")
	if err != nil {
		t.Fatal(err)
	}
	tested := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		n, ok := parseNormalisation(word)
		in, err1 := strconv.QuotedPrefix(strings.TrimSpace(rest))
		out := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), in))
		in, err2 := strconv.Unquote(in)
		want, err3 := strconv.Unquote(out)
		if !ok || err1 != nil || err2 != nil || err3 != nil {
			t.Fatalf("cannot read the line %s", line)
		}
		if got := n.Apply(in); got != want {
			t.Errorf("%v of %+q: got %+q, want %+q", n, in, got, want)
		}
		tested++
	}
	if tested < 50 {
		t.Fatalf("only %d vectors found", tested)
	}
}

// TestEveryCharacter walks all of Unicode: the normal form of a character is its
// own normal form, is that of its other cases too, and holds nothing but letters
// and numbers. (A mark that is a letter in another case is a mark all the same.)
func TestEveryCharacter(t *testing.T) {
	for c := rune(0); c <= unicode.MaxRune; c++ {
		if 0xd800 <= c && c <= 0xdfff {
			continue
		}
		form := Alnum.Apply(string(c))
		if again := Alnum.Apply(form); again != form {
			t.Errorf("%U: %+q becomes %+q when normalised again", c, form, again)
		}
		twin := unicode.SimpleFold(c) // the same letter in another case, or c itself
		if other := Alnum.Apply(string(twin)); other != form && !unicode.IsMark(c) && !unicode.IsMark(twin) {
			t.Errorf("%U and %U differ by case only, but not their forms %+q and %+q", c, twin, form, other)
		}
		for _, kept := range form {
			if !unicode.IsLetter(kept) && !unicode.IsNumber(kept) {
				t.Errorf("%U: %U is kept", c, kept)
			}
		}
		if form == "" && strings.ContainsFunc(norm.NFKD.String(string(c)), unicode.IsLetter) {
			t.Errorf("the letter %U is dropped", c)
		}
	}
}

// anyText draws texts in which the awkward is common.
func anyText() *rapid.Generator[string] {
	awkward := rapid.SampledFrom([]rune("aZ0 \t\n!ßẞİıςΣσé\u0301\u0308\u0345ﬁﬃＡ１½Ⅷ등\u1103\u1173日ﾊﾞטָّ٣हि🙂Ꭰꭰ\u200d\ufe0f\u00ad\u034f\U00011133"))
	return rapid.StringOfN(rapid.OneOf(awkward, rapid.Rune()), 0, 60, -1)
}

// TestNormalisationIsIdempotent, and blind to how a text is composed.
func TestNormalisationIsIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := Normalisation(rapid.IntRange(0, int(normalisationEnd)-1).Draw(t, "normalisation"))
		s := anyText().Draw(t, "text")
		form := n.Apply(s)
		if again := n.Apply(form); again != form {
			t.Fatalf("%v of %+q is %+q, and of that %+q", n, s, form, again)
		}
		if n != Exact && n.Apply(norm.NFD.String(s)) != n.Apply(norm.NFC.String(s)) {
			t.Fatalf("%v tells composed from decomposed %+q", n, s)
		}
	})
}

// TestASCIIPath: the path for ASCII text and the one for all text agree.
func TestASCIIPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOf(rapid.RuneFrom(nil, unicode.ASCII_Hex_Digit, ascii)).Draw(t, "text")
		for _, n := range []Normalisation{Alnum, Letters} {
			if fast, slow := n.Apply(s), string(n.appendFolded(nil, s)); fast != slow {
				t.Fatalf("%v of %q: %q and %q", n, s, fast, slow)
			}
		}
	})
}

var ascii = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0, Hi: 0x7f, Stride: 1}}, LatinOffset: 1}
