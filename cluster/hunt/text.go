package hunt

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"cairn/fsm"
)

// pasted are the control characters that an answer may contain: answers are
// copied from documents and chats.
const pasted = "\t\n\r"

// CheckAnswer says whether an answer may be submitted: 1 to 1,000 characters of
// valid UTF-8. Tabs and line breaks are allowed; other control characters are
// Invalid: whoever reads the history cannot see them, and a terminal obeys them.
func CheckAnswer(answer string) error {
	return invalid("the answer", lineProblem(answer, 1, MaxAnswerChars, pasted))
}

// CheckName says whether a team, or anything else with a name, may be called
// that: 1 to 200 characters of any Unicode without control characters, else
// Invalid. Joiners, emoji sequences and writing directions are no control
// characters.
func CheckName(name string) error {
	return invalid("the name", lineProblem(name, 1, MaxNameChars, ""))
}

func invalid(what, problem string) error {
	if problem == "" {
		return nil
	}
	return fsm.Errorf(fsm.Invalid, "%s %s", what, problem)
}

// lineProblem says what is wrong with a short text; nothing if it is empty. It
// must have least to most characters and no control characters but the allowed.
func lineProblem(s string, least, most int, allowed string) string {
	if !utf8.ValidString(s) {
		return "is not valid UTF-8"
	}
	n := utf8.RuneCountInString(s)
	switch {
	case n == 0 && least > 0:
		return "is empty"
	case n > most:
		return fmt.Sprintf("has %d characters; at most %d are allowed", n, most)
	}
	for _, c := range s {
		if unicode.IsControl(c) && !strings.ContainsRune(allowed, c) {
			return fmt.Sprintf("contains the control character %U", c)
		}
	}
	return ""
}
