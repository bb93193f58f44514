package cli

import (
	"fmt"
	"slices"
	"strconv"
)

// The plot of "bench scale": small multiples, one panel a figure, each from zero,
// so that what is flat looks flat.
const (
	panelWidth, panelHeight = 300, 150
	panelGap                = 50
	panelColumns            = 3
)

// panel is one figure over the number of nodes.
type panel struct {
	title string
	of    func(scaleRow) float64
}

var scalePanels = []panel{
	{"submissions a second", func(r scaleRow) float64 { return r.PerSecond }},
	{"messages a submission", func(r scaleRow) float64 { return r.Messages }},
	{"bytes a submission", func(r scaleRow) float64 { return r.Bytes }},
	{"CPU ms a 1,000, net of idle", func(r scaleRow) float64 { return r.NetCPU }},
	{"latency p50, ms", func(r scaleRow) float64 { return r.P50 }},
	{"latency p99, ms", func(r scaleRow) float64 { return r.P99 }},
	{"wait for a core, ms a submission", func(r scaleRow) float64 { return r.Wait }},
	{"one sync, ms", func(r scaleRow) float64 { return r.SyncMS }},
	{"idle CPU a node, % of a core", func(r scaleRow) float64 { return r.IdleCPU }},
	{"idle messages a node and second", func(r scaleRow) float64 { return r.IdleMessage }},
	{"memory a node, MB", func(r scaleRow) float64 { return r.RSS }},
}

// scalePlot draws the rows as SVG.
func scalePlot(rows []scaleRow) string {
	lines := (len(scalePanels) + panelColumns - 1) / panelColumns
	width, height := panelColumns*(panelWidth+panelGap)+panelGap, lines*(panelHeight+2*panelGap)+panelGap
	d := newDrawing(width, height)
	for i, p := range scalePanels {
		p.draw(d, rows, float64(panelGap+i%panelColumns*(panelWidth+panelGap)), float64(panelGap+i/panelColumns*(panelHeight+2*panelGap)))
	}
	d.text(panelGap, float64(height-12), "start", blue, "partitions of three replicas")
	if slices.ContainsFunc(rows, func(r scaleRow) bool { return r.Naive }) {
		d.text(panelGap+panelWidth, float64(height-12), "start", red, "one group of which every node is a voter")
	}
	return d.end()
}

func (p panel) draw(d *drawing, rows []scaleRow, left, top float64) {
	most, nodes := 0.0, 1
	for _, r := range rows {
		most, nodes = max(most, p.of(r)), max(nodes, r.Nodes)
	}
	if most == 0 {
		most = 1
	}
	x := func(n int) float64 { return left + panelWidth*float64(n)/float64(nodes) }
	y := func(v float64) float64 { return top + panelHeight - panelHeight*max(v, 0)/(1.15*most) }
	d.title(left, top-12, p.title)
	d.path(fmt.Sprintf("M%.1f %.1fV%.1fH%.1f", left, top, top+panelHeight, left+panelWidth), pale, 1, "")
	for _, naive := range []bool{true, false} {
		colour := blue
		if naive {
			colour = red
		}
		line := ""
		for _, r := range rows {
			if r.Naive == naive {
				line += fmt.Sprintf("%c%.1f %.1f", moveOrLine(line), x(r.Nodes), y(p.of(r)))
				d.dot(x(r.Nodes), y(p.of(r)), colour)
				d.text(x(r.Nodes), p.label(rows, r, y), "middle", colour, fmt.Sprintf("%.4g", p.of(r)))
			}
		}
		d.path(line, colour, 2, "")
	}
	for _, r := range rows {
		d.text(x(r.Nodes), top+panelHeight+16, "middle", grey, strconv.Itoa(r.Nodes))
	}
}

// label is where the figure of a row stands: above its dot, and above the figure of
// the other kind's row of as many nodes if that would be in the way.
func (p panel) label(rows []scaleRow, r scaleRow, y func(float64) float64) float64 {
	const above, line = 8, 14
	at := y(p.of(r)) - above
	for _, o := range rows {
		upper := p.of(r) > p.of(o) || p.of(r) == p.of(o) && r.Naive
		if below := y(p.of(o)) - above; o.Nodes == r.Nodes && o.Naive != r.Naive && upper && below-at < line {
			return below - line
		}
	}
	return at
}
