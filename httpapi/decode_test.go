package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

func TestDecodeStrict(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"all is well", `{"name":"x","kind":"test"}`, ""},
		{"spaces", " {\n\"name\" : \"x\" } \r\n\t", ""},
		{"empty", "  ", "the body is empty; send a JSON object"},
		{"no object", `["name"]`, "the body must be a JSON object"},
		{"null", `null`, "the body must be a JSON object"},
		{"unknown", `{"name":"x","colour":1}`, "colour: is not a field of this request"},
		{"other case", `{"Name":"x"}`, "Name: is not a field of this request; name: is missing"},
		{"twice", `{"name":"x","name":"y"}`, "name: is given twice"},
		{"twice, written differently", `{"name":"x","na\u006de":"y"}`, "name: is given twice"},
		{"missing", `{}`, "name: is missing"},
		{"wrong types", `{"id":1,"name":["x"],"kind":true}`, "id: must be a string, not number; name: must be a string, not array; kind: must be a string, not bool"},
		{"null value", `{"name":null}`, "name: must not be null: leave it out instead"},
		{"after it", `{"name":"x"} 1`, "there is something after the JSON object"},
		{"brace after it", `{"name":"x"}}`, "there is something after the JSON object"},
		{"cut off", `{"name":"x"`, "the JSON ends too early"},
		{"cut off in a string", `{"name":"x`, "the JSON ends too early"},
		{"no colon", `{"name" "x"}`, "not valid JSON at byte 8: expected colon after object key"},
		{"not UTF-8", "{\"name\":\"\xff\"}", "the body is not valid UTF-8"},
	} {
		var in rest.NewTeam
		err := decodeStrict([]byte(tt.body), &in)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || err != nil && fsm.KindOf(err) != fsm.Invalid {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	var patch rest.TeamPatch
	for body, want := range map[string]string{
		`{"meta":{"a":[{"b":1,"b":2}]}}`:                                                           "meta.a[0].b: is given twice, or nests too deep",
		`{"meta":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`:                       "meta" + strings.Repeat("[0]", 65) + ": is given twice, or nests too deep",
		`{"meta":` + strings.Repeat("[", maxNesting) + "1" + strings.Repeat("]", maxNesting) + `}`: "",
	} {
		err := decodeStrict([]byte(body), &patch)
		if err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("%.40s: %v", body, err)
		}
	}
}

// TestMistakesComeTogether: all mistakes of a body are told at once, with paths.
func TestMistakesComeTogether(t *testing.T) {
	err := decodeStrict([]byte(`{"id":1,"colour":2}`), new(rest.NewTeam))
	e, ok := errors.AsType[*invalidError](err)
	if !ok {
		t.Fatal(err)
	}
	want := []rest.FieldError{
		{Path: "id", Detail: "must be a string, not number"},
		{Path: "colour", Detail: "is not a field of this request"},
		{Path: "name", Detail: "is missing"},
	}
	if !reflect.DeepEqual(e.fields, want) {
		t.Errorf("got %+v", e.fields)
	}
}

// The fast readers agree with the strict one, or pass.
func FuzzFastDecode(f *testing.F) {
	for _, s := range []string{
		`{"key":"k","team":"t","clue":"c","answer":"a"}`,
		`{"key":"k","team":"t","clue":"c","answer":"ä","at":"2022-08-26T22:03:28.028089Z"}`,
		`{"key":"k","team":"t","clue":"c","answer":"a","at":""}`,
		` { "clue" : "c" , "answer" : "a\n" } `, `{"clue":"c","answer":"a","player":"p"}`, `{"clue":"c","answer":"a",}`,
		`{"clue":"c","clue":"d","answer":"a"}`, `{"answer":"a"}`, `{}`, `{`, ``, `{"clue":"c","answer":"a"}x`, "{\"clue\":\"\x7f\",\"answer\":\"\xff\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		line, fastErr := decodeBatchLine(b)
		var strict rest.BatchLine
		if err := decodeStrict(b, &strict); (err == nil) != (fastErr == nil) || err == nil && !reflect.DeepEqual(line, strict) {
			t.Fatalf("%q: got %+v, %v; strictly %+v, %v", b, line, fastErr, strict, err)
		}
		sub, fastErr := decodeSubmission(b)
		var strictSub rest.NewSubmission
		if err := decodeStrict(b, &strictSub); (err == nil) != (fastErr == nil) || err == nil && sub != strictSub {
			t.Fatalf("%q: got %+v, %v; strictly %+v, %v", b, sub, fastErr, strictSub, err)
		}
	})
}

// What the strict reader takes, encoding/json reads the same way.
func FuzzDecodeStrict(f *testing.F) {
	for _, s := range []string{
		`{"name":"x","meta":{"a":1},"status":"hidden"}`, `{"meta":[1,{"b":{}}]}`, `{"name":null}`, `{"name":"\ud800"}`,
		`{"reason":"x","reason":"y"}`, `{"a":{"b":1,"b":2}}`, `[`, `{"name":"x"}{"name":"y"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, want rest.TeamPatch
		if decodeStrict(b, &got) != nil {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("%q: taken, but %v", b, err)
		}
		g, err1 := json.Marshal(got)
		w, err2 := json.Marshal(want)
		if err1 != nil || err2 != nil || !bytes.Equal(g, w) {
			t.Fatalf("%q: read as %s, want %s (%v, %v)", b, g, w, err1, err2)
		}
	})
}
