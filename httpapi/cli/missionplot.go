package cli

import (
	"fmt"
	"math"
	"strings"
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
	oursColour  = "#1b6ca8"
	greyColour  = "#8a8f98"
	plotMargin  = 30
	plotWidth   = 2*plotMargin + barLabel + barWidth + 110
	soakHeight  = 160
	soakCaption = "memory of a node over the soak, MB"
)

// missionPlot draws a report as SVG.
func missionPlot(r *missionReport) string {
	var b strings.Builder
	y := plotMargin
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
		y = drawBars(&b, y, g.title, rows, g.log)
	}
	var rows []plotBar
	for _, t := range r.Troubles {
		rows = append(rows, plotBar{"before " + t.Trouble, t.Before, millis(t.Before), greyColour}, plotBar{"beside it", t.P99, millis(t.P99), oursColour})
	}
	y = drawBars(&b, y, "p99 of those that are disturbed, ms (logarithmic)", rows, true)
	if r.Soak != nil && len(r.Soak.RSS) > 1 {
		y = drawSoak(&b, y, r.Soak)
	}
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, y)
	return head + fmt.Sprintf(`<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, y) + b.String() + "</svg>\n"
}

func colourOf(strategy string) string {
	switch strategy {
	case strategies[0].Name:
		return naiveColour
	case strategies[len(strategies)-1].Name:
		return oursColour
	}
	return "#d98a5b"
}

// drawBars draws a group below y and returns where it ends.
func drawBars(b *strings.Builder, y int, title string, rows []plotBar, log bool) int {
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
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", plotMargin, y+barTop-18, title)
	y += barTop
	for _, r := range rows {
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", plotMargin+barLabel-8, y+13, r.label)
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", plotMargin+barLabel, y, length(r.value), barHeight, r.colour)
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`+"\n", float64(plotMargin+barLabel)+length(r.value)+6, y+13, r.text)
		y += barHeight + barGap
	}
	return y
}

// drawSoak draws memory over time, from zero.
func drawSoak(b *strings.Builder, y int, r *soakRow) int {
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", plotMargin, y+barTop-18, soakCaption)
	y += barTop
	most := 0.0
	for _, v := range r.RSS {
		most = max(most, v)
	}
	width := float64(barLabel + barWidth)
	points := make([]string, len(r.RSS))
	for i, v := range r.RSS {
		points[i] = fmt.Sprintf("%.1f,%.1f", plotMargin+width*float64(i)/float64(len(r.RSS)-1), float64(y)+soakHeight*(1-v/(1.1*most)))
	}
	fmt.Fprintf(b, `<path d="M%d %dv%dh%.0f" fill="none" stroke="#999"/>`+"\n", plotMargin, y, soakHeight, width)
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), oursColour)
	fmt.Fprintf(b, `<text x="%d" y="%d">%.0f at first, %.0f at last, %.1f minutes</text>`+"\n", plotMargin, y+soakHeight+18, r.RSS[0], r.RSS[len(r.RSS)-1], r.Minutes)
	return y + soakHeight + 2*plotMargin
}
