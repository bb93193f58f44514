package rest

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"cairn/fsm"
)

// BatchError is a line of submissions:batch's answer for a line that has no
// result. Key is the line's key, empty if it could not be read.
type BatchError struct {
	Key   string  `json:"key"`
	Error Problem `json:"error"`
}

// MarshalJSON writes the submission, or a BatchError.
func (r BatchResult) MarshalJSON() ([]byte, error) {
	if r.Error != nil {
		return json.Marshal(BatchError{r.LineKey, *r.Error})
	}
	return json.Marshal(r.Submission)
}

// UnmarshalJSON reads what MarshalJSON writes; LineKey is set in both cases.
func (r *BatchResult) UnmarshalJSON(b []byte) error {
	var line struct {
		Submission
		Error *Problem `json:"error"`
	}
	if err := json.Unmarshal(b, &line); err != nil {
		return err
	}
	*r = BatchResult{LineKey: line.Key, Error: line.Error}
	if line.Error == nil {
		r.Submission = &line.Submission
	}
	return nil
}

// AppendSubmission appends s as JSON. The bytes are those of encoding/json
// without HTML escaping; this path carries every submission, and reflection
// would cost more than judging one.
func AppendSubmission(b []byte, s *Submission) []byte {
	b = appendField(b, `{"submission":`, s.Submission)
	b = appendField(b, `,"key":`, s.Key)
	b = appendField(b, `,"verdict":`, s.Verdict)
	b = appendField(b, `,"clue":`, string(s.Clue))
	b = append(b, `,"at":`...)
	b = appendTime(b, s.At)
	b = append(b, `,"hunt_version":`...)
	b = strconv.AppendUint(b, s.HuntVersion, 10)
	b = append(b, `,"points":`...)
	b = strconv.AppendInt(b, s.Points, 10)
	b = append(b, `,"score":`...)
	b = strconv.AppendInt(b, s.Score, 10)
	b = append(b, `,"solves":`...)
	b = strconv.AppendUint(b, uint64(s.Solves), 10)
	b = append(b, `,"attempts":`...)
	b = strconv.AppendUint(b, uint64(s.Attempts), 10)
	if s.AttemptsLeft != nil {
		b = append(b, `,"attempts_left":`...)
		b = strconv.AppendUint(b, uint64(*s.AttemptsLeft), 10)
	}
	if s.NextAttemptAt != nil {
		b = append(b, `,"next_attempt_at":`...)
		b = appendTime(b, *s.NextAttemptAt)
	}
	if s.Reply != "" {
		b = appendField(b, `,"reply":`, s.Reply)
	}
	b = append(b, `,"unlocked":[`...)
	for i, id := range s.Unlocked {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(b, string(id))
	}
	b = append(b, `],"ranked":`...)
	b = strconv.AppendBool(b, s.Ranked)
	b = append(b, `,"replayed":`...)
	b = strconv.AppendBool(b, s.Replayed)
	if s.Answer != "" {
		b = appendField(b, `,"answer":`, s.Answer)
	}
	if s.Player != "" {
		b = appendField(b, `,"player":`, s.Player)
	}
	return append(b, '}')
}

// AppendBatchLine appends l as one line of submissions:batch, without the
// newline.
func AppendBatchLine(b []byte, l *BatchLine) []byte {
	b = appendField(b, `{"key":`, l.Key)
	b = appendField(b, `,"team":`, string(l.Team))
	b = appendField(b, `,"clue":`, string(l.Clue))
	b = appendField(b, `,"answer":`, l.Answer)
	if l.At != nil {
		b = append(b, `,"at":`...)
		b = appendTime(b, *l.At)
	}
	return append(b, '}')
}

func appendField(b []byte, name, value string) []byte {
	return AppendString(append(b, name...), value)
}

func appendTime(b []byte, t fsm.Time) []byte {
	b = append(b, '"')
	b = t.Std().AppendFormat(b, fsm.TimeLayout)
	return append(b, '"')
}

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD; U+2028 and U+2029 are escaped, as encoding/json does.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0 // of what is not yet appended
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && n == 1:
				b = append(append(b, s[start:i]...), `\ufffd`...)
				start = i + n
			case r == '\u2028' || r == '\u2029':
				b = append(append(b, s[start:i]...), `\u202`...)
				b = append(b, "0123456789abcdef"[r&0xf])
				start = i + n
			}
			i += n
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		b = appendEscape(append(b, s[start:i]...), c)
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	const hex = "0123456789abcdef"
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
}
