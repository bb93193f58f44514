package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBar(t *testing.T) {
	for _, tt := range []struct {
		name          string
		columns, done int
		total         int
		elapsed       time.Duration
		want          string
	}{
		{"half", 80, 50, 100, 10 * time.Second, "[####################....................]  50 %  50/100  5/s  10s left"},
		{"nothing yet", 80, 0, 100, 0, "[........................................]   0 %  0/100  0/s"},
		{"finished", 80, 41649, 41649, 60 * time.Second, "[########################################] 100 %  41,649/41,649  694/s"},
		{"narrow", 50, 50, 100, 10 * time.Second, "[#########.........]  50 %  50/100  5/s  10s left"},
		{"too narrow for a bar", 40, 50, 100, 10 * time.Second, "50 %  50/100  5/s  10s left"},
		{"no terminal", 0, 50, 100, 10 * time.Second, "50 %  50/100  5/s  10s left"},
		{"unknown total", 80, 1234, 0, 10 * time.Second, "1,234 done  123/s"},
		{"more than expected", 80, 101, 100, 10 * time.Second, "[########################################] 100 %  100/100  10/s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := bar(tt.columns, tt.done, tt.total, tt.elapsed); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// TestBarFits: on a terminal wide enough for the figures, a bar never reaches
// the last column, where some terminals wrap.
func TestBarFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		columns := rapid.IntRange(60, 300).Draw(t, "columns")
		total := rapid.IntRange(1, 1e9).Draw(t, "total")
		done := rapid.IntRange(0, total).Draw(t, "done")
		elapsed := time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, "elapsed"))
		line := bar(columns, done, total, elapsed)
		if cells(line) >= columns && strings.HasPrefix(line, "[") {
			t.Fatalf("%d cells in %d columns: %q", cells(line), columns, line)
		}
	})
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -999: "-999", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
}

// TestLive: on a terminal the status is redrawn below lines that stay; in a log
// it comes now and then, on lines of its own.
func TestLive(t *testing.T) {
	for _, tt := range []struct {
		name string
		tty  bool
		want string
	}{
		{"terminal", true, "\r\x1b[Ka\r\x1b[Knews\na\r\x1b[Kc\r\x1b[Kd\nlate\n"},
		{"log", false, "news\nc\nd\nlate\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			l := newLive(&screen{w: &out, tty: tt.tty})
			now := time.Now()
			l.now = func() time.Time { return now }
			text := func(s string) func(int) string { return func(int) string { return s } }
			l.status(text("a"))
			l.status(text("b")) // too fresh
			l.printf("news\n")
			now = now.Add(plainEvery)
			l.status(text("c"))
			l.finish(text("d"))
			l.printf("late")
			if got := out.String(); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestTable(t *testing.T) {
	table := newTable("NAME", ">SCORE", "NOTE")
	table.add("Ünïcödé", "1", "one combining: e\u0301.")
	table.add("灯台クラブ", "1,000", "")
	table.add("evil \x1b[31m\u202e\u2028", "22", "tab\there")
	table.add("👩\u200d🚀", "3", "x")
	for _, tt := range []struct {
		limit int
		want  string
	}{
		{0, `NAME          SCORE  NOTE
Ünïcödé           1  one combining: é.
灯台クラブ    1,000
evil �[31m��     22  tab�here
👩‍🚀                3  x
`},
		{33, `NAME          SCORE  NOTE
Ünïcödé           1  one combini…
灯台クラブ    1,000
evil �[31m��     22  tab�here
👩‍🚀                3  x
`},
	} {
		var b strings.Builder
		if err := table.write(&b, tt.limit, func(s string) string { return s }); err != nil {
			t.Fatal(err)
		}
		if want := strings.ReplaceAll(tt.want, ": é.", ": e\u0301."); b.String() != want {
			t.Errorf("limit %d, got:\n%s\nwant:\n%s\nthat is %q, want %q", tt.limit, b.String(), want, b.String(), want)
		}
	}
}

// TestCut: what is cut fits, and nothing that fits is cut.
func TestCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		n := rapid.IntRange(1, 40).Draw(t, "n")
		got := cut(s, n)
		if cells(got) > n || cells(s) <= n && got != s {
			t.Fatalf("cut(%q, %d) = %q of %d cells", s, n, got, cells(got))
		}
	})
}
