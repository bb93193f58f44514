package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// watchEvery is the pause between two looks of --watch. Boards are at most 1 s
// old, so looking more often would show the same.
const watchEvery = time.Second

// answer is what a command has to say: the REST body for -o json, and how a
// person wants to see it.
type answer struct {
	body any
	text func(p *page)
}

// page collects the text of an answer.
type page struct {
	bytes.Buffer
	screen *screen
}

func (p *page) printf(format string, args ...any) {
	p.WriteString(printable(fmt.Sprintf(format, args...)))
}

func (p *page) table(t *table) {
	columns, _ := p.screen.size()
	t.write(&p.Buffer, columns, p.screen.bold) // a Buffer's Write cannot fail
}

// json prints v as indented JSON with the characters as they are.
func (a *app) json(v any) error {
	enc := json.NewEncoder(a.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeLine prints v as one line of JSON.
func writeLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// emit prints an answer in the form that -o asks for.
func (a *app) emit(ans answer) error {
	if a.output == "json" {
		return a.json(ans.body)
	}
	p := &page{screen: newScreen(a.Stdout, a.Getenv)}
	ans.text(p)
	_, err := p.WriteTo(a.Stdout)
	return err
}

// show prints the answer of get once, or with watch again and again until ctx
// ends: in place on a terminal, else one after the other, as lines of JSON with
// -o json. While watching, an error that may pass is told and outlived.
func (a *app) show(ctx context.Context, watch bool, get func(context.Context) (answer, error)) error {
	ans, err := get(ctx)
	if err != nil {
		return err
	}
	if !watch {
		return a.emit(ans)
	}
	out := newScreen(a.Stdout, a.Getenv)
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	lines := 0
	for {
		switch {
		case err != nil:
			fmt.Fprintf(a.Stderr, "cairn: %v\n", printable(err.Error()))
			lines = 0
		case a.output == "json":
			if err := writeLine(a.Stdout, ans.body); err != nil {
				return err
			}
		default:
			if lines, err = a.redraw(out, ans, lines); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		ans, err = get(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if code := exitCode(err); err != nil && code != exitNotNow && code != exitUnknown {
			return err
		}
	}
}

// redraw prints an answer over the last one, which took some lines, and returns
// how many it takes. What does not fit on the screen is left out: a cursor
// cannot go back to what has scrolled away.
func (a *app) redraw(out *screen, ans answer, lines int) (int, error) {
	p := &page{screen: out}
	ans.text(p)
	text := p.String()
	if !out.tty {
		_, err := fmt.Fprintln(out.w, text)
		return 0, err
	}
	if _, rows := out.size(); rows > 1 {
		if all := strings.SplitAfter(text, "\n"); len(all) > rows {
			text = strings.Join(all[:rows-1], "")
		}
	}
	up := "\r"
	if lines > 0 {
		up = fmt.Sprintf("\x1b[%dA\r", lines)
	}
	_, err := fmt.Fprint(out.w, up+"\x1b[J"+text)
	return strings.Count(text, "\n"), err
}
