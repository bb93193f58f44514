package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"cairn/fsm"
)

// call is one request on its way through serve and its handler.
type call struct {
	w   *response
	r   *http.Request
	ctx context.Context // ends at the request's deadline
	// budget is how long the request, or each line of a stream, may take.
	budget time.Duration
	route  *route
	id     string

	who  *Principal // nil: no token was sent
	hunt HuntRef    // set by authorize where the path names a hunt
	info *HuntInfo  // of hunt; nil for a team, which needs no catalogue: see loadHunt
	team fsm.TeamID // set by authorize where the path names a team
}

// response remembers what was answered.
type response struct {
	http.ResponseWriter
	status int // 0: nothing yet
	bytes  int64
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// serve makes the handler of a row.
func (a *api) serve(rt *route) http.HandlerFunc {
	observe := a.metrics.requestObserver(rt)
	return func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		c := &call{w: &response{ResponseWriter: w}, r: r, route: rt, id: a.requestID.of(r)}
		c.setHeaders()
		defer func() {
			if p := recover(); p != nil {
				a.recovered(c, p)
			}
			took := time.Since(begin)
			observe(c.w.status, took)
			a.logAccess(c, took)
			a.slow.note(a, c, took)
		}()
		if err := a.run(c); err != nil {
			refused := rt.stream && c.w.status == 0
			if a.finish(c, err); refused {
				linger(c)
			}
		}
	}
}

// run admits, authorizes and handles a request.
func (a *api) run(c *call) error {
	if c.route.stream {
		return a.runStream(c)
	}
	return a.admit(c)
}

// runStream lets a stream's answer begin before its body ends, a refusal too:
// net/http would first read the body, which the client holds open. The
// connection of a refused stream is not used again, for the same reason.
func (a *api) runStream(c *call) error {
	rc := http.NewResponseController(c.w)
	if err := rc.EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("read and write at once: %w", err)
	}
	err := a.admit(c)
	if err != nil && c.w.status == 0 {
		c.w.Header().Set("Connection", "close")
		rc.SetReadDeadline(time.Now().Add(lingerFor)) // an error leaves the server's own timeout
	}
	return err
}

const (
	// lingerFor and lingerBytes bound what is read of a refused stream.
	lingerFor   = 500 * time.Millisecond
	lingerBytes = 1 << 20
)

// linger sends a refusal off and reads on for a moment: closing a connection with
// unread bytes resets it, and the client would lose the reason.
func linger(c *call) {
	if http.NewResponseController(c.w).Flush() == nil {
		io.CopyN(io.Discard, c.r.Body, lingerBytes) // whatever ends it, the answer is out
	}
}

func (a *api) admit(c *call) error {
	if !c.route.exempt {
		gate := a.gateOf(c.route)
		if !gate.enter() {
			return fsm.Errorf(fsm.Overloaded, "this node has %d requests of this kind in progress; try again, or another node", gate.limit)
		}
		defer gate.leave()
	}
	if c.route.early {
		if err := a.Cluster.Overloaded(fsm.HuntID(chi.URLParam(c.r, "hunt"))); err != nil {
			return err
		}
	}
	var err error
	if c.budget, err = c.timeout(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), c.budget)
	defer cancel()
	c.ctx = ctx
	if err := a.authorize(c); err != nil {
		return err
	}
	return c.route.handle(a, c)
}

// gateOf returns the gate that a row's requests pass.
func (a *api) gateOf(rt *route) *gate {
	if _, ok := rt.in.(huntDocument); ok {
		return &a.uploads
	}
	if rt.stream {
		return &a.streams
	}
	return &a.requests
}

// finish answers with err, unless the answer has begun: then the connection is
// cut, so that nobody takes the part for the whole.
func (a *api) finish(c *call, err error) {
	if c.w.status == 0 {
		a.writeError(c, err)
		return
	}
	a.log(c).Debug("answer cut short", "error", err)
	panic(http.ErrAbortHandler)
}

func (a *api) recovered(c *call, p any) {
	if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
		panic(p)
	}
	err := fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	if c.w.status == 0 {
		a.writeError(c, err)
		return
	}
	a.log(c).Error("panic after the answer began", "error", err)
	panic(http.ErrAbortHandler)
}

// logAccess names the path but neither query, headers nor body: tokens, keys and
// answers are none of the log's business.
func (a *api) logAccess(c *call, took time.Duration) {
	if !a.Logger.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	role := ""
	if c.who != nil {
		role = c.who.Role
	}
	a.log(c).Debug("request", "path", c.r.URL.Path,
		"status", c.w.status, "bytes", c.w.bytes, "took", took, "role", role, "remote", c.r.RemoteAddr)
}

// timeout is what Cairn-Timeout asks for. A request that may take longer than
// the server's own timeouts moves its connection's deadlines: without that, a
// read deadline that passes while the handler works would cancel it.
func (c *call) timeout() (time.Duration, error) {
	v := c.r.Header.Get("Cairn-Timeout")
	if v == "" {
		return DefaultTimeout, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 || d > MaxTimeout {
		return 0, invalid("Cairn-Timeout", "must be a duration like 3s, more than 0 and at most "+MaxTimeout.String())
	}
	if d > DefaultTimeout && !c.route.stream {
		end := time.Now().Add(d + readTimeout)
		rc := http.NewResponseController(c.w)
		if err := errors.Join(rc.SetReadDeadline(end), rc.SetWriteDeadline(end)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, fmt.Errorf("extend the connection's deadlines: %w", err)
		}
	}
	return d, nil
}

// Header values that every answer carries. Slices are shared: nobody writes
// into them.
var (
	nosniff    = []string{"nosniff"}
	noStore    = []string{"no-store"}
	noReferrer = []string{"no-referrer"}
	noContent  = []string{"default-src 'none'; frame-ancestors 'none'"}
	jsonType   = []string{"application/json"}
)

func (c *call) setHeaders() {
	h := c.w.Header()
	h["X-Request-Id"] = []string{c.id}
	h["X-Content-Type-Options"] = nosniff
	h["Referrer-Policy"] = noReferrer
	h["Content-Security-Policy"] = noContent
	h["Cache-Control"] = noStore
}

// write answers with v as JSON.
func (c *call) write(status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return c.writeBody(status, append(body, '\n'))
}

func (c *call) writeBody(status int, body []byte) error {
	h := c.w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.w.WriteHeader(status)
	_, err := c.w.Write(body)
	return err
}

func (a *api) noRoute(c *call) error {
	return fsm.Errorf(fsm.NotFound, "there is nothing at this path; /docs lists what there is")
}

// noMethod is the one answer whose status is not its kind's: HTTP has a status
// for it, the taxonomy of errors needs none.
func (a *api) noMethod(c *call) error {
	p := problem(fsm.Errorf(fsm.Invalid, "this path does not take %s; /docs lists what it takes", c.r.Method))
	p.Status = http.StatusMethodNotAllowed
	writeProblem(c.w, p)
	return nil
}

// gate bounds what is in progress.
type gate struct {
	limit int64
	in    atomic.Int64
}

func (g *gate) enter() bool {
	if g.in.Add(1) > g.limit {
		g.in.Add(-1)
		return false
	}
	return true
}

func (g *gate) leave() { g.in.Add(-1) }

// requestIDs numbers requests: a prefix drawn at start, and a counter.
type requestIDs struct {
	prefix string
	next   *atomic.Uint64
}

// maxRequestID is the length of the longest request id taken over from a client.
const maxRequestID = 64

func newRequestIDs() requestIDs {
	return requestIDs{strings.ToLower(rand.Text()[:8]) + "-", new(atomic.Uint64)}
}

// of returns the client's X-Request-Id if it is fit to be logged, else a new one.
func (s requestIDs) of(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); id != "" && len(id) <= maxRequestID && printable(id) {
		return id
	}
	return s.prefix + strconv.FormatUint(s.next.Add(1), 10)
}

// printable reports whether s is visible ASCII, spaces included.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
