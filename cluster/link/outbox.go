package link

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxPending is how many bytes may wait to be written on a connection.
	// Beyond it whoever has more to send waits, until its context ends.
	maxPending = 8 << 20
	// maxControl is the same for frames that nobody can wait for (cancel,
	// ping, refusals): beyond it the connection is given up.
	maxControl = 2 * maxPending
	// maxSpare is the capacity above which a written buffer is not kept: an
	// idle connection should not hold the memory of its busiest moment.
	maxSpare = 64 << 10
	// writeTimeout bounds one write: a peer that takes nothing for so long
	// is gone, or might as well be.
	writeTimeout = 10 * time.Second
)

// outbox is the sending half of a connection. Frames that are put while a write
// is under way go out together in the next one: load makes the batches, and a
// lone frame never waits.
//
// Invariants:
//
//  1. When pending is not empty, flushing is set: whoever found it unset was
//     told by put to flush.
//  2. The bytes of a frame at position at >= taken have not been written and,
//     once closed, never will be.
type outbox struct {
	conn net.Conn
	sent *traffic // nil: not counted

	mu       sync.Mutex
	pending  []byte        // whole frames that no write has taken
	spare    []byte        // a buffer to swap with pending
	queued   uint64        // bytes ever appended to pending
	taken    uint64        // of these, how many a write has begun with
	flushing bool          // somebody flushes
	closed   bool          // nothing is taken any more
	room     chan struct{} // closed when pending is taken; nil: nobody waits
}

// traffic counts what a Link queues to be sent.
type traffic struct{ frames, bytes atomic.Uint64 }

// put queues a frame, waiting for room while too much is pending. It returns
// the frame's position for wasTaken, and whether the caller must see to it that
// flush is called. An error (ctx's, or errClosed) means that nothing was queued.
func (o *outbox) put(ctx context.Context, h header, body []byte) (at uint64, first bool, err error) {
	o.mu.Lock()
	for !o.closed && len(o.pending) > 0 && len(o.pending)+headerSize+len(body) > maxPending {
		if o.room == nil {
			o.room = make(chan struct{})
		}
		room := o.room
		o.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return 0, false, ctx.Err()
		}
		o.mu.Lock()
	}
	defer o.mu.Unlock()
	if o.closed {
		return 0, false, errClosed
	}
	at, first = o.queue(h, body)
	return at, first, nil
}

// putControl queues a frame at once, and reports whether the caller must flush.
// errSlowReader: the peer has not read for so long that not even this fits.
func (o *outbox) putControl(h header, body []byte) (first bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return false, errClosed
	case len(o.pending)+headerSize+len(body) > maxControl:
		return false, errSlowReader
	}
	_, first = o.queue(h, body)
	return first, nil
}

func (o *outbox) queue(h header, body []byte) (at uint64, first bool) {
	at, first = o.queued, !o.flushing
	o.flushing = true
	o.pending = appendFrame(o.pending, h, body)
	o.queued += uint64(headerSize + len(body))
	if o.sent != nil {
		o.sent.frames.Add(1)
		o.sent.bytes.Add(uint64(headerSize + len(body)))
	}
	return at, first
}

// flush writes until nothing is pending. After an error the connection's stream
// is broken in an unknown place, so the caller must give the connection up.
func (o *outbox) flush() error {
	var written []byte
	for {
		o.mu.Lock()
		if written != nil && cap(written) <= maxSpare {
			o.spare = written[:0]
		}
		if o.closed || len(o.pending) == 0 {
			o.flushing = false
			o.mu.Unlock()
			return nil
		}
		written = o.pending
		o.pending, o.spare = o.spare, nil
		o.taken = o.queued
		o.wake()
		o.mu.Unlock()

		// An error here is the connection's end, and Write reports it too.
		_ = o.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := o.conn.Write(written); err != nil {
			return err
		}
	}
}

// close makes every put fail, now and later. It does not close the connection.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.pending, o.spare = nil, nil
	o.wake()
}

// wasTaken reports whether a write has begun with the frame that put placed at
// a position: if not, and the outbox is closed, it was never sent.
func (o *outbox) wasTaken(at uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return at < o.taken
}

// wake lets those that wait for room look again. The caller holds mu.
func (o *outbox) wake() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}
