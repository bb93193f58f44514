package replay

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// TestReader covers what a file may look like.
func TestReader(t *testing.T) {
	good := `{"key":"k","team":"t","clue":"c","answer":"a"}`
	long := `{"key":"k","team":"t","clue":"c","answer":"` + strings.Repeat("a", MaxLine) + `"}`
	exact := `{"key":"k","team":"t","clue":"c","answer":"` + strings.Repeat("a", MaxLine-len(good)+1) + `"}`
	for _, tt := range []struct {
		name, text string
		want       string // one word a line
	}{
		{"empty", "", ""},
		{"no newline at the end", good, "1"},
		{"blank lines count", "\n\n" + good + "\r\n\n" + good + "\n", "3 5"},
		{"bad lines are told", good + "\nx\n" + good, "1 bad:2 3"},
		{"unknown field", `{"key":"k","team":"t","clue":"c","answer":"a","colour":1}`, "bad:1"},
		{"two objects", good + good, "bad:1"},
		{"no key", `{"team":"t","clue":"c","answer":"a"}`, "bad:1"},
		{"no team", `{"key":"k","clue":"c","answer":"a"}`, "bad:1"},
		{"no clue", `{"key":"k","team":"t","answer":"a"}`, "bad:1"},
		{"wrong type", `{"key":1,"team":"t","clue":"c","answer":"a"}`, "bad:1"},
		{"bad time", `{"key":"k","team":"t","clue":"c","answer":"a","at":"yesterday"}`, "bad:1"},
		{"as long as allowed", exact + "\r\n" + good, "1 2"},
		{"too long", long + "\n" + good, "bad:1 2"},
		{"far too long", strings.Repeat("x", 5*MaxLine) + "\n" + good, "bad:1 2"},
		{"too long without end", strings.Repeat("x", 5*MaxLine), "bad:1"},
	} {
		for _, zipped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/zipped=%v", tt.name, zipped), func(t *testing.T) {
				text := []byte(tt.text)
				if zipped {
					var b bytes.Buffer
					z := gzip.NewWriter(&b)
					z.Write(text)
					z.Close()
					text = b.Bytes()
				}
				got := read(t, reader(t, text))
				if strings.Join(got, " ") != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if n, err := reader(t, text).Count(); err != nil || n != len(got) {
					t.Errorf("Count: %d, %v; want %d", n, err, len(got))
				}
			})
		}
	}
	t.Run("cut gzip", func(t *testing.T) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(good + "\n"))
		z.Close()
		r := reader(t, b.Bytes()[:b.Len()-9])
		for {
			_, err := r.Next()
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return
			}
			if err != nil {
				t.Fatalf("got %v, want an unexpected end", err)
			}
		}
	})
}

func read(t *testing.T, r *Reader) []string {
	t.Helper()
	var got []string
	for {
		line, err := r.Next()
		if err == io.EOF {
			return got
		}
		if bad, ok := errors.AsType[*LineError](err); ok {
			got = append(got, fmt.Sprintf("bad:%d", bad.Number))
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(line.Number))
	}
}

// FuzzReader: no file makes it panic or loop, what it accepts can be sent, and
// Count agrees with Next.
func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"key":"k","team":"t","clue":"c","answer":"a"}` + "\n\nx\n"))
	f.Add([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1, 0, 0, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := NewReader(bytes.NewReader(data))
		if err != nil {
			return
		}
		n := 0
		for ; ; n++ {
			line, err := r.Next()
			if _, bad := errors.AsType[*LineError](err); bad {
				continue
			}
			if err != nil {
				if err != io.EOF {
					return
				}
				break
			}
			if line.Key == "" || line.Team == "" || line.Clue == "" {
				t.Fatalf("accepted %+v", line)
			}
		}
		again, _ := NewReader(bytes.NewReader(data))
		if count, err := again.Count(); err != nil || count != n {
			t.Fatalf("Count %d, %v; Next gave %d", count, err, n)
		}
	})
}
