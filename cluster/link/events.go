package link

import (
	"time"

	"cairn/fsm"
)

// EventListener is told what happens on a Link; logs, metrics and the failure
// detector subscribe. A nil func is not called. They are called without locks,
// from many goroutines at once, and must not block: a connection waits for them.
type EventListener struct {
	// Connected: a connection for calls to node is open, after so long a
	// handshake.
	Connected func(node fsm.NodeID, took time.Duration)
	// DialFailed: a connection to node could not be opened. The error chain
	// holds the cause, syscall.ECONNREFUSED for example.
	DialFailed func(node fsm.NodeID, err error)
	// Disconnected: the connection for calls to node broke (syscall.ECONNRESET,
	// or io.ErrUnexpectedEOF: its process ended, or its Link was closed), fell
	// silent, or was closed by Drop or Close.
	Disconnected func(node fsm.NodeID, err error)
	// Hungup: a connection that node had opened to this one ended.
	Hungup func(node fsm.NodeID)
	// Refused: somebody connected and was turned away. No byte of theirs
	// beyond the handshake was looked at, except for a join's request.
	Refused func(remote string, err error)
	// AcceptFailed: the listener could not accept; Serve tries again.
	AcceptFailed func(err error)
}

// withDefaults fills the funcs that are nil with ones that do nothing.
func (e EventListener) withDefaults() EventListener {
	if e.Connected == nil {
		e.Connected = func(fsm.NodeID, time.Duration) {}
	}
	if e.DialFailed == nil {
		e.DialFailed = func(fsm.NodeID, error) {}
	}
	if e.Disconnected == nil {
		e.Disconnected = func(fsm.NodeID, error) {}
	}
	if e.Hungup == nil {
		e.Hungup = func(fsm.NodeID) {}
	}
	if e.Refused == nil {
		e.Refused = func(string, error) {}
	}
	if e.AcceptFailed == nil {
		e.AcceptFailed = func(error) {}
	}
	return e
}
