package httpapi

import (
	"unicode/utf8"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

// The two bodies that come in great numbers are flat objects of strings. flat
// reads what is usual of them without reflection; whatever is unusual (escapes,
// other types, unknown or repeated fields, mistakes) it leaves to decodeStrict,
// which has the only say on what is wrong. So flat never refuses: it reads a
// body exactly as decodeStrict would, or not at all.

// flat reads a JSON object whose values are strings without escapes into the
// pointers beside their names. It reports false, with some of them perhaps set,
// for anything else, and when one of the first required names is missing.
func flat(b []byte, required int, names []string, into []*string) bool {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '{' {
		return false
	}
	seen := 0 // a bit for each name
	for {
		name, next := plainString(b, skipSpace(b, i+1))
		i = skipSpace(b, next)
		if next < 0 || i >= len(b) || b[i] != ':' {
			return false
		}
		value, next := plainString(b, skipSpace(b, i+1))
		if next < 0 {
			return false
		}
		f := indexOf(names, name)
		if f < 0 || seen&(1<<f) != 0 {
			return false
		}
		seen |= 1 << f
		*into[f] = string(value)
		if i = skipSpace(b, next); i >= len(b) {
			return false
		}
		switch b[i] {
		case ',':
			continue
		case '}':
			all := 1<<required - 1
			return skipSpace(b, i+1) == len(b) && seen&all == all
		}
		return false
	}
}

func indexOf(names []string, name []byte) int {
	for i, n := range names {
		if n == string(name) {
			return i
		}
	}
	return -1
}

func skipSpace(b []byte, i int) int {
	if i < 0 {
		return len(b)
	}
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// plainString returns what stands between the quotes at b[i:] and the index
// behind them; -1 if it is not a string, or one with escapes, control
// characters or invalid UTF-8.
func plainString(b []byte, i int) (value []byte, next int) {
	if i >= len(b) || b[i] != '"' {
		return nil, -1
	}
	i++
	start, ascii := i, true
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			value = b[start:i]
			if !ascii && !utf8.Valid(value) {
				return nil, -1
			}
			return value, i + 1
		case c == '\\' || c < 0x20:
			return nil, -1
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, -1
}

var (
	submissionFields = []string{"clue", "answer", "player"}
	batchFields      = []string{"key", "team", "clue", "answer", "at"}
)

// decodeSubmission reads the body of a submission.
func decodeSubmission(b []byte) (in rest.NewSubmission, err error) {
	into := [...]*string{(*string)(&in.Clue), &in.Answer, &in.Player}
	if flat(b, 2, submissionFields, into[:]) {
		return in, nil
	}
	in = rest.NewSubmission{}
	return in, decodeStrict(b, &in)
}

// decodeBatchLine reads a line of submissions:batch.
func decodeBatchLine(b []byte) (in rest.BatchLine, err error) {
	const absent = "-" // no time: an empty one is given, and wrong
	at := absent
	into := [...]*string{&in.Key, (*string)(&in.Team), (*string)(&in.Clue), &in.Answer, &at}
	if flat(b, 4, batchFields, into[:]) {
		if at == absent {
			return in, nil
		}
		t := new(fsm.Time)
		if t.UnmarshalText([]byte(at)) == nil {
			in.At = t
			return in, nil
		}
	}
	in = rest.BatchLine{}
	return in, decodeStrict(b, &in)
}
