package faulttest

import (
	"html/template"
	"io"
	"slices"
	"time"
)

// Sizes of a timeline, in pixels.
const (
	timelineWidth = 1400
	barsHeight    = 160
	laneHeight    = 18
	laneGap       = 4
	timelineBars  = 280 // moments that a run is cut into
)

// timeline is what the page shows.
type timeline struct {
	Title         string
	Summary       Summary
	Width, Height int
	Bars          []bar
	Lanes         []lane
	Marks         []mark
	Findings      []string
	Peak          int
}

// bar is one moment: how many calls ended with what.
type bar struct{ X, W, OK, None, Unknown, OKTop, NoneTop, UnknownTop int }

// lane is a fault.
type lane struct {
	X, Y, W int
	Text    string
	Seconds float64
}

// mark is a time on the axis.
type mark struct {
	X    int
	Text string
}

// WriteTimeline draws a run as a page: how many calls ended when, and how, above the
// faults; and below them what was found.
func WriteTimeline(w io.Writer, title string, ops []Op, verdicts []Verdict) error {
	end := time.Duration(1)
	for i := range ops {
		end = max(end, ops[i].Return)
	}
	x := func(t time.Duration) int { return int(int64(t) * timelineWidth / int64(end)) }
	t := timeline{Title: title, Summary: Summarize(ops), Width: timelineWidth, Findings: Findings(verdicts)}
	t.Bars, t.Peak = bars(ops, end)
	for i := range ops {
		if op := &ops[i]; op.Kind == Fault {
			t.Lanes = append(t.Lanes, lane{
				X: x(op.Call), W: max(2, x(op.Return)-x(op.Call)), Y: barsHeight + 20 + len(t.Lanes)*(laneHeight+laneGap),
				Text: op.Text, Seconds: (op.Return - op.Call).Seconds(),
			})
		}
	}
	for i := range 11 {
		at := end * time.Duration(i) / 10
		t.Marks = append(t.Marks, mark{x(at), at.Round(100 * time.Millisecond).String()})
	}
	t.Height = barsHeight + 30 + len(t.Lanes)*(laneHeight+laneGap)
	return page.Execute(w, t)
}

// bars counts the ends of calls by moment; peak is the most of one.
func bars(ops []Op, end time.Duration) (out []bar, peak int) {
	out = make([]bar, timelineBars)
	for i := range ops {
		op := &ops[i]
		if slices.Contains([]Kind{Fault, ReadTable, History, FinalBoard, Hashes}, op.Kind) {
			continue
		}
		b := &out[min(int(int64(op.Return)*timelineBars/int64(end)), timelineBars-1)]
		switch op.Outcome {
		case None:
			b.None++
		case Unknown, Wrong:
			b.Unknown++
		default:
			b.OK++
		}
		peak = max(peak, b.OK+b.None+b.Unknown)
	}
	for i := range out {
		b := &out[i]
		b.X, b.W = i*timelineWidth/timelineBars, timelineWidth/timelineBars-1
		scale := func(n *int) int { *n = *n * barsHeight / max(peak, 1); return *n }
		b.OKTop = barsHeight - scale(&b.OK)
		b.NoneTop = b.OKTop - scale(&b.None)
		b.UnknownTop = b.NoneTop - scale(&b.Unknown)
	}
	return out, peak
}

var page = template.Must(template.New("timeline").Parse(`<!doctype html>
<meta charset="utf-8"><title>{{.Title}}</title>
<style>body{font:14px sans-serif;margin:20px} text{font-size:11px} .ok{fill:#3a7} .none{fill:#bbb} .unknown{fill:#d33} .fault{fill:#e8a33d;opacity:.6}
.key span{padding:0 8px;margin-right:8px;color:#fff} li{margin:4px 0}</style>
<h1>{{.Title}}</h1>
<p>{{.Summary.Ops}} operations, {{.Summary.Acked}} submissions acknowledged, {{.Summary.Unknown}} unknown, {{.Summary.None}} not done, {{.Summary.Refused}} refused by the rules, {{.Summary.Faults}} faults.</p>
<p class="key"><span style="background:#3a7">answered</span><span style="background:#bbb">nothing done</span><span style="background:#d33">unknown</span><span style="background:#e8a33d">fault</span> highest bar: {{.Peak}} calls</p>
<svg width="{{.Width}}" height="{{.Height}}" role="img">
{{range .Lanes}}<rect class="fault" x="{{.X}}" y="0" width="{{.W}}" height="{{$.Height}}" style="opacity:.12"/>
{{end}}{{range .Bars}}<rect class="ok" x="{{.X}}" y="{{.OKTop}}" width="{{.W}}" height="{{.OK}}"/><rect class="none" x="{{.X}}" y="{{.NoneTop}}" width="{{.W}}" height="{{.None}}"/><rect class="unknown" x="{{.X}}" y="{{.UnknownTop}}" width="{{.W}}" height="{{.Unknown}}"/>
{{end}}{{range .Marks}}<text x="{{.X}}" y="175">{{.Text}}</text>
{{end}}{{range .Lanes}}<rect class="fault" x="{{.X}}" y="{{.Y}}" width="{{.W}}" height="18"/><text x="{{.X}}" y="{{.Y}}" dx="3" dy="13">{{.Text}} ({{printf "%.1f" .Seconds}} s)</text>
{{end}}</svg>
{{if .Findings}}<h2>What was found</h2><ol>{{range .Findings}}<li>{{.}}</li>{{end}}</ol>{{else}}<p>Nothing was found.</p>{{end}}
`))
