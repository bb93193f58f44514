package hunt

import (
	"strconv"
	"strings"
)

// node is a value of a document, whatever the syntax it was written in. Lines
// are kept so that a problem found much later can say where it is.
type node struct {
	kind  nodeKind
	line  int
	text  string   // a text's value, a number's literal
	truth bool     // a boolean's value
	keys  []string // of an object, in the order of the source, duplicates included
	elems []node   // of a list, or the values of an object
}

type nodeKind uint8

const (
	nullNode nodeKind = iota
	boolNode
	numberNode
	textNode
	listNode
	objectNode
)

func (k nodeKind) String() string {
	return [...]string{"null", "true or false", "a number", "a text", "a list", "an object"}[k]
}

// lineOf returns the line of the value at a path, or of the innermost value on
// the way to it that exists: a missing field is reported where it should be.
func (n *node) lineOf(path string) int {
	for path != "" {
		step, rest := cutStep(path)
		child := n.child(step)
		if child == nil {
			break
		}
		n, path = child, rest
	}
	return n.line
}

// cutStep cuts "a[0].b" into "a" and "[0].b", and "[0].b" into "[0]" and "b".
func cutStep(path string) (step, rest string) {
	if path[0] == '[' {
		end := strings.IndexByte(path, ']') + 1
		return path[:end], strings.TrimPrefix(path[end:], ".")
	}
	if i := strings.IndexAny(path, ".["); i >= 0 {
		return path[:i], strings.TrimPrefix(path[i:], ".")
	}
	return path, ""
}

// child returns the value one step down: a field's name, or an index in brackets.
func (n *node) child(step string) *node {
	if strings.HasPrefix(step, "[") {
		i, err := strconv.Atoi(strings.Trim(step, "[]"))
		if err != nil || n.kind != listNode || i >= len(n.elems) {
			return nil
		}
		return &n.elems[i]
	}
	for i, key := range n.keys {
		if key == step {
			return &n.elems[i]
		}
	}
	return nil
}

// under joins a path and the name of a field.
func under(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// at joins a path and an index.
func at(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
