package load

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseMix(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Mix
		err  string
	}{
		{"submit=80,clues=10,board=9,team=1", Mix{80, 10, 9, 1}, ""},
		{" board=1 , submit=0", Mix{0, 0, 1, 0}, ""},
		{"submit", Mix{}, `"" is no number of parts`},
		{"submit=-1", Mix{}, `"-1" is no number`},
		{"submit=1000001", Mix{}, "is no number"},
		{"submit=x", Mix{}, "is no number"},
		{"hint=1", Mix{}, `"hint" is none of submit, clues, board, team`},
		{"submit=1,submit=2", Mix{}, "named twice"},
		{"submit=0", Mix{}, "all parts are 0"},
		{"", Mix{}, `"" is none of`},
	} {
		got, err := ParseMix(tt.text)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %v, %v; want %v, %q", tt.text, got, err, tt.want, tt.err)
		}
	}
}

func TestParsePhases(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []Phase
		err  string
	}{
		{"warm:10s@500, burst:5s@4000,calm:20s@0.5", []Phase{{"warm", 10 * time.Second, 500, 0}, {"burst", 5 * time.Second, 4000, 0}, {"calm", 20 * time.Second, 0.5, 0}}, ""},
		{"peak:1m@64c,rest:1s@0", []Phase{{"peak", time.Minute, 0, 64}, {"rest", time.Second, 0, 0}}, ""},
		{"", nil, "is not NAME:TIME@RATE"},
		{"warm:10s", nil, "is not NAME:TIME@RATE"},
		{"warm:10@5", nil, `"10" is no time`},
		{"warm:10s@fast", nil, `"fast" is no number of requests`},
		{"warm:10s@0c", nil, `"0c" is no number of clients`},
		{"warm:10s@10001c", nil, "there may be 10000 clients"},
		{"warm:0s@1", nil, "is not between"},
		{"warm:25h@1", nil, "is not between"},
		{"a:20h@1,b:20h@1", nil, "more than 24h"},
		{"warm:1s@NaN", nil, "the rate must be"},
		{"warm:1s@-1", nil, "the rate must be"},
		{"warm:1s@2e6", nil, "the rate must be"},
		{"<b>:1s@1", nil, "no name of a phase"},
		{strings.Repeat("a:1s@1,", 1000) + "a:1s@1", nil, "1001 phases"},
	} {
		got, err := ParsePhases(tt.text)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) || err == nil && !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%.60q: %v, %v; want %v, %q", tt.text, got, err, tt.want, tt.err)
		}
	}
}

func TestBursts(t *testing.T) {
	calm, burst := Phase{"calm", 9 * time.Second, 100, 0}, Phase{"burst", time.Second, 500, 0}
	got, err := Bursts("5x/1s/10s", 100, 25*time.Second)
	if want := []Phase{calm, burst, calm, burst, {"calm", 5 * time.Second, 100, 0}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for _, text := range []string{"", "5x", "5/1s/10s", "5x/1/10s", "5x/10s/10s", "5x/0s/10s", "yx/1s/10s", "1e9x/1s/10s", "5x/1ns/2ns"} {
		if got, err := Bursts(text, 100, 25*time.Second); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// FuzzParsePhases: what is accepted is within the limits, so that all requests
// can be counted.
func FuzzParsePhases(f *testing.F) {
	f.Add("warm:10s@500, burst:5s@4000, calm:20s@500")
	f.Add("peak:1m@64c")
	f.Fuzz(func(t *testing.T, text string) {
		phases, err := ParsePhases(text)
		if err != nil {
			return
		}
		all := time.Duration(0)
		for _, p := range phases {
			if n := p.due(); n < 0 || n > int64(maxRate*maxFor.Seconds()) || n > 0 && p.at(n-1) > p.For {
				t.Errorf("%+v: %d requests are due, the last at %v", p, n, p.at(n-1))
			}
			all += p.For
		}
		if all <= 0 || all > maxFor {
			t.Errorf("%q takes %v", text, all)
		}
	})
}
