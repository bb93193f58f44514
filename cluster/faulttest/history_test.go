package faulttest

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/fsm/partition"
)

// TestDocumentIsAHunt: the product takes the quiz, and judges it as the model does.
func TestDocumentIsAHunt(t *testing.T) {
	for _, number := range []int{0, 7, 123} {
		doc, err := hunt.Parse(Document(number))
		if err != nil {
			t.Fatal(err)
		}
		if NumberOf(doc.Title) != number || doc.ID != HuntID || len(doc.Clues) != clues {
			t.Errorf("document %d: %q, %s, %d clues", number, doc.Title, doc.ID, len(doc.Clues))
		}
		m := hunt.NewMatcher(doc)
		for i, id := range clueIDs {
			for _, answer := range []string{right, datedAnswer(number), datedAnswer(number + 1), "wrong ab"} {
				want := differs
				if (&evidence{numbers: map[uint64]int{1: number}}).matchOf(i, answer, 1) == matches {
					want = matches
				}
				got, _, _, _ := m.Match(id, answer)
				if (got == partition.Correct) != (want == matches) {
					t.Errorf("document %d, clue %s, %q: the product says %v, the model %v", number, id, answer, got, want)
				}
			}
		}
	}
}

// TestLogIsReadBack: what a log writes is what it holds, up to a line that was cut off.
func TestLogIsReadBack(t *testing.T) {
	var text bytes.Buffer
	log := NewLog(time.Now(), &text)
	over := log.Fault("the lights go out")
	log.Add(Op{Kind: Submit, Outcome: OK, Team: "a", Key: "k", Result: &Result{Number: 1, Verdict: "correct", At: fsm.Time(12345)}})
	log.Add(Op{Kind: ReadTeam, Outcome: OK, Team: "a", State: &State{Score: 3, Clues: []ClueState{{"free", 1, true}}}})
	over()
	over()
	want, err := log.Ops()
	if err != nil || len(want) != 3 || want[2].Text != "the lights go out" {
		t.Fatalf("%+v, %v", want, err)
	}
	whole := text.String()
	for _, tail := range []string{"", `{"client":4,"no`} {
		got, err := ReadOps(strings.NewReader(whole + tail))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("with the tail %q: %+v, %v", tail, got, err)
		}
	}
	if _, err := ReadOps(strings.NewReader("{\n" + whole)); err == nil {
		t.Error("a broken line in the middle was read")
	}
}

// TestOutcomes: what says that nothing was done is not what leaves it open.
func TestOutcomes(t *testing.T) {
	for kind, want := range map[fsm.Kind]Outcome{
		fsm.OutcomeUnknown: Unknown, fsm.Internal: Unknown, fsm.Unavailable: None, fsm.Overloaded: None,
		fsm.ClueLocked: Refused, fsm.AttemptsExhausted: Refused, fsm.NotFound: Wrong, fsm.KeyReused: Wrong, fsm.Unauthenticated: Wrong,
	} {
		if got, code := OutcomeOf(fsm.Errorf(kind, "x")); got != want || code != kind.String() {
			t.Errorf("%v: %v (%s), want %v", kind, got, code, want)
		}
	}
}

// TestSummary counts what was acknowledged before, under and between faults.
func TestSummary(t *testing.T) {
	s := time.Second
	ack := func(from, to time.Duration) Op {
		return Op{Kind: Submit, Outcome: OK, Call: from, Return: to, Result: &Result{}}
	}
	ops := []Op{
		ack(0, s), ack(s, 2*s),
		{Kind: Fault, Call: 4 * s, Return: 8 * s},
		{Kind: Fault, Call: 6 * s, Return: 10 * s},
		ack(5*s, 9*s), ack(9*s, 11*s), ack(15*s, 20*s),
		{Kind: ReadTeam, Outcome: Unknown, Return: 16 * s},
		{Kind: ReadTable, Return: 17 * s},
	}
	got := Summarize(ops)
	want := Summary{
		Ops: 6, Acked: 5, Unknown: 1, Faults: 2, Before: 2, Under: 1, Between: 2,
		BeforeRate: 0.5, UnderRate: 1.0 / 6, BetweenRate: 0.2,
	}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if missing := (Floors{Acked: 6, Under: 1, Faults: 2}).Missing(got); len(missing) != 1 || !strings.Contains(missing[0], "5 submissions acknowledged,") {
		t.Errorf("missing: %q", missing)
	}
}

// TestNobodyToldIsConvicted: a history without its audit proves nothing.
func TestNobodyToldIsConvicted(t *testing.T) {
	ops := []Op{{Kind: Submit, Outcome: OK, Team: "a", Key: "k", Clue: "free", Answer: "x", Result: &Result{Number: 1, Verdict: "incorrect", Attempts: 1}}}
	found := strings.Join(Findings(Check(ops, "")), "\n")
	for _, want := range []string{"kept: a: nobody could tell", "board: nobody asked"} {
		if !strings.Contains(found, want) {
			t.Errorf("%q is not in %q", want, found)
		}
	}
}

// TestTimeline draws a run with a fault and a finding.
func TestTimeline(t *testing.T) {
	var b bytes.Buffer
	ops := []Op{
		{Kind: Submit, Outcome: OK, Return: time.Second, Result: &Result{}},
		{Kind: Fault, Text: "cut <n1>", Call: time.Second, Return: 3 * time.Second},
		{Kind: Submit, Outcome: Unknown, Return: 2 * time.Second},
	}
	if err := WriteTimeline(&b, "seed 7", ops, []Verdict{{"kept", []string{"k is lost"}}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cut &lt;n1&gt; (2.0 s)", "kept: k is lost", "1 submissions acknowledged, 1 unknown", `class="unknown"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in the page", want)
		}
	}
}
