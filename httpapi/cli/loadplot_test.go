package cli

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestLoadPlot: every plot is well-formed, whatever the figures, and says what is
// in it; a curve that is 0 throughout is left out.
func TestLoadPlot(t *testing.T) {
	spans := []loadSpan{{"calm", 0, 2, 500, 0}, {"burst", 2, 1, 4000, 0}, {"peak", 3, 1, 0, 64}}
	points := []loadPoint{
		{0, 500, 490, 0, 0, 0, 2, 20, 10}, {1, 500, 510, 0, 0, 0, 2, 15, 0}, {2, 4000, 2000, 1000, 0, 0, 90, 800, 1000}, {3, 0, 900, 100, 0, 0, 0, 0, 0},
	}
	for _, tt := range []struct {
		name   string
		spans  []loadSpan
		points []loadPoint
		want   []string
		not    []string
	}{
		{"all", spans, points, []string{"calm 500/s", "burst 4,000/s", "peak 64 clients", ">refused<", ">p99<", ">100 ms<", ">in flight<", "time, s"}, []string{">errors<", "NaN", "Inf"}},
		{"nothing", spans, nil, []string{">p99<"}, []string{">refused<", "NaN", "Inf"}},
		{"idle", spans[:1], []loadPoint{{}}, []string{"calm"}, []string{"NaN", "Inf"}},
		{"slow", spans, []loadPoint{{0, 1e6, 1, 2, 0, 3, 1e5, 1.2e5, 1e6}}, []string{">errors<", ">100 s<", "1,000,000"}, []string{"NaN", "Inf"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			svg := loadPlot(&loadReport{Schedule: tt.spans, Series: loadSeries{Step: 1, Points: tt.points}})
			wellFormed(t, svg)
			for _, text := range tt.want {
				if !strings.Contains(svg, text) {
					t.Errorf("%q is missing", text)
				}
			}
			for _, text := range tt.not {
				if strings.Contains(svg, text) {
					t.Errorf("%q is there", text)
				}
			}
		})
	}
}

// wellFormed ends the test if a plot is no XML.
func wellFormed(t *testing.T, svg string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v\n%s", err, svg)
		}
	}
}

func TestNice(t *testing.T) {
	for _, tt := range []struct {
		span  float64
		parts int
		want  float64
	}{{10, 5, 2}, {11, 5, 5}, {1, 10, .1}, {9.3e4, 5, 2e4}, {60, 15, 5}, {0, 5, 1}} {
		if got := nice(tt.span, tt.parts); got != tt.want {
			t.Errorf("%v in %d: %v, want %v", tt.span, tt.parts, got, tt.want)
		}
	}
}
