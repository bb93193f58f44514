package hunt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"cairn/fsm"
)

// Parse reads a hunt from JSON. The error is TooLarge beyond MaxDocument, and
// else an *Error that lists every problem of the document.
func Parse(data []byte) (*Document, error) {
	return parse(data, readJSON)
}

// parse reads a document in the syntax of one reader. A reader returns either a
// tree, or the problem that kept it from making one.
func parse(data []byte, syntax func([]byte) (*node, *Problem)) (*Document, error) {
	if len(data) > MaxDocument {
		return nil, fsm.Errorf(fsm.TooLarge, "the hunt has %d bytes; at most %d are allowed", len(data), MaxDocument)
	}
	if !utf8.Valid(data) {
		return nil, Problems{{Detail: "is not valid UTF-8"}}.err()
	}
	root, problem := syntax(data)
	if problem != nil {
		return nil, Problems{*problem}.err()
	}
	r := reader{}
	d := r.document(root)
	if root.kind == objectNode {
		for _, p := range d.Validate() {
			if !r.explains(p.Path) {
				r.problems.add(root.lineOf(p.Path), p.Path, "%s", p.Detail)
			}
		}
	}
	if err := r.problems.err(); err != nil {
		return nil, err
	}
	return d, nil
}

// readJSON checks the syntax of the whole first: json.Decoder's tokens say less
// precisely what is wrong, and not at all that something follows the value.
func readJSON(data []byte) (*node, *Problem) {
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, jsonProblem(data, err)
	}
	b := jsonBuilder{data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: 1}
	b.dec.UseNumber()
	var root node
	if p := b.value(&root, 1); p != nil {
		return nil, p
	}
	return &root, nil
}

func jsonProblem(data []byte, err error) *Problem {
	syntax, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return &Problem{Detail: "is not JSON: " + err.Error()}
	}
	detail := "is not JSON: " + syntax.Error()
	if strings.Contains(detail, "unexpected end") {
		detail = "is not JSON: it ends in the middle"
	}
	seen := data[:min(int(syntax.Offset), len(data))]
	return &Problem{Detail: detail, Line: 1 + bytes.Count(seen, []byte("\n"))}
}

// jsonBuilder makes a tree from text whose syntax is known to be right.
type jsonBuilder struct {
	data   []byte
	dec    *json.Decoder
	off    int // up to where lines were counted
	line   int
	values int
}

// value reads one value into n.
func (b *jsonBuilder) value(n *node, depth int) *Problem {
	token, err := b.dec.Token()
	if err != nil {
		return &Problem{Detail: "is not JSON: " + err.Error(), Line: b.line}
	}
	end := int(b.dec.InputOffset())
	b.line += bytes.Count(b.data[b.off:end], []byte("\n"))
	b.off = end
	n.line = b.line
	b.values++
	if p := tooMuch(b.values, depth, b.line); p != nil {
		return p
	}
	switch v := token.(type) {
	case bool:
		n.kind, n.truth = boolNode, v
	case json.Number:
		n.kind, n.text = numberNode, v.String()
	case string:
		n.kind, n.text = textNode, v
	case json.Delim:
		n.kind = listNode
		if v == '{' {
			n.kind = objectNode
		}
		return b.inside(n, depth)
	}
	return nil
}

// inside reads the rest of a list or object whose opening token was read.
func (b *jsonBuilder) inside(n *node, depth int) *Problem {
	for b.dec.More() {
		if n.kind == objectNode {
			var key node
			if p := b.value(&key, depth); p != nil {
				return p
			}
			n.keys = append(n.keys, key.text)
		}
		n.elems = append(n.elems, node{})
		if p := b.value(&n.elems[len(n.elems)-1], depth+1); p != nil {
			return p
		}
	}
	if _, err := b.dec.Token(); err != nil {
		return &Problem{Detail: "is not JSON: " + err.Error(), Line: b.line}
	}
	return nil
}

// tooMuch refuses a tree that would be too large or too deep to walk.
func tooMuch(values, depth, line int) *Problem {
	switch {
	case values > MaxValues:
		return &Problem{Detail: fmt.Sprintf("has too many values; a hunt has at most %d", MaxValues), Line: line}
	case depth > MaxNesting:
		return &Problem{Detail: fmt.Sprintf("is nested too deeply; at most %d levels", MaxNesting), Line: line}
	}
	return nil
}
