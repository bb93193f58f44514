package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

// call is one request, before a node is chosen for it.
type call struct {
	method  string
	path    string // escaped
	query   url.Values
	key     string // Idempotency-Key
	ifMatch string
	body    any    // encoded as JSON, or
	raw     []byte // sent as it is
	leader  string // whom to try first, if not empty
	safe    bool   // doing it twice is doing it once
	out     any    // pointer to what the answer is decoded into; nil to drop it
}

// reply is what a caller may want beside the body.
type reply struct {
	status int
	header http.Header
}

func orNewKey(key string) string {
	if key == "" {
		return ulid.Make().String()
	}
	return key
}

// do sends k until it has a definite answer, or may not be sent again.
func (c *Client) do(ctx context.Context, k call) (reply, error) {
	if k.body != nil {
		raw, err := json.Marshal(k.body)
		if err != nil {
			return reply{}, fmt.Errorf("client: encode the request: %w", err)
		}
		k.raw = raw
	}
	attempts := c.Attempts
	if attempts <= 0 {
		attempts = DefaultAttempts
	}
	for n := 1; ; n++ {
		at := c.preferred.Load()
		addr := c.addr(at)
		direct := n == 1 && k.leader != ""
		if direct {
			addr = k.leader
		}
		r, err := c.once(ctx, addr, k)
		if err == nil || n >= attempts || ctx.Err() != nil || !repeatable(err, k.safe) {
			return r, err
		}
		if direct {
			c.routes.forget()
		} else {
			c.preferred.CompareAndSwap(at, at+1)
		}
		if !c.pause(ctx, n, err) {
			return r, err
		}
	}
}

func (c *Client) addr(i uint32) string { return c.Addrs[int(i)%len(c.Addrs)] }

// repeatable: nothing was done, or nothing is done twice.
func repeatable(err error, safe bool) bool {
	switch fsm.KindOf(err) {
	case fsm.Unavailable, fsm.Overloaded, fsm.RateLimited:
		return true
	case fsm.OutcomeUnknown:
		return safe
	}
	return false
}

// pause waits before attempt n+1: not at all while there are nodes that were
// not tried and the last one was unreachable, else a jittered and growing time,
// and never less than the cluster asked for. It reports false if ctx ends first.
func (c *Client) pause(ctx context.Context, n int, err error) bool {
	if errors.Is(err, ErrUnreachable) && n < len(c.Addrs) {
		return ctx.Err() == nil
	}
	d := min(firstPause<<min(n-1, 16), maxPause)
	d = d/2 + rand.N(d/2)
	if e, ok := errors.AsType[*fsm.Error](err); ok && e.After > 0 {
		d += e.After
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// once sends k to one node.
func (c *Client) once(ctx context.Context, addr string, k call) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout()+grace)
	defer cancel()
	var body io.Reader
	if k.raw != nil {
		body = bytes.NewReader(k.raw)
	}
	req, sent, err := c.request(ctx, addr, k, body)
	if err != nil {
		return reply{}, err
	}
	resp, err := c.http().Do(req)
	if err != nil {
		return reply{}, sent.classify(addr, k.method, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	r := reply{resp.StatusCode, resp.Header}
	switch {
	case err != nil:
		return r, sent.classify(addr, k.method, fmt.Errorf("read the answer: %w", err))
	case len(data) > maxBody:
		return r, fmt.Errorf("client: the answer of %s is larger than %d bytes", addr, maxBody)
	case resp.StatusCode >= 400:
		return r, problemError(resp, data)
	case k.out == nil:
		return r, nil
	}
	if err := json.Unmarshal(data, k.out); err != nil {
		return r, fmt.Errorf("client: %s %s answered by %s with something else: %w", k.method, k.path, addr, err)
	}
	return r, nil
}

// connected records whether a request got a connection, after which its bytes
// may have been sent.
type connected struct{ got bool }

func (s *connected) classify(addr, method string, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // its text repeats method and URL
	}
	if !s.got || method == http.MethodGet {
		return unreachable(addr, err)
	}
	return lost(addr, err)
}

func (c *Client) request(ctx context.Context, addr string, k call, body io.Reader) (*http.Request, *connected, error) {
	sent := &connected{}
	// GotConn runs on the goroutine that waits in Do, so a plain bool will do.
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { sent.got = true },
	})
	u := addr + k.path
	if len(k.query) > 0 {
		u += "?" + k.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, k.method, u, body)
	if err != nil {
		return nil, nil, fmt.Errorf("client: %w", err)
	}
	h := req.Header
	if c.Token != "" {
		h.Set("Authorization", "Bearer "+c.Token)
	}
	if k.key != "" {
		h.Set("Idempotency-Key", k.key)
	}
	if k.ifMatch != "" {
		h.Set("If-Match", k.ifMatch)
	}
	if c.Timeout > 0 {
		h.Set("Cairn-Timeout", c.Timeout.String())
	}
	if body != nil {
		h.Set("Content-Type", "application/json")
	}
	return req, sent, nil
}

// problemError makes the *fsm.Error of an answer that is not a success. A body
// that is no problem+json comes from something between us and the node.
func problemError(resp *http.Response, body []byte) error {
	var p rest.Problem
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		return fsm.Errorf(fsm.Internal, "unexpected answer %s from %s", resp.Status, resp.Request.URL.Host)
	}
	e := ProblemError(&p)
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && e.After == 0 {
		e.After = time.Duration(s) * time.Second
	}
	return e
}

// ProblemError turns a problem, of an answer or of a batch's line, back into
// the error it was made from.
func ProblemError(p *rest.Problem) *fsm.Error {
	e := &fsm.Error{Kind: fsm.KindByCode(p.Code), Msg: p.Detail, After: time.Duration(p.RetryAfterMS) * time.Millisecond}
	if e.Msg == "" {
		e.Msg = p.Title
	}
	return e
}

func (c *Client) checks(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout()+grace)
	defer cancel()
	addr := c.addr(c.preferred.Load())
	req, sent, err := c.request(ctx, addr, call{
		method: http.MethodGet, path: path, query: url.Values{"verbose": {""}},
	}, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.http().Do(req)
	if err != nil {
		return "", sent.classify(addr, http.MethodGet, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return "", sent.classify(addr, http.MethodGet, err)
	}
	if resp.StatusCode != http.StatusOK {
		return string(text), fsm.Errorf(fsm.Unavailable, "%s: %s is failing", addr, path)
	}
	return string(text), nil
}
