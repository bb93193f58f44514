package hunt

import (
	"fmt"
	"slices"
	"strings"

	"cairn/fsm"
)

// maxProblems is how many problems are listed. Nobody reads more, and a hostile
// document must not make its own refusal large.
const maxProblems = 100

// shownProblems is how many of them fit into the text of the error.
const shownProblems = 5

// Problem is one thing that is wrong with a document.
type Problem struct {
	Path   string // as in clues[3].unlock.all[0]; empty for the whole document
	Detail string // what is wrong, and what to do where that is not plain
	Line   int    // of the source, from 1; 0 where there is no source
}

// String gives the problem on one line.
func (p Problem) String() string {
	out := p.Detail
	if p.Path != "" {
		out = p.Path + ": " + out
	}
	if p.Line > 0 {
		out = fmt.Sprintf("line %d: %s", p.Line, out)
	}
	return out
}

// Problems are all problems of one document, in the order of their lines; at
// most 100 are kept.
type Problems []Problem

func (p *Problems) add(line int, path, format string, args ...any) {
	if len(*p) < maxProblems {
		*p = append(*p, Problem{Path: path, Detail: fmt.Sprintf(format, args...), Line: line})
	}
}

// err is nil if there are no problems.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b Problem) int { return a.Line - b.Line })
	return &Error{Problems: p}
}

// Error says that a document is not a valid hunt. It wraps an *fsm.Error of
// kind Invalid with the same text.
type Error struct{ Problems Problems }

func (e *Error) Error() string {
	var b strings.Builder
	if n := len(e.Problems); n == 1 {
		b.WriteString("the hunt has a problem: ")
	} else if n < maxProblems {
		fmt.Fprintf(&b, "the hunt has %d problems: ", n)
	} else {
		fmt.Fprintf(&b, "the hunt has %d problems or more: ", n)
	}
	for i, p := range e.Problems {
		if i == shownProblems {
			fmt.Fprintf(&b, "; and %d more", len(e.Problems)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// Unwrap gives the error its kind.
func (e *Error) Unwrap() error { return fsm.Errorf(fsm.Invalid, "%s", e.Error()) }
