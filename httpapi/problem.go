package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/httpapi/rest"
)

// defaultRetry is advised where the cluster says that a retry helps, but not
// when.
const defaultRetry = time.Second

// kinds is the one table from an error's kind to HTTP. Retry means that the
// answer always carries Retry-After. Stale and NotLeader are between nodes; one
// that escapes is shown as Unavailable.
var kinds = [fsm.Kinds]struct {
	status int
	title  string
	retry  bool
}{
	fsm.Internal:             {http.StatusInternalServerError, "Internal error", false},
	fsm.Invalid:              {http.StatusBadRequest, "The request is not valid", false},
	fsm.Unauthenticated:      {http.StatusUnauthorized, "A valid token is needed", false},
	fsm.Forbidden:            {http.StatusForbidden, "The token does not allow this", false},
	fsm.ClueLocked:           {http.StatusForbidden, "The clue is locked", false},
	fsm.NotFound:             {http.StatusNotFound, "Not found", false},
	fsm.Conflict:             {http.StatusConflict, "Conflict with the current state", false},
	fsm.HuntNotOpen:          {http.StatusConflict, "The hunt is not open", false},
	fsm.HuntPaused:           {http.StatusConflict, "The hunt is paused", false},
	fsm.HuntOver:             {http.StatusConflict, "The hunt is over", false},
	fsm.AttemptsExhausted:    {http.StatusConflict, "No attempt is left", false},
	fsm.PreconditionFailed:   {http.StatusPreconditionFailed, "Changed in the meantime", false},
	fsm.PreconditionRequired: {http.StatusPreconditionRequired, "If-Match is needed", false},
	fsm.TooLarge:             {http.StatusRequestEntityTooLarge, "Too large", false},
	fsm.KeyReused:            {http.StatusUnprocessableEntity, "The idempotency key belongs to another request", false},
	fsm.Cooldown:             {http.StatusTooManyRequests, "Wait before the next attempt", true},
	fsm.RateLimited:          {http.StatusTooManyRequests, "Too many requests", true},
	fsm.Overloaded:           {http.StatusServiceUnavailable, "Overloaded; nothing was done", true},
	fsm.Unavailable:          {http.StatusServiceUnavailable, "Unavailable; nothing was done", true},
	fsm.OutcomeUnknown:       {http.StatusGatewayTimeout, "Outcome unknown; retry with the same key", false},
	fsm.Stale:                {http.StatusServiceUnavailable, "Unavailable; nothing was done", true},
	fsm.NotLeader:            {http.StatusServiceUnavailable, "Unavailable; nothing was done", true},
}

// invalidError is a request with mistakes in its fields.
type invalidError struct{ fields []rest.FieldError }

func (e *invalidError) Error() string {
	msg := ""
	for i, f := range e.fields {
		if i > 0 {
			msg += "; "
		}
		if f.Path != "" {
			msg += f.Path + ": "
		}
		msg += f.Detail
	}
	return msg
}

// Unwrap gives the error its kind.
func (e *invalidError) Unwrap() error { return fsm.Errorf(fsm.Invalid, "%s", e.Error()) }

// invalid says what is wrong with one field of a request.
func invalid(path, detail string) error {
	return &invalidError{[]rest.FieldError{{Path: path, Detail: detail}}}
}

// problem makes the body for err. Only an *fsm.Error's message was written for
// users; what else an error says stays inside.
func problem(err error) *rest.Problem {
	kind := fsm.KindOf(err)
	detail, after := "", time.Duration(0)
	switch e, ok := errors.AsType[*fsm.Error](err); {
	case kind == fsm.Internal:
		detail = "something went wrong inside; the log has it under this request's id"
	case kind == fsm.Stale || kind == fsm.NotLeader:
		kind, detail = fsm.Unavailable, "the cluster is changing; try again"
	case ok:
		detail, after = e.Msg, e.After
	default: // a context that ended
		detail = "no definite answer in time; retry with the same Idempotency-Key"
	}
	k := kinds[kind]
	if k.retry && after <= 0 {
		after = defaultRetry
	}
	return &rest.Problem{
		Type:         "urn:cairn:problem:" + kind.String(),
		Title:        k.title,
		Status:       k.status,
		Code:         kind.String(),
		Detail:       detail,
		Errors:       fieldErrors(err),
		RetryAfterMS: int64((after + time.Millisecond - 1) / time.Millisecond),
	}
}

func fieldErrors(err error) []rest.FieldError {
	if e, ok := errors.AsType[*invalidError](err); ok {
		return e.fields
	}
	e, ok := errors.AsType[*hunt.Error](err)
	if !ok {
		return nil
	}
	out := make([]rest.FieldError, len(e.Problems))
	for i, p := range e.Problems {
		out[i] = rest.FieldError{Path: p.Path, Detail: p.Detail}
	}
	return out
}

// writeError is the only place where an error becomes a response.
func (a *api) writeError(c *call, err error) {
	if c.route.method == http.MethodGet && fsm.KindOf(err) == fsm.OutcomeUnknown {
		// A read changes nothing, so nothing is unknown about it.
		err = fsm.Errorf(fsm.Unavailable, "no answer in time; try again")
	}
	if fsm.KindOf(err) == fsm.Internal {
		a.log(c).Error("request failed", "error", err)
	}
	writeProblem(c.w, problem(err))
}

func writeProblem(w http.ResponseWriter, p *rest.Problem) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if p.RetryAfterMS > 0 {
		h.Set("Retry-After", strconv.FormatInt((p.RetryAfterMS+999)/1000, 10))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="cairn"`)
	}
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	w.WriteHeader(p.Status)
	w.Write(append(body, '\n'))
}
