package rest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"cairn/fsm"
)

// reflected is what encoding/json makes of v without HTML escaping.
func reflected(t *rapid.T, v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// nasty draws strings that need escapes, or are not UTF-8.
var nasty = rapid.OneOf(
	rapid.String(),
	rapid.StringOf(rapid.SampledFrom([]rune("\x00\x1f\b\f\n\r\t\"\\/<>&\u2028\u2029\ufffd aé😀"))),
	rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
)

func optional[T any](t *rapid.T, g *rapid.Generator[T], name string) *T {
	if rapid.Bool().Draw(t, "has "+name) {
		v := g.Draw(t, name)
		return &v
	}
	return nil
}

var times = rapid.Map(rapid.Int64Range(0, 253402300799_999999), func(n int64) fsm.Time { return fsm.Time(n) })

func TestAppendSubmission(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Submission{
			Submission: nasty.Draw(t, "submission"), Key: nasty.Draw(t, "key"), Verdict: nasty.Draw(t, "verdict"),
			Clue: fsm.ClueID(nasty.Draw(t, "clue")), At: times.Draw(t, "at"), HuntVersion: rapid.Uint64().Draw(t, "version"),
			Points: rapid.Int64().Draw(t, "points"), Score: rapid.Int64().Draw(t, "score"),
			Solves: rapid.Uint32().Draw(t, "solves"), Attempts: rapid.Uint32().Draw(t, "attempts"),
			AttemptsLeft: optional(t, rapid.Uint32(), "left"), NextAttemptAt: optional(t, times, "next"),
			Reply: nasty.Draw(t, "reply"), Unlocked: []fsm.ClueID{},
			Ranked: rapid.Bool().Draw(t, "ranked"), Replayed: rapid.Bool().Draw(t, "replayed"),
			Answer: nasty.Draw(t, "answer"), Player: nasty.Draw(t, "player"),
		}
		for _, u := range rapid.SliceOfN(nasty, 0, 3).Draw(t, "unlocked") {
			s.Unlocked = append(s.Unlocked, fsm.ClueID(u))
		}
		if got, want := AppendSubmission(nil, &s), reflected(t, &s); !bytes.Equal(got, want) {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestAppendBatchLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := BatchLine{
			Key: nasty.Draw(t, "key"), Team: fsm.TeamID(nasty.Draw(t, "team")), Clue: fsm.ClueID(nasty.Draw(t, "clue")),
			Answer: nasty.Draw(t, "answer"), At: optional(t, times, "at"),
		}
		if got, want := AppendBatchLine(nil, &l), reflected(t, &l); !bytes.Equal(got, want) {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestBatchResultRoundTrip(t *testing.T) {
	left := uint32(2)
	for _, want := range []BatchResult{
		{LineKey: "k", Error: &Problem{Type: "t", Title: "T", Status: 404, Code: "not_found", Detail: "d"}},
		{LineKey: "", Error: &Problem{Type: "t", Title: "T", Status: 400, Code: "invalid"}},
		{LineKey: "k", Submission: &Submission{Submission: "7", Key: "k", Verdict: "correct", AttemptsLeft: &left, Unlocked: []fsm.ClueID{"a"}}},
	} {
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got BatchResult
		if err := json.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s came back as %+v, %v", b, got, err)
		}
	}
}
