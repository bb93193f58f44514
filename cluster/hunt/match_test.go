package hunt

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"sync"
	"testing"

	"cairn/fsm"
	"cairn/fsm/partition"

	"pgregory.net/rapid"
)

const riddles = `{"id":"h","clues":[
	{"id":"mixed",
		"answers":["Foo", {"value":"Bar!","normalize":"exact","reply":"exactly"}, {"value":"foo","reply":"never said: Foo came first"}],
		"nudges":[{"value":"bar","reply":"mind the case"}, {"value":"baz","normalize":"trim","reply":"near"}, {"value":"BAZ","reply":"nearer"}]},
	{"id":"anchor", "answers":[{"value":"⚓","normalize":"trim"}, "anchor"]},
	{"id":"number", "answers":["1984"], "nudges":[{"value":"year","normalize":"letters"}]}]}`

func TestMatch(t *testing.T) {
	m := NewMatcher(mustParse(t, riddles))
	for _, tt := range []struct {
		clue, answer string
		want         partition.Match
		reply        string
	}{
		{"mixed", "f-o-o", partition.Correct, ""},
		{"mixed", "Bar!", partition.Correct, "exactly"},
		{"mixed", "Bar", partition.Nudged, "mind the case"},
		{"mixed", " baz ", partition.Nudged, "near"}, // both nudges fit; the first listed speaks
		{"mixed", "Baz", partition.Nudged, "nearer"},
		{"mixed", "foobar", partition.Wrong, ""},
		{"mixed", "🙂", partition.Wrong, ""},
		{"anchor", " ⚓ ", partition.Correct, ""},
		{"anchor", "ANCHOR", partition.Correct, ""},
		{"anchor", "🙂", partition.Wrong, ""},
		{"number", "1,984", partition.Correct, ""},
		{"number", "the 8th year", partition.Wrong, ""},
		{"number", "year 7", partition.Nudged, ""},
	} {
		got, _, reply, ok := m.Match(fsm.ClueID(tt.clue), tt.answer)
		if !ok || got != tt.want || reply != tt.reply {
			t.Errorf("%s %q: got %v %q %v, want %v %q", tt.clue, tt.answer, got, reply, ok, tt.want, tt.reply)
		}
	}
	if _, _, _, ok := m.Match("nowhere", "x"); ok {
		t.Error("a clue that does not exist was matched")
	}
}

// TestDigest: digests are in the log for ever, so their definition is, too.
func TestDigest(t *testing.T) {
	m := NewMatcher(mustParse(t, riddles))
	digest := func(clue, answer string) uint64 {
		_, d, _, _ := m.Match(fsm.ClueID(clue), answer)
		return d
	}
	sum := sha256.Sum256([]byte("wrong1"))
	if got, want := digest("mixed", "Wrong 1?"), binary.BigEndian.Uint64(sum[:]); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
	for _, tt := range []struct {
		clue, a, b string
		same       bool
	}{
		{"mixed", "Crème!", "creme", true},
		{"mixed", "a", "b", false},
		{"mixed", "🙂", "🙃", false}, // nothing is left of either, and yet they differ
		{"mixed", "🙂", " 🙂 ", true},
		{"mixed", "!", "🙂", false},
		{"anchor", "Creme", "creme", false}, // the first answer is trimmed only
		{"anchor", " creme", "creme ", true},
	} {
		if same := digest(tt.clue, tt.a) == digest(tt.clue, tt.b); same != tt.same {
			t.Errorf("%s: %q and %q have the same digest: %v, want %v", tt.clue, tt.a, tt.b, same, tt.same)
		}
	}
}

// TestMatchAgainstTwin compares the lookup with going through the lists.
func TestMatchAgainstTwin(t *testing.T) {
	answer := rapid.Custom(func(t *rapid.T) Answer {
		return Answer{
			Value:     rapid.StringOfN(rapid.SampledFrom([]rune("aAbBéß1 !")), 0, 3, -1).Draw(t, "value"),
			Normalize: Normalisation(rapid.IntRange(0, int(normalisationEnd)-1).Draw(t, "normalise")),
			Reply:     rapid.StringN(0, 2, -1).Draw(t, "reply"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		answers := rapid.SliceOfN(answer, 0, 5).Draw(t, "answers")
		nudges := rapid.SliceOfN(answer, 0, 5).Draw(t, "nudges")
		given := rapid.StringOfN(rapid.SampledFrom([]rune("aAbBéß1 !")), 1, 3, -1).Draw(t, "given")

		fits := func(a Answer) bool {
			form := a.Normalize.Apply(a.Value)
			return form != "" && form == a.Normalize.Apply(given)
		}
		want, wantReply := partition.Wrong, ""
		for i := len(nudges) - 1; i >= 0; i-- {
			if fits(nudges[i]) {
				want, wantReply = partition.Nudged, nudges[i].Reply
			}
		}
		for i := len(answers) - 1; i >= 0; i-- {
			if fits(answers[i]) {
				want, wantReply = partition.Correct, answers[i].Reply
			}
		}
		got, reply, _ := newClueMatcher(answers, nudges).match(given)
		if got != want || reply != wantReply {
			t.Fatalf("%q: got %v %q, want %v %q", given, got, reply, want, wantReply)
		}
	})
}

// TestMatcherIsShared is for the race detector.
func TestMatcherIsShared(t *testing.T) {
	m := NewMatcher(mustParse(t, riddles))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				for _, answer := range []string{"foo", "Straße ﬁ 등대", "x"} {
					if match, _, _, _ := m.Match("mixed", answer); (match == partition.Correct) != (answer == "foo") {
						t.Errorf("%q: got %v", answer, match)
					}
				}
			}
		})
	}
	all.Wait()
}

// TestMatchAllocates keeps the usual case free of garbage.
func TestMatchAllocates(t *testing.T) {
	m := NewMatcher(mustParse(t, riddles))
	if n := testing.AllocsPerRun(100, func() { m.Match("mixed", "A fairly long wrong answer, 42") }); n != 0 {
		t.Errorf("%v allocations to match an ASCII answer", n)
	}
}

func BenchmarkMatch(b *testing.B) {
	m := NewMatcher(mustParse(b, riddles))
	for _, bb := range []struct{ name, clue, answer string }{
		{"wrong", "number", "a wrong answer"},
		{"right", "number", "19-84"},
		{"three_normalisations", "mixed", "a wrong answer"},
		{"unicode", "number", "Ὀδυσσεύς Straße"},
		{"longest", "number", strings.Repeat("x", MaxAnswerChars)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Match(fsm.ClueID(bb.clue), bb.answer)
			}
		})
	}
}
