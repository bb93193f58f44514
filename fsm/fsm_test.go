package fsm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestValidID(t *testing.T) {
	for _, tc := range []struct {
		id   string
		want bool
	}{
		{"a", true},
		{"0", true},
		{"north-by-north_west.2", true},
		{strings.Repeat("x", MaxID), true},
		{"a.", true},
		{"", false},
		{strings.Repeat("x", MaxID+1), false},
		{".a", false},
		{"-a", false},
		{"_a", false},
		{"A", false},
		{"aB", false},
		{"a b", false},
		{"a/b", false},
		{"a\x00", false},
		{"a\n", false},
		{"é", false},
		{"aé", false},
		{"a~", false},
		{"a`", false}, // beside 'a'
		{"a{", false}, // beside 'z'
		{"a:", false}, // beside '9'
	} {
		if got := ValidID(tc.id); got != tc.want {
			t.Errorf("ValidID(%q) = %t", tc.id, got)
		}
	}
}

// TestSlotVectors pins slot function version 1. These never change: another
// value would send a team to a partition that does not know it. They were
// computed by another implementation of XXH64.
func TestSlotVectors(t *testing.T) {
	if SlotVersion != 1 {
		t.Fatal("a new slot function needs vectors of its own; those of version 1 stay")
	}
	for _, tc := range []struct {
		hunt HuntID
		team TeamID
		want Slot
	}{
		{"", "", 13513},
		{"a", "b", 58080},
		{"ab", "c", 6470},
		{"a", "bc", 20227},
		{"gph2022", "team-1", 46542},
		{"gph2022", "team-919", 17271},
		{"demo", "red", 16826},
		{"demo", "blue", 61205},
		{HuntID(strings.Repeat("x", MaxID)), TeamID(strings.Repeat("y", MaxID)), 38596},
		{"0", "0", 10149},
	} {
		if got := SlotOf(tc.hunt, tc.team); got != tc.want {
			t.Errorf("SlotOf(%q, %q) = %d, want %d", tc.hunt, tc.team, got, tc.want)
		}
	}
}

// TestSlotOfSpreads plays a large hunt: no slot range of 16 may have 5 % more
// or fewer teams than its share.
func TestSlotOfSpreads(t *testing.T) {
	const teams, parts = 100_000, 16
	var count [parts]int
	for i := range teams {
		count[int(SlotOf("hunt", TeamID(fmt.Sprint("team-", i))))*parts/Slots]++
	}
	for i, n := range count {
		if d := n - teams/parts; d > teams/parts/20 || -d > teams/parts/20 {
			t.Errorf("range %d has %d teams of %d", i, n, teams)
		}
	}
}

func TestSplitSlotsCoversOnce(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 7, 15, 16, 17, 31, 64, 100, 255, 256, 257, 1000, 1023, 2048, 3333, 4095, 4096} {
		next, small, large := 0, Slots, 0
		for i, r := range SplitSlots(n) {
			if int(r.First) != next || r.Last < r.First {
				t.Fatalf("%d ranges: range %d is %v and should begin at %d", n, i, r, next)
			}
			if !r.Contains(r.First) || !r.Contains(r.Last) || r.First > 0 && r.Contains(r.First-1) || r.Last < Slots-1 && r.Contains(r.Last+1) {
				t.Fatalf("%d ranges: range %v does not contain what it should", n, r)
			}
			size := int(r.Last) - int(r.First) + 1
			next, small, large = int(r.Last)+1, min(small, size), max(large, size)
		}
		if next != Slots || large-small > 1 {
			t.Errorf("%d ranges end at %d and have sizes %d to %d", n, next, small, large)
		}
	}
}

func TestKindCodes(t *testing.T) {
	seen := map[string]Kind{}
	for k := range Kind(Kinds) {
		code := k.String()
		if other, twice := seen[code]; twice || code == "" {
			t.Errorf("kinds %d and %d have the code %q", k, other, code)
		}
		seen[code] = k
		if back := KindByCode(code); back != k {
			t.Errorf("KindByCode(%q) = %d, want %d", code, back, k)
		}
	}
	if Kind(Kinds).String() != "internal" || KindByCode("no such code") != Internal {
		t.Error("what is unknown must read as internal")
	}
	// The numbers are in logs: these pin both ends and the middle.
	for k, code := range map[Kind]string{0: "internal", 6: "conflict", 13: "too_large", 18: "unavailable", 21: "not_leader"} {
		if k.String() != code {
			t.Errorf("kind %d is %s and must stay %s", k, k, code)
		}
	}
}

func TestKindOf(t *testing.T) {
	rule := Errorf(Cooldown, "wait %d s", 3)
	for _, tc := range []struct {
		err  error
		want Kind
	}{
		{rule, Cooldown},
		{fmt.Errorf("submit: %w", rule), Cooldown},
		{errors.Join(errors.New("x"), rule), Cooldown},
		{fmt.Errorf("submit: %w", context.DeadlineExceeded), OutcomeUnknown},
		{context.Canceled, OutcomeUnknown},
		{errors.New("x"), Internal},
		{nil, Internal},
	} {
		if got := KindOf(tc.err); got != tc.want {
			t.Errorf("KindOf(%v) = %s, want %s", tc.err, got, tc.want)
		}
	}
	if rule.Error() != "wait 3 s" {
		t.Errorf("the message is %q", rule)
	}
}

func TestTimeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Years 0 to 9999, what RFC 3339 can write.
		at := Time(rapid.Int64Range(-62_167_219_200_000_000, 253_402_300_799_999_999).Draw(t, "at"))
		text, err := at.MarshalText()
		if err != nil || len(text) != len("2006-01-02T15:04:05.000000Z") {
			t.Fatalf("%d is written %q: %v", at, text, err)
		}
		var back Time
		if err := back.UnmarshalText(text); err != nil || back != at {
			t.Fatalf("%s is read as %s: %v", at, back, err)
		}
		if TimeOf(at.Std()) != at {
			t.Fatalf("%s is %s on the way through the standard library", at, TimeOf(at.Std()))
		}
	})
}

func TestTimeReadsAnyZone(t *testing.T) {
	want := TimeOf(time.Date(2026, 3, 1, 12, 0, 0, 500_000_000, time.UTC))
	for _, text := range []string{"2026-03-01T12:00:00.5Z", "2026-03-01T14:00:00.500000999+02:00", "2026-03-01T07:30:00.50-04:30"} {
		var got Time
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s is read as %s: %v", text, got, err)
		}
	}
	for _, text := range []string{"", "now", "2026-03-01", "2026-03-01T12:00:00", "1770000000"} {
		var got Time
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %s", text, got)
		}
	}
}

func TestReplicaRoundTrip(t *testing.T) {
	for _, r := range []Replica{{"01HZX", 1}, {"n", 1<<64 - 1}, {"n-1_a", 0}} {
		if back, err := ParseReplica(r.String()); err != nil || back != r {
			t.Errorf("%v comes back as %v: %v", r, back, err)
		}
	}
	for _, s := range []string{"", ".", "n", "n.", ".1", "n.x", "n.-1", "n.1.2", "n.18446744073709551616", "n. 1", "n.+1"} {
		if r, err := ParseReplica(s); err == nil {
			t.Errorf("%q is read as %v", s, r)
		}
	}
	if !(Replica{}).IsZero() || (Replica{Node: "n"}).IsZero() {
		t.Error("only the empty replica is zero")
	}
}
