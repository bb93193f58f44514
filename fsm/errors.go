package fsm

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind is the class of an error. Values are written to the log and sent
// between nodes: append new kinds at the end, never reorder.
type Kind uint8

const (
	Internal             Kind = iota // unclassified; details are for operators only
	Invalid                          // the request can never succeed as written
	Unauthenticated                  // no token, or one that is not valid
	Forbidden                        // the token does not allow this
	ClueLocked                       // the team has not unlocked the clue
	NotFound                         // the named thing does not exist
	Conflict                         // the request lost to the current state
	HuntNotOpen                      // the hunt is a draft, or has not started
	HuntPaused                       // the organiser paused the hunt
	HuntOver                         // the hunt ended, or was closed
	AttemptsExhausted                // no attempt is left on this clue
	PreconditionFailed               // If-Match names another version
	PreconditionRequired             // If-Match is missing
	TooLarge                         // over a named limit of size
	KeyReused                        // the idempotency key belongs to another request
	Cooldown                         // wait before the next attempt
	RateLimited                      // wait before the next request
	Overloaded                       // a queue is full; nothing was done
	Unavailable                      // no quorum, no leader; nothing was done
	OutcomeUnknown                   // it may or may not have happened; retry with the same key
	Stale                            // matched under another hunt version; match again (never leaves the cluster)
	NotLeader                        // this replica does not lead; ask another (never leaves the cluster)
	kindEnd
)

// Kinds is the number of kinds, for tables that must cover them all.
const Kinds = int(kindEnd)

var codes = [kindEnd]string{
	"internal", "invalid", "unauthenticated", "forbidden", "clue_locked", "not_found", "conflict",
	"hunt_not_open", "hunt_paused", "hunt_over", "attempts_exhausted", "precondition_failed",
	"precondition_required", "too_large", "key_reused", "cooldown", "rate_limited", "overloaded",
	"unavailable", "outcome_unknown", "stale", "not_leader",
}

// String returns the stable code that the API shows.
func (k Kind) String() string {
	if k >= kindEnd {
		return "internal"
	}
	return codes[k]
}

// KindByCode is the inverse of Kind.String; an unknown code is Internal.
func KindByCode(code string) Kind {
	for k, c := range codes {
		if c == code {
			return Kind(k)
		}
	}
	return Internal
}

// Error is the one error type that carries a class. Msg is for the person who
// made the request: it says what is wrong and what to do.
type Error struct {
	Kind  Kind
	Msg   string
	After time.Duration // when to try again; zero where the kind has no such advice
}

func (e *Error) Error() string { return e.Msg }

// Errorf makes an *Error. It does not wrap: what goes into Msg is shown to users.
func Errorf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the first *Error in err's chain. A context that
// ended without another verdict is OutcomeUnknown (whatever was under way may
// still happen), anything else Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return OutcomeUnknown
	}
	return Internal
}
