package cli

import (
	"fmt"
	"slices"
	"strings"
)

// The plot of "bench scale": small multiples, one panel a figure, each from zero,
// so that what is flat looks flat.
const (
	panelWidth, panelHeight = 300, 150
	panelGap                = 50
	panelColumns            = 3
)

const naiveColour = "#b03a2e"

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
	var b strings.Builder
	lines := (len(scalePanels) + panelColumns - 1) / panelColumns
	width, height := panelColumns*(panelWidth+panelGap)+panelGap, lines*(panelHeight+2*panelGap)+panelGap
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	for i, p := range scalePanels {
		p.draw(&b, rows, panelGap+i%panelColumns*(panelWidth+panelGap), panelGap+i/panelColumns*(panelHeight+2*panelGap))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" fill="#1b6ca8">partitions of three replicas</text>`+"\n", panelGap, height-12)
	if slices.ContainsFunc(rows, func(r scaleRow) bool { return r.Naive }) {
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">one group of which every node is a voter</text>`+"\n", panelGap+panelWidth, height-12, naiveColour)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p panel) draw(b *strings.Builder, rows []scaleRow, left, top int) {
	most, nodes := 0.0, 1
	for _, r := range rows {
		most, nodes = max(most, p.of(r)), max(nodes, r.Nodes)
	}
	if most == 0 {
		most = 1
	}
	x := func(n int) float64 { return float64(left) + float64(panelWidth)*float64(n)/float64(nodes) }
	y := func(v float64) float64 { return float64(top+panelHeight) - float64(panelHeight)*max(v, 0)/(1.15*most) }
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", left, top-12, p.title)
	fmt.Fprintf(b, `<path d="M%d %dV%dH%d" fill="none" stroke="#999"/>`+"\n", left, top, top+panelHeight, left+panelWidth)
	for _, naive := range []bool{true, false} {
		colour := "#1b6ca8"
		if naive {
			colour = naiveColour
		}
		var line []string
		for _, r := range rows {
			if r.Naive == naive {
				line = append(line, fmt.Sprintf("%.1f,%.1f", x(r.Nodes), y(p.of(r))))
				fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x(r.Nodes), y(p.of(r)), colour)
				fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle" fill="%s">%.4g</text>`+"\n", x(r.Nodes), y(p.of(r))-8, colour, p.of(r))
			}
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(line, " "), colour)
	}
	for _, r := range rows {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#666">%d</text>`+"\n", x(r.Nodes), top+panelHeight+16, r.Nodes)
	}
}
