package cli

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// table is rows of text that line up in columns, for people. Columns are
// measured in terminal cells, so names of any script line up too.
type table struct {
	head  []string
	right []bool // by column: flush right, for numbers
	rows  [][]string
}

// newTable makes a table with the given column titles; a title that starts
// with ">" stands over a column that is flush right.
func newTable(head ...string) *table {
	t := &table{head: make([]string, len(head)), right: make([]bool, len(head))}
	for i, h := range head {
		t.head[i], t.right[i] = strings.TrimPrefix(h, ">"), strings.HasPrefix(h, ">")
	}
	return t
}

// add appends a row with a cell for every column.
func (t *table) add(cells ...string) {
	row := make([]string, len(t.head))
	for i := range row {
		row[i] = printable(cells[i])
	}
	t.rows = append(t.rows, row)
}

// gap is the blank between two columns.
const gap = "  "

// minCut is how narrow, in cells, a column is cut at most.
const minCut = 12

// write prints the table. If limit is not 0, the widest columns are cut until
// a line fits into limit cells, as far as minCut allows.
func (t *table) write(w io.Writer, limit int, bold func(string) string) error {
	widths := t.widths(limit)
	var b strings.Builder
	for i, row := range append([][]string{t.head}, t.rows...) {
		line := t.line(row, widths)
		if i == 0 {
			line = bold(line)
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *table) widths(limit int) []int {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], cells(cell))
		}
	}
	total := len(gap) * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for limit > 0 && total > limit {
		widest := 0
		for i, w := range widths {
			if w > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= minCut {
			break
		}
		widths[widest]--
		total--
	}
	return widths
}

func (t *table) line(row []string, widths []int) string {
	var b strings.Builder
	for i, cell := range row {
		if i > 0 {
			b.WriteString(gap)
		}
		cell = cut(cell, widths[i])
		pad := strings.Repeat(" ", widths[i]-cells(cell))
		if t.right[i] {
			b.WriteString(pad + cell)
		} else {
			b.WriteString(cell + pad)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// cut shortens s to at most n terminal cells and marks the place.
func cut(s string, n int) string {
	if cells(s) <= n {
		return s
	}
	used, last := 0, rune(0)
	for i, r := range s {
		if used += runeCells(last, r); used > n-1 {
			return s[:i] + "…"
		}
		last = r
	}
	return s
}

// cells is the number of terminal cells that s takes. Terminals differ where
// several runes make one picture; this is what most do.
func cells(s string) int {
	n, last := 0, rune(0)
	for _, r := range s {
		n += runeCells(last, r)
		last = r
	}
	return n
}

// joiner (ZERO WIDTH JOINER) makes one picture of the runes on its sides.
const joiner = '\u200d'

// runeCells is what r adds after the rune last.
func runeCells(last, r rune) int {
	if last == joiner || unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// printable makes text that others chose safe to show on a terminal: control
// characters could move the cursor, and direction marks could turn the rest of
// the line round, so both are shown as a replacement character. A joiner stays:
// it only makes one picture of two.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == joiner:
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), unicode.In(r, unicode.Zl, unicode.Zp):
			return utf8.RuneError
		}
		return r
	}, s)
}

// notGraphic reports whether r shows nothing of its own.
func notGraphic(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }
