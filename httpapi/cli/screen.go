package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// screen is an output stream with what is known of the terminal behind it.
type screen struct {
	w     io.Writer
	tty   bool
	color bool
	fd    int
}

// newScreen asks w whether it is a terminal. NO_COLOR (no-color.org) and
// TERM=dumb turn colour off; a dumb terminal is not redrawn either.
func newScreen(w io.Writer, getenv func(string) string) *screen {
	s := &screen{w: w}
	if f, ok := w.(*os.File); ok && getenv("TERM") != "dumb" {
		s.fd = int(f.Fd())
		s.tty = term.IsTerminal(s.fd)
		s.color = s.tty && getenv("NO_COLOR") == ""
	}
	return s
}

// size is the terminal's width and height in cells; 0, 0 for anything else:
// no limit.
func (s *screen) size() (columns, rows int) {
	if !s.tty {
		return 0, 0
	}
	columns, rows, err := term.GetSize(s.fd)
	if err != nil {
		return 0, 0
	}
	return columns, rows
}

// bold marks a headline where colour is wanted.
func (s *screen) bold(text string) string {
	if !s.color {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// Intervals of a live line: what a terminal redraws often, a log gets seldom.
const (
	redrawEvery = 100 * time.Millisecond
	plainEvery  = 5 * time.Second
)

// live is a status line that changes in place below lines that stay. Where the
// stream is no terminal, the status becomes an ordinary line now and then. Safe
// for concurrent use.
type live struct {
	screen *screen
	now    func() time.Time

	mu    sync.Mutex
	shown string // what the terminal's last line holds
	drawn time.Time
}

// newLive returns a status that a terminal shows at once, and a log after a
// while: what is done by then needs no progress.
func newLive(s *screen) *live {
	l := &live{screen: s, now: time.Now}
	if !s.tty {
		l.drawn = l.now()
	}
	return l
}

// status replaces the status line, unless the last change is too fresh. render
// gets the width to fill, 0 for no limit.
func (l *live) status(render func(columns int) string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	every := plainEvery
	if l.screen.tty {
		every = redrawEvery
	}
	now := l.now()
	if now.Sub(l.drawn) < every {
		return
	}
	l.drawn = now
	l.draw(render)
}

// finish shows the last status whatever its age, and leaves it standing.
func (l *live) finish(render func(columns int) string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draw(render)
	if l.screen.tty {
		fmt.Fprintln(l.screen.w)
	}
	l.shown = ""
}

func (l *live) draw(render func(columns int) string) {
	columns, _ := l.screen.size()
	line := render(columns)
	if !l.screen.tty {
		fmt.Fprintln(l.screen.w, line)
		return
	}
	if columns > 0 {
		line = cut(line, columns-1)
	}
	fmt.Fprintf(l.screen.w, "\r\x1b[K%s", line)
	l.shown = line
}

// printf adds a line that stays, above the status.
func (l *live) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := printable(strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
	if l.shown == "" {
		fmt.Fprintln(l.screen.w, text)
		return
	}
	fmt.Fprintf(l.screen.w, "\r\x1b[K%s\n%s", text, l.shown)
}

// Bars are between minBar and maxBar cells wide.
const (
	minBar = 10
	maxBar = 40
)

// bar draws done of total as a bar, the percentage, the counts, the rate and
// the time left. An unknown total (0) leaves the counts and the rate.
func bar(columns, done, total int, elapsed time.Duration) string {
	rate := 0.0
	if elapsed > 0 {
		rate = float64(done) / elapsed.Seconds()
	}
	if total <= 0 {
		return fmt.Sprintf("%s done  %s/s", thousands(done), thousands(int(rate)))
	}
	done = min(done, total)
	text := fmt.Sprintf(" %3d %%  %s/%s  %s/s", done*100/total, thousands(done), thousands(total), thousands(int(rate)))
	if left := total - done; left > 0 && rate > 0 {
		text += "  " + (time.Duration(float64(left)/rate*float64(time.Second)) + time.Second/2).Truncate(time.Second).String() + " left"
	}
	if columns == 0 {
		return strings.TrimLeft(text, " ")
	}
	width := min(columns-1-cells(text)-2, maxBar)
	if width < minBar {
		return strings.TrimLeft(text, " ")
	}
	full := done * width / total
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]" + text
}

// count writes n and what it counts.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return thousands(n) + " " + what + "s"
}

// thousands writes n with its digits in groups of three.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
