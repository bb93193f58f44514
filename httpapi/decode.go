package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

// maxNesting bounds how deep a body may nest: the walk over it recurses.
const maxNesting = 64

// bodies holds buffers for request bodies; large ones are not kept.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const maxPooledBody = 64 << 10

// withBody reads the whole body, at most limit bytes, and passes it to use, which
// must not keep it.
func (c *call) withBody(limit int64, use func([]byte) error) error {
	buf := bodies.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxPooledBody {
			buf.Reset()
			bodies.Put(buf)
		}
	}()
	if enc := c.r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return invalid("Content-Encoding", "send the body uncompressed")
	}
	if c.r.ContentLength > limit {
		return tooLarge(limit)
	}
	_, err := buf.ReadFrom(http.MaxBytesReader(c.w, c.r.Body, limit))
	if err != nil {
		return bodyError(err, limit)
	}
	return use(buf.Bytes())
}

func tooLarge(limit int64) error {
	return fsm.Errorf(fsm.TooLarge, "the body is larger than %d bytes", limit)
}

// bodyError classifies why a body could not be read: all of it is the sender's
// doing, and nothing was done.
func bodyError(err error, limit int64) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return invalid("", "the body did not arrive in time; nothing was done")
	}
	return invalid("", "the body was cut off; nothing was done")
}

// decodeBody reads the body into v, a pointer to a struct of package rest.
func (c *call) decodeBody(v any) error {
	return c.withBody(MaxBody, func(b []byte) error { return decodeStrict(b, v) })
}

// decodeStrict decodes one JSON object into v, a pointer to a struct, and
// refuses what encoding/json lets pass: unknown fields and fields in another
// case, fields given twice at any depth, null, bytes that are not UTF-8, and
// anything after the object. Fields without omitempty are required. All mistakes
// of one body are reported together, each with its path.
func decodeStrict(data []byte, v any) error {
	if !utf8.Valid(data) {
		return invalid("", "the body is not valid UTF-8")
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return invalid("", "the body is empty; send a JSON object")
	}
	d := strictDecoder{dec: json.NewDecoder(bytes.NewReader(data))}
	d.dec.UseNumber()
	if err := d.object(reflect.ValueOf(v).Elem()); err != nil {
		return invalid("", syntaxDetail(err, d.dec.InputOffset()))
	}
	if _, err := d.dec.Token(); err != io.EOF {
		return invalid("", "there is something after the JSON object")
	}
	if len(d.mistakes) > 0 {
		return &invalidError{d.mistakes}
	}
	return nil
}

type strictDecoder struct {
	dec      *json.Decoder
	mistakes []rest.FieldError
}

func (d *strictDecoder) mistake(path, format string, args ...any) {
	d.mistakes = append(d.mistakes, rest.FieldError{Path: path, Detail: fmt.Sprintf(format, args...)})
}

var errNotObject = errors.New("the body must be a JSON object")

// object reads the object into the fields of v. The error is of syntax.
func (d *strictDecoder) object(v reflect.Value) error {
	if t, err := d.dec.Token(); err != nil {
		return err
	} else if t != json.Delim('{') {
		return errNotObject
	}
	seen := map[string]bool{}
	for d.dec.More() {
		t, err := d.dec.Token()
		if err != nil {
			return err
		}
		name := t.(string) // More and the decoder's grammar leave only a key here
		var raw json.RawMessage
		if err := d.dec.Decode(&raw); err != nil {
			return err
		}
		field, known := fieldByName(v, name)
		switch {
		case seen[name]:
			d.mistake(name, "is given twice")
		case !known:
			d.mistake(name, "is not a field of this request")
		default:
			d.value(name, field, raw)
		}
		seen[name] = true
	}
	if _, err := d.dec.Token(); err != nil { // the closing brace
		return err
	}
	for f := range v.Type().Fields() {
		if name, required := jsonName(f); required && !seen[name] {
			d.mistake(name, "is missing")
		}
	}
	return nil
}

func (d *strictDecoder) value(name string, field reflect.Value, raw json.RawMessage) {
	if string(raw) == "null" {
		d.mistake(name, "must not be null: leave it out instead")
		return
	}
	if path := duplicateIn(raw, name); path != "" {
		d.mistake(path, "is given twice, or nests too deep")
		return
	}
	if err := json.Unmarshal(raw, field.Addr().Interface()); err != nil {
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			d.mistake(name, "must be %s, not %s", wanted(field.Type()), e.Value)
			return
		}
		d.mistake(name, "must be %s", wanted(field.Type()))
	}
}

// jsonName is a field's name in JSON, and whether it must be there.
func jsonName(f reflect.StructField) (name string, required bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name, !strings.Contains(options, "omitempty")
}

func fieldByName(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if n, _ := jsonName(v.Type().Field(i)); n == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// wanted names a type as its user would.
func wanted(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[fsm.Time]():
		return "a time like 2026-08-26T22:02:00Z"
	case t.Kind() == reflect.String:
		return "a string"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Uint32:
		return "a whole number, at least 0"
	}
	return "a JSON value"
}

// duplicateIn returns the path of the first field that is given twice within
// raw, a valid value, or that nests too deep; empty if there is none.
func duplicateIn(raw []byte, path string) string {
	if len(raw) == 0 || raw[0] != '{' && raw[0] != '[' {
		return ""
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	return duplicate(dec, path, 0)
}

func duplicate(dec *json.Decoder, path string, depth int) string {
	t, err := dec.Token()
	if err != nil || depth > maxNesting {
		return path
	}
	open, ok := t.(json.Delim)
	if !ok {
		return ""
	}
	seen := map[string]bool{}
	for i := 0; dec.More(); i++ {
		at := fmt.Sprintf("%s[%d]", path, i)
		if open == '{' {
			key, err := dec.Token()
			if err != nil {
				return path
			}
			name := key.(string)
			at = path + "." + name
			if seen[name] {
				return at
			}
			seen[name] = true
		}
		if bad := duplicate(dec, at, depth+1); bad != "" {
			return bad
		}
	}
	if _, err := dec.Token(); err != nil {
		return path
	}
	return ""
}

// syntaxDetail says where and why a body is not JSON.
func syntaxDetail(err error, offset int64) string {
	if errors.Is(err, errNotObject) {
		return err.Error()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the JSON ends too early"
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("not valid JSON at byte %d: %s", e.Offset, e.Error())
	}
	return fmt.Sprintf("not valid JSON at byte %d", offset)
}
