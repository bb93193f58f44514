package cli

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestSlope: of a line exactly, of a noisy one within what its error says, and
// nothing of too few values.
func TestSlope(t *testing.T) {
	line := make([]float64, 50)
	for i := range line {
		line[i] = 40 + 1.5*float64(i)*0.5
	}
	if s, e := slope(line, 0.5); math.Abs(s-1.5) > 1e-9 || e > 1e-6 {
		t.Errorf("of a line: %v, error %v; want 1.5", s, e)
	}
	rng, beyond := rand.New(rand.NewPCG(1, 2)), 0
	for range 200 {
		noisy := make([]float64, 50)
		for i := range noisy {
			noisy[i] = line[i] + rng.NormFloat64()
		}
		if s, e := slope(noisy, 0.5); math.Abs(s-1.5) > 2*e {
			beyond++
		}
	}
	if beyond < 2 || beyond > 22 { // of 200, 10 are beyond two standard errors
		t.Errorf("%d of 200 slopes are beyond two standard errors", beyond)
	}
	if s, e := slope(line[:2], 0.5); s != 0 || e != 0 {
		t.Errorf("of two values: %v, error %v", s, e)
	}
}

// TestMissionPlot: the plot is well-formed and shows every figure, also of a
// mission that measured nothing.
func TestMissionPlot(t *testing.T) {
	full := &missionReport{
		Rows: []missionRow{
			{Strategy: strategies[0].Name, Load: "1.5 x baseline", Accepted: 10, Mean: 6100, P99: 24400, Unresponsive: 29714, CPU: 1.49},
			{Strategy: "Cairn", Load: "1.5 x baseline", Accepted: 415, Mean: 2.65, P99: 13, CPU: 1.01},
		},
		Troubles: []troubleRow{{Trouble: "a dead node", P99: 8.73, Before: 12}},
		Soak:     &soakRow{Minutes: 10, RSS: []float64{49, 68, 74}},
	}
	for _, tt := range []struct {
		name string
		r    *missionReport
		want []string
	}{
		{"full", full, []string{">29,714<", ">6.1 s<", ">2.65 ms<", ">1.49<", "a dead node", ">8.73 ms<", "49 at first, 74 at last", red, blue}},
		{"empty", &missionReport{Rows: []missionRow{{Strategy: "Cairn"}}}, []string{"mean latency"}},
	} {
		svg := missionPlot(tt.r)
		wellFormed(t, svg)
		for _, text := range tt.want {
			if !strings.Contains(svg, text) {
				t.Errorf("%s: %q is missing", tt.name, text)
			}
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("%s: a figure is none", tt.name)
		}
	}
}
