package cli

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"testing"
)

// TestScalePlotLabels: no figure is written over another one of the same panel,
// however close the curves are.
func TestScalePlotLabels(t *testing.T) {
	var rows []scaleRow
	for i, naive := range []float64{799.9, 800, 810, 900, 5} {
		n := 3 + 6*i
		rows = append(rows, scaleRow{Nodes: n, PerSecond: 800}, scaleRow{Nodes: n, PerSecond: naive, Naive: true})
	}
	svg := scalePlot(rows)
	wellFormed(t, svg)
	text := regexp.MustCompile(`<text x="([0-9.]+)" y="([0-9.]+)"[^>]*>([^<]*)<`)
	type place struct{ x, y float64 }
	labels := map[string][]place{}
	for _, m := range text.FindAllStringSubmatch(svg, -1) {
		x, _ := strconv.ParseFloat(m[1], 64)
		y, _ := strconv.ParseFloat(m[2], 64)
		labels[m[3]] = append(labels[m[3]], place{x, y})
	}
	ours, seen := labels["800"], 0
	for _, r := range rows {
		if !r.Naive {
			continue
		}
		for _, l := range labels[fmt.Sprintf("%.4g", r.PerSecond)] {
			for _, o := range ours {
				if l.x != o.x || l == o {
					continue
				}
				seen++
				if d := l.y - o.y; math.Abs(d) < 13 { // the height of a line, rounded
					t.Errorf("%v stands %v from the figure of the other curve", r.PerSecond, d)
				}
			}
		}
	}
	if seen < len(rows)/2 {
		t.Errorf("%d pairs of figures were found", seen)
	}
}
