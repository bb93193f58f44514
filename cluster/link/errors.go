package link

import (
	"errors"
	"fmt"
	"io"

	"cairn/fsm"
)

// The two ways in which a call can end without the remote node's verdict.
// Match them with errors.Is; fsm.KindOf gives Unavailable and OutcomeUnknown
// for them (or Overloaded, where a limit of this node refused the call).
var (
	// ErrUnsent means that not one byte of the request was written: the node
	// did not and will not see it. It is safe to send it again, anywhere.
	ErrUnsent error = &fsm.Error{Kind: fsm.Unavailable, Msg: "the node cannot be reached and nothing was sent: try again"}

	// ErrStranger means that the peer, which is a member, said that this node is
	// none. (A Forbidden without it is this node's own doubt about the peer.)
	ErrStranger = errors.New("said by the peer")

	// ErrLost means that the request, or part of it, may have been written
	// and no answer came: it may have been handled, or may still be.
	ErrLost error = &fsm.Error{Kind: fsm.OutcomeUnknown, Msg: "the connection to the node was lost before it answered: the outcome is unknown, retry with the same key"}
)

// Reasons that events and error chains carry.
var (
	errClosed     = errors.New("link: closed")
	errUnknown    = errors.New("link: no address is known for the node")
	errNotMember  = fsm.Errorf(fsm.Forbidden, "the node is not a member of the cluster: if it was removed, its data directory cannot be used again")
	errHangup     = fmt.Errorf("link: the connection ended without a goodbye: %w", io.ErrUnexpectedEOF)
	errSilent     = errors.New("link: the peer has been silent for too long")
	errSlowReader = errors.New("link: the peer does not read its answers")
	errStrangers  = errors.New("link: too many connections that have not authenticated")
	errPeerConns  = fsm.Errorf(fsm.Overloaded, "the node has too many connections open to this one")
	errBusy       = fsm.Errorf(fsm.Overloaded, "too many calls to the node are waiting: try again")
)

// unsent marks an error as ErrUnsent. The cause comes first, so that a kind it
// carries (Overloaded, say) is the one that fsm.KindOf finds.
func unsent(cause error) error { return fmt.Errorf("%w: %w", cause, ErrUnsent) }

// lost marks an error as ErrLost, which stays its kind.
func lost(cause error) error { return fmt.Errorf("%w (%w)", ErrLost, cause) }

// asError returns the *fsm.Error in err's chain, or one made of err.
func asError(err error) *fsm.Error {
	if e, ok := errors.AsType[*fsm.Error](err); ok {
		return e
	}
	return &fsm.Error{Kind: fsm.KindOf(err), Msg: err.Error()}
}
