package hunt

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cairn/fsm"
	"cairn/fsm/partition"
)

// reader turns a tree into a document. It judges shape: which fields there are,
// and of which type. What the values mean is judged by Validate, which does not
// ask where the document came from.
type reader struct{ problems Problems }

// field reads one value.
type field func(n *node, path string)

func (r *reader) problem(n *node, path, format string, args ...any) {
	r.problems.add(n.line, path, format, args...)
}

// explains reports whether a problem found in the shape lies at, above or below
// path: then whatever Validate finds there is most likely its consequence.
func (r *reader) explains(path string) bool {
	return slices.ContainsFunc(r.problems, func(p Problem) bool {
		return within(p.Path, path) || within(path, p.Path)
	})
}

// within reports whether inner is outer or lies inside it. The empty path, of
// the document itself, contains no other: an unknown field at the top explains
// nothing further down.
func within(inner, outer string) bool {
	rest, ok := strings.CutPrefix(inner, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

func (r *reader) document(n *node) *Document {
	d := newDocument()
	r.object(n, "", map[string]field{
		"id":           text(r, &d.ID),
		"title":        text(r, &d.Title),
		"description":  text(r, &d.Description),
		"public":       r.truth(&d.Public),
		"registration": r.choice(&d.OpenRegistration, "closed", "open"),
		"state":        text(r, &d.State),
		"starts_at":    r.time(&d.StartsAt),
		"ends_at":      r.time(&d.EndsAt),
		"after_end":    r.choice(&d.UnrankedAfterEnd, "reject", "unranked"),
		"freeze_at":    r.later,
		"reveal":       r.later,
		"ranking":      r.ranking(&d.Ranking),
		"finish_clue":  text(r, &d.FinishClue),
		"rounds":       list(r, &d.Rounds, r.round),
		"clues":        list(r, &d.Clues, r.clue),
	})
	return d
}

func (r *reader) round(to *Round, n *node, path string) {
	r.object(n, path, map[string]field{
		"id":     text(r, &to.ID),
		"title":  text(r, &to.Title),
		"unlock": r.unlock(&to.Unlock),
	})
}

func (r *reader) clue(to *Clue, n *node, path string) {
	r.object(n, path, map[string]field{
		"id":       text(r, &to.ID),
		"round":    text(r, &to.Round),
		"title":    text(r, &to.Title),
		"prompt":   text(r, &to.Prompt),
		"solution": text(r, &to.Solution),
		"points":   integer(r, &to.Points),
		"answers":  list(r, &to.Answers, r.answer),
		"nudges":   list(r, &to.Nudges, r.answer),
		"unlock":   r.unlock(&to.Unlock),
		"hints":    list(r, &to.Hints, r.hint),
		"attempts": r.attempts(&to.AttemptLimit),
	})
}

// answer reads a bare text or {"kind","value","normalize","reply"}. The kinds
// to come have fields of their own, which are known here by name only.
func (r *reader) answer(to *Answer, n *node, path string) {
	if n.kind == textNode {
		to.Value = n.text
		return
	}
	if kind := n.child("kind"); kind != nil && slices.Contains([]string{"regex", "number", "geo", "secret"}, kind.text) {
		r.problem(kind, path, "answers of kind %s are %s", kind.text, notYet)
		return
	}
	if n.kind != objectNode {
		r.problem(n, path, "is %v; it must be a text in quotes, or an object with a value", n.kind)
		return
	}
	kind := "text"
	r.object(n, path, map[string]field{
		"kind":      text(r, &kind),
		"value":     text(r, &to.Value),
		"normalize": r.normalisation(&to.Normalize),
		"reply":     text(r, &to.Reply),
	})
	if kind != "text" {
		r.problem(n, under(path, "kind"), "is %s; the kind of an answer is text", quote(kind))
	}
}

func (r *reader) hint(to *Hint, n *node, path string) {
	r.object(n, path, map[string]field{
		"id":    text(r, &to.ID),
		"text":  text(r, &to.Text),
		"cost":  integer(r, &to.Cost),
		"after": r.later,
	})
}

func (r *reader) attempts(to *int) field {
	return func(n *node, path string) {
		r.object(n, path, map[string]field{"limit": r.limit(to), "cooldown": r.later})
	}
}

// limit reads an attempt limit. Zero would read as "no attempt at all" to one
// person and "no limit" to another, so it is refused here, where it can still be
// told from an absent one.
func (r *reader) limit(to *int) field {
	return func(n *node, path string) {
		integer(r, to)(n, path)
		if n.kind == numberNode && *to == 0 {
			r.problem(n, path, "must be from 1 to %d; leave it out for no limit", MaxAttempts)
		}
	}
}

// unlock reads a condition. Its form is told by the fields it has.
func (r *reader) unlock(to *Condition) field {
	return func(n *node, path string) { r.condition(to, n, path) }
}

func (r *reader) condition(to *Condition, n *node, path string) {
	if n.kind == textNode {
		*to = Condition{Op: partition.Solved, Clue: fsm.ClueID(n.text)}
		return
	}
	for _, word := range []string{"after", "since", "since_unlock"} {
		if time := n.child(word); time != nil {
			r.problem(time, path, "conditions on time are %s", notYet)
			return
		}
	}
	if n.kind != objectNode {
		r.problem(n, path, "is %v; it must be a clue's id or a condition", n.kind)
		return
	}
	ops := map[string]partition.CondOp{
		"solved": partition.Solved, "all": partition.All, "any": partition.Any,
		"at_least of": partition.AtLeast, "at_least round": partition.AtLeast,
	}
	op, ok := ops[strings.Join(slices.Sorted(slices.Values(n.keys)), " ")]
	if !ok {
		r.problem(n, path, `must be a clue's id or one of {"solved":CLUE}, {"all":[…]}, {"any":[…]}, `+
			`{"at_least":k,"of":[…]}, {"at_least":k,"round":ROUND}`)
		return
	}
	to.Op = op
	of := list(r, &to.Of, r.condition)
	r.object(n, path, map[string]field{
		"solved": text(r, &to.Clue), "all": of, "any": of,
		"at_least": integer(r, &to.K), "of": of, "round": text(r, &to.Round),
	})
}

// object reads an object of known fields.
func (r *reader) object(n *node, path string, known map[string]field) {
	if n.kind != objectNode {
		r.wrongType(n, path, objectNode)
		return
	}
	for i, key := range n.keys {
		value := &n.elems[i]
		read, ok := known[key]
		switch {
		case !ok:
			r.problem(value, path, "unknown field %s", quote(key))
		case slices.Contains(n.keys[:i], key):
			r.problem(value, under(path, key), "is given twice")
		default:
			read(value, under(path, key))
		}
	}
}

// list reads a list whose elements are read by one function. An element with a
// problem keeps its place, so that the paths of the others stay true.
func list[T any](r *reader, to *[]T, element func(*T, *node, string)) field {
	return func(n *node, path string) {
		if n.kind != listNode {
			r.wrongType(n, path, listNode)
			return
		}
		*to = make([]T, len(n.elems))
		for i := range n.elems {
			element(&(*to)[i], &n.elems[i], at(path, i))
		}
	}
}

func text[T ~string](r *reader, to *T) field {
	return func(n *node, path string) {
		if n.kind != textNode {
			r.wrongType(n, path, textNode)
			return
		}
		*to = T(n.text)
	}
}

func integer[T ~int | ~int64](r *reader, to *T) field {
	return func(n *node, path string) {
		if n.kind != numberNode {
			r.wrongType(n, path, numberNode)
			return
		}
		v, err := strconv.ParseInt(n.text, 10, 64)
		if err != nil || strconv.FormatInt(v, 10) != n.text { // YAML has 010 and 0x10
			r.problem(n, path, "is %s; it must be a whole number in plain digits", quote(n.text))
			return
		}
		*to = T(v)
	}
}

func (r *reader) truth(to *bool) field {
	return func(n *node, path string) {
		if n.kind != boolNode {
			r.wrongType(n, path, boolNode)
			return
		}
		*to = n.truth
	}
}

// choice reads one of two words: no is the default.
func (r *reader) choice(to *bool, no, yes string) field {
	return func(n *node, path string) {
		if n.text != no && n.text != yes || n.kind != textNode {
			r.problem(n, path, "must be %q or %q", no, yes)
			return
		}
		*to = n.text == yes
	}
}

func (r *reader) time(to *fsm.Time) field {
	return func(n *node, path string) {
		if n.kind != textNode {
			r.wrongType(n, path, textNode)
		} else if err := to.UnmarshalText([]byte(n.text)); err != nil {
			r.problem(n, path, "is not a time in RFC 3339, as in 2026-05-01T18:00:00Z")
		} else if *to <= 0 {
			r.problem(n, path, "is before 1970")
		}
	}
}

func (r *reader) normalisation(to *Normalisation) field {
	return func(n *node, path string) {
		v, ok := parseNormalisation(n.text)
		if !ok || n.kind != textNode {
			r.problem(n, path, "must be one of %s", strings.Join(normalisations[:], ", "))
			return
		}
		*to = v
	}
}

func (r *reader) ranking(to *[]string) field {
	return list(r, to, func(to *string, n *node, path string) { text(r, to)(n, path) })
}

// notYet is said of what the API has a name for and this version does not do.
const notYet = "not supported by this version yet"

// later refuses such a field.
func (r *reader) later(n *node, path string) { r.problem(n, path, "is %s; leave it out", notYet) }

func (r *reader) wrongType(n *node, path string, want nodeKind) {
	switch {
	case n.kind == nullNode:
		r.problem(n, path, "has no value; give one or leave it out")
	case want == textNode && n.text != "":
		r.problem(n, path, "is %v; it must be a text: put it in quotes", n.kind)
	default:
		r.problem(n, path, "is %v; it must be %v", n.kind, want)
	}
}

// quote shows what a user wrote, cut to a length that suits a message.
func quote(s string) string {
	const shown = 64
	if len(s) > shown {
		s = strings.ToValidUTF8(s[:shown], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
