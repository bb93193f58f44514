package hunt

import (
	"encoding/json"
	"slices"
	"strconv"

	"cairn/fsm"
	"cairn/fsm/partition"
)

// JSON returns the document's canonical form: fields in the order of Document,
// what is the default left out, a text answer and a solved clue in their short
// form, no white space. Two documents that mean the same have the same bytes,
// and Parse of them gives the same document again.
func (d *Document) JSON() []byte {
	w := writer{b: make([]byte, 0, 4096)}
	w.object(func() {
		w.text("id", string(d.ID), "")
		w.text("title", d.Title, "")
		w.text("description", d.Description, "")
		if !d.Public {
			w.raw("public", "false")
		}
		if d.OpenRegistration {
			w.raw("registration", `"open"`)
		}
		w.text("state", d.State, states[partition.Open])
		w.time("starts_at", d.StartsAt)
		w.time("ends_at", d.EndsAt)
		if d.UnrankedAfterEnd {
			w.raw("after_end", `"unranked"`)
		}
		if !slices.Equal(d.Ranking, defaultRanking) {
			elements(&w, "ranking", d.Ranking, func(s *string) { w.quote(*s) })
		}
		w.text("finish_clue", string(d.FinishClue), "")
		elements(&w, "rounds", d.Rounds, w.round)
		elements(&w, "clues", d.Clues, w.clue)
	})
	return w.b
}

// writer appends JSON. Every field but the first of an object, and every element
// but the first of a list, is preceded by a comma: the byte before tells.
type writer struct{ b []byte }

func (w *writer) round(r *Round) {
	w.object(func() {
		w.text("id", r.ID, "")
		w.text("title", r.Title, "")
		w.unlock(&r.Unlock)
	})
}

func (w *writer) clue(c *Clue) {
	w.object(func() {
		w.text("id", string(c.ID), "")
		w.text("round", c.Round, "")
		w.text("title", c.Title, "")
		w.text("prompt", c.Prompt, "")
		w.text("solution", c.Solution, "")
		w.number("points", c.Points)
		elements(w, "answers", c.Answers, w.answer)
		elements(w, "nudges", c.Nudges, w.answer)
		w.unlock(&c.Unlock)
		elements(w, "hints", c.Hints, w.hint)
		if c.AttemptLimit != 0 {
			w.name("attempts")
			w.object(func() { w.number("limit", int64(c.AttemptLimit)) })
		}
	})
}

func (w *writer) answer(a *Answer) {
	if a.Normalize == Alnum && a.Reply == "" {
		w.quote(a.Value)
		return
	}
	w.object(func() {
		w.text("value", a.Value, "")
		w.text("normalize", a.Normalize.String(), Alnum.String())
		w.text("reply", a.Reply, "")
	})
}

func (w *writer) hint(h *Hint) {
	w.object(func() {
		w.text("id", h.ID, "")
		w.text("text", h.Text, "")
		w.number("cost", h.Cost)
	})
}

func (w *writer) unlock(c *Condition) {
	if c.Op != partition.Always {
		w.name("unlock")
		w.condition(c)
	}
}

func (w *writer) condition(c *Condition) {
	if c.Op == partition.Solved {
		w.quote(string(c.Clue))
		return
	}
	w.object(func() {
		switch c.Op {
		case partition.All:
			elements(w, "all", c.Of, w.condition)
		case partition.Any:
			elements(w, "any", c.Of, w.condition)
		default:
			w.number("at_least", int64(c.K))
			elements(w, "of", c.Of, w.condition)
			w.text("round", c.Round, "")
		}
	})
}

func (w *writer) object(fields func()) {
	w.b = append(w.b, '{')
	fields()
	w.b = append(w.b, '}')
}

// elements writes a list as a field, or nothing if it is empty.
func elements[T any](w *writer, name string, list []T, element func(*T)) {
	if len(list) == 0 {
		return
	}
	w.name(name)
	w.b = append(w.b, '[')
	for i := range list {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		element(&list[i])
	}
	w.b = append(w.b, ']')
}

func (w *writer) name(name string) {
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.quote(name)
	w.b = append(w.b, ':')
}

func (w *writer) raw(name, value string) {
	w.name(name)
	w.b = append(w.b, value...)
}

// text, number and time leave a default out: usual, zero, absent.
func (w *writer) text(name, value, usual string) {
	if value != usual {
		w.name(name)
		w.quote(value)
	}
}

func (w *writer) number(name string, value int64) {
	if value != 0 {
		w.raw(name, strconv.FormatInt(value, 10))
	}
}

func (w *writer) time(name string, t fsm.Time) {
	if t != 0 {
		w.text(name, t.String(), "")
	}
}

func (w *writer) quote(s string) {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // Markdown stays readable
	if err := e.Encode(s); err != nil {
		panic("hunt: a string cannot be encoded: " + err.Error())
	}
	w.b = w.b[:len(w.b)-1] // the encoder ends with a line break
}

// Write appends p, for the encoder.
func (w *writer) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}
