package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"cairn/httpapi/rest"
)

// MaxLine is the longest line, in bytes, that the batch endpoint takes.
const MaxLine = 64 << 10

// Line is one submission of a file. Number counts the file's lines from 1,
// blank ones too, as an editor does.
type Line struct {
	Number int
	rest.BatchLine
}

// LineError is a line that cannot be sent as it stands.
type LineError struct {
	Number int
	Detail string
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Number, e.Detail) }

// Reader reads submissions from NDJSON.
type Reader struct {
	in     *bufio.Reader
	number int
}

// NewReader reads NDJSON, or gzip of it: it looks at the first bytes, because
// standard input has no name that tells.
func NewReader(r io.Reader) (*Reader, error) {
	in := bufio.NewReaderSize(r, MaxLine+2) // a longest line and its CRLF
	if magic, _ := in.Peek(2); !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return &Reader{in: in}, nil
	}
	unzipped, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("read gzip: %w", err)
	}
	return &Reader{in: bufio.NewReaderSize(unzipped, MaxLine+2)}, nil
}

// Next returns the next line. A *LineError is that line's alone: the one after
// it can be read. Any other error ends the file; io.EOF ends it well.
func (r *Reader) Next() (Line, error) {
	for {
		text, err := r.text()
		if err != nil {
			return Line{}, err
		}
		if len(text) > 0 {
			return r.parse(text)
		}
	}
}

// Count returns how many lines Next would still return, good or bad.
func (r *Reader) Count() (int, error) {
	for n := 0; ; {
		text, err := r.text()
		if _, bad := errors.AsType[*LineError](err); err == nil && len(text) == 0 {
			continue
		} else if err == io.EOF {
			return n, nil
		} else if err != nil && !bad {
			return n, err
		}
		n++
	}
}

// text returns one line without the white space around it. It is valid until
// the next call.
func (r *Reader) text() ([]byte, error) {
	text, err := r.in.ReadSlice('\n')
	if len(text) > 0 {
		r.number++
	}
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.in.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("read line %d: %w", r.number, err)
		}
		return nil, r.errorf("longer than %d bytes", MaxLine)
	case err == io.EOF && len(text) == 0:
		return nil, io.EOF
	case err != nil && err != io.EOF:
		return nil, fmt.Errorf("read line %d: %w", r.number, err)
	}
	text = bytes.TrimSpace(text)
	if len(text) > MaxLine {
		return nil, r.errorf("longer than %d bytes", MaxLine)
	}
	return text, nil
}

// parse is strict: a field that this program does not know would be lost on
// its way, and the line would mean something else.
func (r *Reader) parse(text []byte) (Line, error) {
	line := Line{Number: r.number}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&line.BatchLine); err != nil {
		return Line{}, r.errorf("not a submission: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Line{}, r.errorf("not one JSON object: something follows it")
	}
	switch {
	case line.Key == "":
		return Line{}, r.errorf("no key: without one, a line that is sent again would count twice")
	case line.Team == "":
		return Line{}, r.errorf("no team")
	case line.Clue == "":
		return Line{}, r.errorf("no clue")
	}
	return line, nil
}

func (r *Reader) errorf(format string, args ...any) error {
	return &LineError{r.number, fmt.Sprintf(format, args...)}
}
