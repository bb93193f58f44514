package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The plot of "bench load": panels over one time axis, with the phases behind
// them.
const (
	plotWidth = 900 // of the panels
	plotLeft  = 80
	plotRight = 30
	plotTop   = 64 // holds the phases' names
	plotGap   = 50 // between panels: holds a title and a legend
	// letter is about how wide one is, to keep labels apart.
	letter = 7.0
)

// shades tell phases apart; those of one name have one.
var shades = []string{"#eef3f8", "#fdeeda", "#e9f4e6", "#f6e8f1", "#efece2", "#e4f1f3"}

// curve is one figure over time.
type curve struct {
	name, colour string
	of           func(p *loadPoint) float64 // 0: nothing is drawn on a log scale
	style        string
	always       bool // drawn even where it is 0; else it would hide the axis
}

// chart is a panel: its curves, and its scale, which ends at least at most.
type chart struct {
	title  string
	height float64
	log    bool
	curves []curve
}

func loadCharts(step float64) []chart {
	each := func(of func(p *loadPoint) int64) func(p *loadPoint) float64 {
		return func(p *loadPoint) float64 { return float64(of(p)) / step }
	}
	return []chart{
		{"Requests a second", 220, false, []curve{
			{"offered", pale, each(func(p *loadPoint) int64 { return p.Offered }), `stroke-dasharray="5 3"`, true},
			{"refused", orange, each(func(p *loadPoint) int64 { return p.Refused }), "", false},
			{"errors", red, each(func(p *loadPoint) int64 { return p.Errors }), "", false},
			{"accepted", blue, each(func(p *loadPoint) int64 { return p.Accepted }), "", true},
		}},
		{"Latency of accepted requests since they were due (log scale)", 220, true, []curve{
			{"p99", red, func(p *loadPoint) float64 { return p.P99 }, "", true},
			{"p50", blue, func(p *loadPoint) float64 { return p.P50 }, "", true},
		}},
		{"Requests in flight: due and not answered", 110, false, []curve{
			{"in flight", grey, func(p *loadPoint) float64 { return float64(p.InFlight) }, "", true},
		}},
	}
}

// loadPlot draws a report as SVG.
func loadPlot(r *loadReport) string {
	charts := loadCharts(r.Series.Step)
	height := float64(plotTop)
	for _, c := range charts {
		height += c.height + plotGap
	}
	g := &timeline{drawing: newDrawing(plotLeft+plotWidth+plotRight, int(height)+16), step: r.Series.Step, points: r.Series.Points}
	for _, s := range r.Schedule {
		g.lasts = max(g.lasts, s.From+s.Seconds)
	}
	if n := len(g.points); n > 0 {
		g.lasts = max(g.lasts, g.points[n-1].At+g.step)
	}
	top := float64(plotTop)
	for _, c := range charts {
		top += plotGap / 2
		g.shade(r.Schedule, top, c.height)
		g.chart(c, top)
		top += c.height + plotGap/2
	}
	g.names(r.Schedule)
	g.text(plotLeft+plotWidth/2, top+8, "middle", grey, "time, s")
	return g.end()
}

// timeline draws over time.
type timeline struct {
	*drawing
	step, lasts float64 // seconds
	points      []loadPoint
}

func (g *timeline) x(at float64) float64 { return plotLeft + plotWidth*at/g.lasts }

// shade puts the phases behind a panel.
func (g *timeline) shade(spans []loadSpan, top, height float64) {
	colours := map[string]string{}
	for _, s := range spans {
		if colours[s.Phase] == "" {
			colours[s.Phase] = shades[len(colours)%len(shades)]
		}
		g.rect(g.x(s.From), top, g.x(s.From+s.Seconds)-g.x(s.From), height, colours[s.Phase])
	}
}

// names puts the phases' names above the first panel, in two rows. What would
// overlap is left out; its shade is that of others of its name.
func (g *timeline) names(spans []loadSpan) {
	g.title(plotLeft, 20, "Load over time")
	var ends [2]float64
	for _, s := range spans {
		much := thousands(int(math.Round(s.Rate))) + "/s"
		if s.Clients > 0 {
			much = count(s.Clients, "client")
		}
		label := s.Phase + " " + much
		middle, half := g.x(s.From+s.Seconds/2), letter*float64(len(label))/2
		middle = min(max(middle, plotLeft+half), plotLeft+plotWidth-half)
		for row := range ends {
			if middle-half >= ends[row] {
				ends[row] = middle + half + letter
				g.text(middle, 40+16*float64(row), "middle", grey, label)
				break
			}
		}
	}
}

// chart draws one panel.
func (g *timeline) chart(c chart, top float64) {
	least, most := math.Inf(1), 0.0
	var shown []curve
	for _, line := range c.curves {
		highest := 0.0
		for i := range g.points {
			if v := line.of(&g.points[i]); v > 0 {
				highest, least = max(highest, v), min(least, v)
			}
		}
		if most = max(most, highest); highest > 0 || line.always {
			shown = append(shown, line)
		}
	}
	bottom := top + c.height
	g.title(plotLeft, top-8, c.title)
	var y func(v float64) float64
	if c.log {
		y = g.logAxis(least, most, top, bottom)
	} else {
		y = g.axis(most, top, bottom)
	}
	g.path(fmt.Sprintf("M%d %.1fV%.1fH%d", plotLeft, top, bottom, plotLeft+plotWidth), pale, 1, "")
	by := nice(g.lasts, 15)
	for at := 0.0; at <= g.lasts*(1+1e-9); at += by {
		g.text(g.x(at), bottom+15, "middle", grey, strconv.FormatFloat(at, 'g', 6, 64))
	}
	right := float64(plotLeft + plotWidth)
	for _, line := range shown {
		g.path(g.steps(line, y, c.log || !line.always), line.colour, 1.8, line.style)
	}
	for i := len(shown) - 1; i >= 0; i-- {
		line := shown[i]
		g.text(right, top-8, "end", grey, line.name)
		right -= letter*float64(len(line.name)) + 28
		g.path(fmt.Sprintf("M%.1f %.1fh22", right, top-12), line.colour, 2.5, line.style)
		right -= 14
	}
}

// steps is the path of a curve: each figure is one of a whole step. With gaps, it
// has one where the figure is 0, which a log scale does not have.
func (g *timeline) steps(line curve, y func(float64) float64, gaps bool) string {
	var b strings.Builder
	draw := "M"
	for i := range g.points {
		p := &g.points[i]
		v := line.of(p)
		if gaps && v <= 0 {
			draw = "M"
			continue
		}
		fmt.Fprintf(&b, "%s%.1f %.1fH%.1f", draw, g.x(p.At), y(v), g.x(p.At+g.step))
		draw = "L"
	}
	return b.String()
}

// axis is a scale from 0, with its labels and lines.
func (g *timeline) axis(most, top, bottom float64) func(float64) float64 {
	by := nice(max(most, 1), 5)
	end := by * math.Ceil(max(most, 1)*1.05/by)
	y := func(v float64) float64 { return bottom - (bottom-top)*v/end }
	for v := 0.0; v <= end*(1+1e-9); v += by {
		g.rule(y(v), thousands(int(v)))
	}
	return y
}

// logAxis is a scale of powers of ten, in milliseconds, with lines at each and at
// 2 and 5 times it.
func (g *timeline) logAxis(least, most, top, bottom float64) func(float64) float64 {
	if most <= 0 {
		least, most = 1, 10
	}
	from, to := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	to = max(to, from+1)
	y := func(v float64) float64 { return bottom - (bottom-top)*(math.Log10(v)-from)/(to-from) }
	for power := from; power <= to; power++ {
		unit := math.Pow(10, power)
		g.rule(y(unit), duration(unit))
		for _, times := range []float64{2, 5} {
			if power < to && to-from <= 3 {
				g.rule(y(times*unit), duration(times*unit))
			}
		}
	}
	return y
}

func (g *timeline) rule(y float64, label string) {
	g.path(fmt.Sprintf("M%d %.1fh%d", plotLeft, y, plotWidth), "#ccc", .6, "")
	g.text(plotLeft-8, y+4, "end", grey, label)
}

// duration writes milliseconds that are a round number.
func duration(ms float64) string {
	if ms >= 1000 {
		return strconv.FormatFloat(ms/1000, 'g', 6, 64) + " s"
	}
	return strconv.FormatFloat(ms, 'g', 3, 64) + " ms"
}
