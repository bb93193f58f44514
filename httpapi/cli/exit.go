package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/dashboards"
)

// Exit codes, as API.md promises them to scripts.
const (
	exitOK       = 0
	exitFailed   = 1 // anything else; the request can never succeed as written
	exitUsage    = 2 // the command line is wrong; nothing was tried
	exitNotFound = 3
	exitRefused  = 4 // not allowed, or lost to the current state
	exitNotNow   = 5 // nothing was done; trying again later is safe
	exitUnknown  = 6 // it may have happened; retry with the same key
)

// exitByKind maps every kind of error. An array, so that a kind that is added
// without a line here exits 1.
var exitByKind = [fsm.Kinds]int{
	fsm.Internal:             exitFailed,
	fsm.Invalid:              exitFailed,
	fsm.Unauthenticated:      exitRefused,
	fsm.Forbidden:            exitRefused,
	fsm.ClueLocked:           exitRefused,
	fsm.NotFound:             exitNotFound,
	fsm.Conflict:             exitRefused,
	fsm.HuntNotOpen:          exitRefused,
	fsm.HuntPaused:           exitRefused,
	fsm.HuntOver:             exitRefused,
	fsm.AttemptsExhausted:    exitRefused,
	fsm.PreconditionFailed:   exitRefused,
	fsm.PreconditionRequired: exitRefused,
	fsm.TooLarge:             exitFailed,
	fsm.KeyReused:            exitFailed,
	fsm.Cooldown:             exitRefused,
	fsm.RateLimited:          exitRefused,
	fsm.Overloaded:           exitNotNow,
	fsm.Unavailable:          exitNotNow,
	fsm.OutcomeUnknown:       exitUnknown,
}

// usageError is a wrong command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// exitCode returns the process's exit code for an error of Run.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if code := exitByKind[fsm.KindOf(err)]; code != 0 {
		return code
	}
	return exitFailed
}

// advice is the line after an error that says what to do next; empty where the
// error says it itself.
func advice(cmd *cobra.Command, err error) string {
	if _, ok := errors.AsType[*usageError](err); ok {
		return fmt.Sprintf("Run \"%s --help\" for its flags and examples.", cmd.CommandPath())
	}
	if errors.Is(err, dashboards.ErrChanged) {
		return "Nothing was written. --force overwrites them."
	}
	switch fsm.KindOf(err) {
	case fsm.Unauthenticated:
		return "Give a token with --token or CAIRN_TOKEN. A founding node prints the admin token once, on its first start."
	case fsm.OutcomeUnknown:
		return "It may or may not have happened. Look before you repeat it; a submission is safe to repeat with the same --key."
	}
	return ""
}
