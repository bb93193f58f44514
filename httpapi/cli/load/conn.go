package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	// answerTimeout is longer than a node takes for any single request. An answer may
	// take up to twice as long.
	answerTimeout = 15 * time.Second
	// maxAnswer bounds an answer's body, in bytes.
	maxAnswer = 1 << 20
)

// conn is a lean HTTP/1.1 client on one kept connection: it sends prepared
// requests and reads answers with a Content-Length, which is what a node sends
// for every short body. It dials again after an error. For one goroutine.
type conn struct {
	addr  string
	dial  func(addr string) (net.Conn, error) // nil: TCP
	c     net.Conn
	r     *bufio.Reader
	until time.Time // the deadline that c has

	req, body, answer []byte // buffers that are used again
}

var errChunked = errors.New("an answer without Content-Length")

// do sends one whole request and returns the answer's status and its body,
// which is valid until the next call.
func (c *conn) do(req []byte) (status int, body []byte, err error) {
	if c.c == nil {
		dial := c.dial
		if dial == nil {
			dial = dialTCP
		}
		if c.c, err = dial(c.addr); err != nil {
			return 0, nil, fmt.Errorf("dial: %w", unwrap(err))
		}
		c.r, c.until = bufio.NewReader(c.c), time.Time{}
	}
	status, body, err = c.exchange(req)
	if err != nil {
		c.close()
	}
	return status, body, err
}

func dialTCP(addr string) (net.Conn, error) { return net.DialTimeout("tcp", addr, dialTimeout) }

func (c *conn) exchange(req []byte) (status int, body []byte, err error) {
	if now := time.Now(); c.until.Sub(now) < answerTimeout {
		// A timer for each request would cost more than to wait twice as long at worst.
		c.until = now.Add(2 * answerTimeout)
		if err := c.c.SetDeadline(c.until); err != nil {
			return 0, nil, err
		}
	}
	if _, err := c.c.Write(req); err != nil {
		return 0, nil, fmt.Errorf("send: %w", unwrap(err))
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, nil, fmt.Errorf("read: %w", unwrap(err))
	}
	if status, err = parseStatus(line); err != nil {
		return 0, nil, err
	}
	length := -1
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, nil, fmt.Errorf("read: %w", unwrap(err))
		}
		name, value, ok := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if !ok {
			break
		}
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, nil, fmt.Errorf("Content-Length: %w", err)
			}
		}
	}
	if length < 0 || length > maxAnswer {
		return 0, nil, errChunked
	}
	if cap(c.answer) < length {
		c.answer = make([]byte, length)
	}
	c.answer = c.answer[:length]
	_, err = io.ReadFull(c.r, c.answer)
	return status, c.answer, err
}

// parseStatus reads "HTTP/1.1 200 OK".
func parseStatus(line []byte) (int, error) {
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, errors.New("an answer that is not HTTP/1.1")
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, fmt.Errorf("status: %w", err)
	}
	return status, nil
}

func (c *conn) close() {
	if c.c != nil {
		c.c.Close()
		c.c = nil
	}
}

// unwrap drops addresses and ports from a network error, so that equal errors
// are counted together.
func unwrap(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
