package client

import (
	"errors"
	"fmt"

	"cairn/fsm"
)

var (
	// ErrUnreachable is wrapped when no node could be reached: nothing was done.
	ErrUnreachable = errors.New("no node could be reached")
	// ErrLost is wrapped when the connection broke, or the wait for the answer
	// ended, after a write may have been sent: it may or may not have happened.
	ErrLost = errors.New("the connection was lost before the answer came")
)

// transportError is a failure below HTTP.
type transportError struct {
	sentinel error
	kind     fsm.Kind
	addr     string
	cause    error
}

func (e *transportError) Error() string {
	return fmt.Sprintf("%s: %v: %v", e.addr, e.sentinel, e.cause)
}

// Unwrap gives the sentinel, the kind for fsm.KindOf, and the cause.
func (e *transportError) Unwrap() []error {
	return []error{e.sentinel, fsm.Errorf(e.kind, "%s", e.sentinel), e.cause}
}

// unreachable: nothing reached the node, or nothing it could have changed.
func unreachable(addr string, cause error) error {
	return &transportError{ErrUnreachable, fsm.Unavailable, addr, cause}
}

// lost: the write may have arrived.
func lost(addr string, cause error) error {
	return &transportError{ErrLost, fsm.OutcomeUnknown, addr, cause}
}
