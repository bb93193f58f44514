package hunt

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Normalisation says which differences between two texts do not matter. Each
// is idempotent. The tables are those of golang.org/x/text and the standard
// library (Unicode 15 with Go 1.26).
type Normalisation uint8

const (
	// Alnum keeps letters and numbers of any script: compatibility
	// decomposition (NFKD), marks dropped, everything but letters and numbers
	// dropped, full case folding. So "Crème Brûlée!" and "CREMEBRULEE" are
	// equal, as are ß and ss, ﬁ and fi, final and medial sigma, full-width and
	// ASCII. Its price: marks that tell words apart are dropped too (Devanagari
	// vowel signs, Japanese voicing marks); use Trim where that matters. Case
	// folding knows no language: dotless ı is not i.
	Alnum Normalisation = iota
	// Letters is Alnum without the numbers.
	Letters
	// Trim composes (NFC) and removes white space at both ends; nothing else.
	Trim
	// Exact changes nothing: equal means equal bytes.
	Exact

	normalisationEnd
)

// normalisations are the words of the API, in the order of the constants.
var normalisations = [normalisationEnd]string{"alnum", "letters", "trim", "exact"}

// String returns the API's word.
func (n Normalisation) String() string { return normalisations[n] }

func parseNormalisation(word string) (Normalisation, bool) {
	for i, w := range normalisations {
		if w == word {
			return Normalisation(i), true
		}
	}
	return 0, false
}

// Apply returns s, which must be valid UTF-8, in normal form; empty if nothing
// of it counts.
func (n Normalisation) Apply(s string) string { return string(n.append(nil, s)) }

// append appends the normal form of s to dst. Text that is ASCII takes a path
// that allocates nothing if dst has room.
func (n Normalisation) append(dst []byte, s string) []byte {
	switch n {
	case Exact:
		return append(dst, s...)
	case Trim:
		if !isASCII(s) {
			s = norm.NFC.String(s)
		}
		return append(dst, strings.TrimSpace(s)...)
	}
	if !isASCII(s) {
		return n.appendFolded(dst, s)
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'A' <= c && c <= 'Z':
			dst = append(dst, c+'a'-'A')
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9' && n == Alnum:
			dst = append(dst, c)
		}
	}
	return dst
}

// fold is stateless and safe for concurrent use.
var fold = cases.Fold()

func (n Normalisation) appendFolded(dst []byte, s string) []byte {
	kept := make([]byte, 0, 2*len(s))
	for _, c := range norm.NFKD.String(s) {
		if unicode.IsLetter(c) || n == Alnum && unicode.IsNumber(c) {
			kept = utf8.AppendRune(kept, c)
		}
	}
	for _, c := range string(fold.Bytes(kept)) {
		// Cherokee alone folds to its capitals (CaseFolding.txt); x/text swaps the
		// two cases instead, so that they would never meet.
		if unicode.Is(unicode.Cherokee, c) {
			c = unicode.ToUpper(c)
		}
		dst = utf8.AppendRune(dst, c)
	}
	return dst
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
