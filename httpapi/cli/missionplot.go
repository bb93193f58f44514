package cli

import (
	"fmt"
	"math"
	"slices"
)

// The plot of "bench mission": bars for what is compared, a line for the soak.
const (
	barLabel, barWidth = 260, 420 // of a row's text and of its longest bar
	barHeight, barGap  = 18, 8
	barTop             = 40 // of a group's title
)

// plotBar is one row of a group.
type plotBar struct {
	label  string
	value  float64
	text   string
	colour string
}

const (
	missionMargin = 30
	missionWidth  = 2*missionMargin + barLabel + barWidth + 110
	soakHeight    = 160
)

// missionPlot draws a report as SVG.
func missionPlot(r *missionReport) string {
	body := &drawing{}
	y := missionMargin
	for _, g := range []struct {
		title string
		log   bool
		of    func(missionRow) (float64, string)
	}{
		{"mean latency, ms (logarithmic)", true, func(r missionRow) (float64, string) { return r.Mean, millis(r.Mean) }},
		{"p99 latency, ms (logarithmic)", true, func(r missionRow) (float64, string) { return r.P99, millis(r.P99) }},
		{"accepted a second", false, func(r missionRow) (float64, string) { return r.Accepted, thousands(int(r.Accepted)) }},
		{"refused for a full queue, or unresponsive", false, func(r missionRow) (float64, string) {
			return float64(r.Refused + r.Unresponsive), thousands(int(r.Refused + r.Unresponsive))
		}},
		{"CPU of all nodes, cores", false, func(r missionRow) (float64, string) { return r.CPU, fmt.Sprintf("%.2f", r.CPU) }},
	} {
		var rows []plotBar
		for _, row := range r.Rows {
			v, text := g.of(row)
			rows = append(rows, plotBar{row.Strategy + ", " + row.Load, v, text, colourOf(row.Strategy)})
		}
		y = drawBars(body, y, g.title, rows, g.log)
	}
	var rows []plotBar
	for _, t := range r.Troubles {
		rows = append(rows, plotBar{"before " + t.Trouble, t.Before, millis(t.Before), pale}, plotBar{"beside it", t.P99, millis(t.P99), blue})
	}
	y = drawBars(body, y, "p99 of those that are disturbed, ms (logarithmic)", rows, true)
	if r.Soak != nil && len(r.Soak.RSS) > 1 {
		y = drawSoak(body, y, r.Soak)
	}
	d := newDrawing(missionWidth, y)
	d.WriteString(body.String())
	return d.end()
}

func colourOf(name string) string {
	i := slices.IndexFunc(strategies, func(s strategy) bool { return s.Name == name })
	switch {
	case i == 0:
		return red
	case i > 0 && strategies[i].ours:
		return blue
	}
	return orange
}

// drawBars draws a group below y and returns where it ends.
func drawBars(d *drawing, y int, title string, rows []plotBar, log bool) int {
	most := 0.0
	for _, r := range rows {
		most = max(most, r.value)
	}
	length := func(v float64) float64 {
		switch {
		case most <= 0 || v <= 0:
			return 0
		case log: // from a tenth of a millisecond
			return barWidth * max(math.Log10(10*v), 0) / math.Log10(max(10*most, 10.1))
		}
		return barWidth * v / most
	}
	d.title(missionMargin, float64(y+barTop-18), title)
	y += barTop
	for _, r := range rows {
		left, middle := float64(missionMargin+barLabel), float64(y+13)
		d.text(left-8, middle, "end", "black", r.label)
		d.rect(left, float64(y), length(r.value), barHeight, r.colour)
		d.text(left+length(r.value)+6, middle, "start", "black", r.text)
		y += barHeight + barGap
	}
	return y
}

// drawSoak draws memory over time, from zero.
func drawSoak(d *drawing, y int, r *soakRow) int {
	d.title(missionMargin, float64(y+barTop-18), "memory of a node over the soak, MB")
	y += barTop
	most := slices.Max(r.RSS)
	width := float64(barLabel + barWidth)
	line := ""
	for i, v := range r.RSS {
		line += fmt.Sprintf("%c%.1f %.1f", moveOrLine(line), missionMargin+width*float64(i)/float64(len(r.RSS)-1), float64(y)+soakHeight*(1-v/(1.1*most)))
	}
	d.path(fmt.Sprintf("M%d %dv%dh%.0f", missionMargin, y, soakHeight, width), pale, 1, "")
	d.path(line, blue, 2, "")
	d.text(missionMargin, float64(y+soakHeight+18), "start", "black",
		fmt.Sprintf("%.0f at first, %.0f at last, %.1f minutes", r.RSS[0], r.RSS[len(r.RSS)-1], r.Minutes))
	return y + soakHeight + 2*missionMargin
}
