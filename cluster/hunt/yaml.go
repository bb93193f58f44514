package hunt

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// ParseYAML reads a hunt from YAML: the same document in another syntax, read
// as strictly. One document a file; no anchors, aliases, merge keys and tags, so
// that what is read is what is written. A text that looks like a number, true,
// false or null needs quotes. The errors are those of Parse.
func ParseYAML(data []byte) (*Document, error) {
	return parse(data, readYAML)
}

func readYAML(data []byte) (*node, *Problem) {
	tokens := lexer.Tokenize(string(data))
	if p := refuse(tokens); p != nil {
		return nil, p
	}
	// Fields given twice are found by reader, in every syntax alike.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, yamlProblem(err)
	}
	docs := file.Docs
	switch {
	case len(docs) == 0 || docs[0].Body == nil:
		return nil, &Problem{Detail: "is empty"}
	case len(docs) > 1 && docs[1].Body != nil:
		return nil, &Problem{Detail: "is more than one YAML document", Line: lineOf(docs[1].Body)}
	}
	var root node
	b := yamlBuilder{}
	if p := b.value(&root, docs[0].Body, 1); p != nil {
		return nil, p
	}
	return &root, nil
}

// refuse looks at the tokens before the parser does, which recurses, and takes
// quadratic time, where constructs of YAML are piled up that no hunt needs.
func refuse(tokens token.Tokens) *Problem {
	brackets, dashes := 0, 0
	for _, t := range tokens {
		line := t.Position.Line
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		case token.TagType, token.AnchorType, token.AliasType, token.MergeKeyType, token.MappingKeyType, token.DirectiveType:
			return &Problem{Detail: fmt.Sprintf("YAML's %s is not supported in a hunt; write the value out", quote(t.Value)), Line: line}
		}
		if t.Type == token.SequenceEntryType {
			dashes++ // "- - -" nests without indentation
		} else {
			dashes = 0
		}
		if p := tooMuch(0, max(brackets, dashes), line); p != nil {
			return p
		}
	}
	return nil
}

func yamlProblem(err error) *Problem {
	p := &Problem{Detail: "is not YAML: " + err.Error()}
	if syntax, ok := errors.AsType[yaml.Error](err); ok {
		p.Detail = "is not YAML: " + syntax.GetMessage()
		if t := syntax.GetToken(); t != nil && t.Position != nil {
			p.Line = t.Position.Line
		}
	}
	return p
}

func lineOf(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

// yamlBuilder makes a tree from a parsed document.
type yamlBuilder struct{ values int }

func (b *yamlBuilder) value(n *node, from ast.Node, depth int) *Problem {
	n.line = lineOf(from)
	b.values++
	if p := tooMuch(b.values, depth, n.line); p != nil {
		return p
	}
	switch v := from.(type) {
	case *ast.NullNode:
		n.kind = nullNode
	case *ast.BoolNode:
		n.kind, n.truth, n.text = boolNode, v.Value, v.Token.Value
	case *ast.IntegerNode:
		n.kind, n.text = numberNode, v.Token.Value
	case *ast.FloatNode:
		n.kind, n.text = numberNode, v.Token.Value
	case *ast.InfinityNode:
		n.kind, n.text = numberNode, v.Token.Value
	case *ast.NanNode:
		n.kind, n.text = numberNode, v.Token.Value
	case *ast.StringNode:
		n.kind, n.text = textNode, v.Value
	case *ast.LiteralNode:
		n.kind, n.text = textNode, v.Value.Value
	case *ast.SequenceNode:
		n.kind, n.elems = listNode, make([]node, len(v.Values))
		for i, element := range v.Values {
			if p := b.value(&n.elems[i], element, depth+1); p != nil {
				return p
			}
		}
	case *ast.MappingNode:
		return b.fields(n, v.Values, depth)
	case *ast.MappingValueNode:
		return b.fields(n, []*ast.MappingValueNode{v}, depth)
	default:
		return &Problem{Detail: fmt.Sprintf("YAML's %v is not supported in a hunt; write the value out", from.Type()), Line: n.line}
	}
	return nil
}

func (b *yamlBuilder) fields(n *node, from []*ast.MappingValueNode, depth int) *Problem {
	n.kind = objectNode
	n.keys, n.elems = make([]string, len(from)), make([]node, len(from))
	for i, pair := range from {
		key, ok := pair.Key.(*ast.StringNode)
		if !ok {
			return &Problem{Detail: "a field's name must be a plain word", Line: lineOf(pair)}
		}
		n.keys[i] = key.Value
		if p := b.value(&n.elems[i], pair.Value, depth+1); p != nil {
			return p
		}
	}
	return nil
}
