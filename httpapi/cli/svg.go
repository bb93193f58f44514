package cli

import (
	"fmt"
	"math"
	"strings"
)

// Colours of the plots: told apart without colour sight, too, by how bright they
// are.
const (
	blue   = "#1b6ca8"
	red    = "#b03a2e"
	orange = "#e0a030"
	grey   = "#666"
	pale   = "#999"
)

// drawing is an SVG in the making. Text goes into it as it is: plots are made of
// figures, and of names that are letters and digits.
type drawing struct{ strings.Builder }

func newDrawing(width, height int) *drawing {
	d := &drawing{}
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	d.rect(0, 0, float64(width), float64(height), "white")
	return d
}

func (d *drawing) end() string { return d.String() + "</svg>\n" }

func (d *drawing) rect(x, y, width, height float64, fill string) {
	fmt.Fprintf(d, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, y, width, height, fill)
}

// text is put to the left, the middle or the right of x: start, middle, end.
func (d *drawing) text(x, y float64, anchor, fill, text string) {
	fmt.Fprintf(d, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>`+"\n", x, y, anchor, fill, text)
}

func (d *drawing) title(x, y float64, text string) {
	fmt.Fprintf(d, `<text x="%.1f" y="%.1f" font-weight="bold">%s</text>`+"\n", x, y, text)
}

func (d *drawing) dot(x, y float64, fill string) {
	fmt.Fprintf(d, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x, y, fill)
}

// path draws a line as SVG's path data has it. Style is more attributes, or
// nothing.
func (d *drawing) path(data, stroke string, width float64, style string) {
	fmt.Fprintf(d, `<path d="%s" fill="none" stroke="%s" stroke-width="%g" %s/>`+"\n", data, stroke, width, style)
}

// moveOrLine is how the next point of a path is come to.
func moveOrLine(path string) byte {
	if path == "" {
		return 'M'
	}
	return 'L'
}

// nice is the step, 1, 2 or 5 times a power of ten, that divides a span into at
// most so many parts.
func nice(span float64, parts int) float64 {
	least := span / float64(parts)
	if least <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(least)))
	for _, times := range []float64{1, 2, 5} {
		if times*unit >= least*(1-1e-9) {
			return times * unit
		}
	}
	return 10 * unit
}
