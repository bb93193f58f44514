package load

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"cairn/fsm"
	"cairn/httpapi/cli/play"
)

// key makes each submission another one: the run, the client, and its requests
// before. Letters between the numbers keep answers apart when judging drops all
// other marks: 1-23 and 12-3 would be the same guess.
type key struct {
	run     string
	worker  int
	request int
}

func (k key) append(b []byte) []byte {
	b = append(b, k.run...)
	b = append(b, "-w"...)
	b = strconv.AppendInt(b, int64(k.worker), 10)
	b = append(b, "-k"...)
	return strconv.AppendInt(b, int64(k.request), 10)
}

// appendAnswer appends what follows `{"clue":"`, up to the closing brace.
func appendAnswer(b []byte, clue fsm.ClueID, k key) []byte {
	b = append(b, clue...)
	b = append(b, `","answer":"guess `...)
	b = k.append(b)
	return append(b, '"')
}

// overloaded is what an answer contains that says so.
var overloaded = []byte(`"code":"overloaded"`)

// wanted is what a good answer contains: a new wrong submission's, for one, that
// it was judged so.
var wanted = [kinds][]byte{
	Submit:    []byte(`"verdict":"incorrect"`),
	Clues:     []byte(`"clues":`),
	Board:     []byte(`"leaderboard":`),
	TeamState: []byte(`"score":`),
}

// refused is the cluster's answer when there is too much to do: when to come back.
type refused time.Duration

func (refused) Error() string { return "refused" }

// refusal reads when to come back from an answer's retry_after_ms.
func refusal(answer []byte) error {
	_, rest, _ := bytes.Cut(answer, []byte(`"retry_after_ms":`))
	end := bytes.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	ms, _ := strconv.Atoi(string(rest[:max(end, 0)])) // zero if there is none
	return refused(time.Duration(ms) * time.Millisecond)
}

// wasRefused reports whether err is a refusal, and when to come back.
func wasRefused(err error) (time.Duration, bool) {
	after, ok := err.(refused) //nolint:errorlint // nobody wraps it
	return time.Duration(after), ok
}

// ask makes one request and checks its answer.
func (c *conn) ask(p *Plan, op Op, hunt fsm.HuntID, team *play.Team, k key) error {
	if op == Submit {
		c.submission(p.Clue, hunt, team, k)
	} else {
		c.read(op, hunt, team)
	}
	status, answer, err := c.do(c.req)
	switch {
	case err != nil:
		return err
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable && bytes.Contains(answer, overloaded):
		return refusal(answer)
	case status != http.StatusOK:
		return fmt.Errorf("status %d", status)
	case !bytes.Contains(answer, wanted[op]):
		return errOther[op]
	}
	return nil
}

var errOther = [kinds]error{
	Submit: errors.New("another verdict"), Clues: errors.New("no clues"), Board: errors.New("no board"), TeamState: errors.New("no team"),
}

// submission lays out a request in c.req.
func (c *conn) submission(clue fsm.ClueID, hunt fsm.HuntID, team *play.Team, k key) {
	c.body = append(appendAnswer(append(c.body[:0], `{"clue":"`...), clue, k), '}')
	c.head("POST /v1/hunts/", hunt, team, "/submissions")
	c.req = append(c.req, "\r\nIdempotency-Key: "...)
	c.req = k.append(c.req)
	c.req = append(c.req, "\r\nContent-Length: "...)
	c.req = strconv.AppendInt(c.req, int64(len(c.body)), 10)
	c.req = append(c.req, "\r\n\r\n"...)
	c.req = append(c.req, c.body...)
}

// read lays out a request in c.req.
func (c *conn) read(op Op, hunt fsm.HuntID, team *play.Team) {
	switch op {
	case Board:
		c.head("GET /v1/hunts/", hunt, nil, "/leaderboard")
	case Clues:
		c.head("GET /v1/hunts/", hunt, team, "/clues")
	default:
		c.head("GET /v1/hunts/", hunt, team, "")
	}
	c.req = append(c.req, "\r\n\r\n"...)
}

// head lays out the beginning of a request, of a team unless it is nil.
func (c *conn) head(begin string, hunt fsm.HuntID, team *play.Team, end string) {
	req := append(c.req[:0], begin...)
	req = append(req, hunt...)
	if team != nil {
		req = append(req, "/teams/"...)
		req = append(req, team.ID...)
	}
	req = append(req, end...)
	req = append(req, " HTTP/1.1\r\nHost: "...)
	req = append(req, c.addr...)
	if team != nil {
		req = append(req, "\r\nAuthorization: Bearer "...)
		req = append(req, team.Token...)
	}
	c.req = req
}
