package store

import (
	"fmt"
	"sync/atomic"
	"time"
)

// operation is a kind of call that may hang on a disk.
type operation uint8

const (
	opLogWrite operation = 1 + iota
	opLogRead
	opControllerWrite
	opControllerRead
	opSnapshotWrite
	opSnapshotRead
	opFileWrite
)

func (o operation) String() string {
	return [...]string{
		"call", "log write", "log read", "controller log write", "controller log read",
		"snapshot write", "snapshot read", "file write",
	}[o]
}

const (
	// watchSlots is how many calls are watched at once. One beyond them goes
	// unwatched: when so many hang, the first of them has been noticed.
	watchSlots = 64
	// watchTicks is the number of looks after which a call counts as hung.
	watchTicks = 10
)

// watchdog notices calls that do not return. A call costs two atomic writes and
// no timer; one goroutine looks at all of them, watchTicks times per HungAfter.
//
// It counts its own looks, not time, so a process that was stopped for a minute
// (a debugger, a suspended machine) does not blame the disk when it goes on.
type watchdog struct {
	tickets atomic.Uint64
	slots   [watchSlots]atomic.Uint64 // ticket<<8 | operation; 0: free
	stop    chan struct{}
	stopped chan struct{}
}

// startWatchdog looks every hungAfter/watchTicks until close, and calls hung
// once, from its own goroutine, when a call has been under way for hungAfter.
func startWatchdog(hungAfter time.Duration, hung func(error)) *watchdog {
	w := &watchdog{stop: make(chan struct{}), stopped: make(chan struct{})}
	go func() {
		defer close(w.stopped)
		ticker := time.NewTicker(hungAfter / watchTicks)
		defer ticker.Stop()
		var seen [watchSlots]uint64
		var looks [watchSlots]int
		for {
			select {
			case <-w.stop:
				return
			case <-ticker.C:
			}
			for i := range w.slots {
				now := w.slots[i].Load()
				if now == 0 || now != seen[i] {
					seen[i], looks[i] = now, 0
					continue
				}
				if looks[i]++; looks[i] >= watchTicks {
					hung(fmt.Errorf("a %v has not returned for %v: the disk hangs", operation(now&0xff), hungAfter))
					return
				}
			}
		}
	}()
	return w
}

// begin marks the start of a call and returns what end needs.
func (w *watchdog) begin(op operation) (slot int) {
	ticket := w.tickets.Add(1)
	mark := ticket<<8 | uint64(op)
	for i := range uint64(watchSlots) {
		slot := (ticket + i) % watchSlots
		if w.slots[slot].CompareAndSwap(0, mark) {
			return int(slot)
		}
	}
	return -1
}

// end marks the return of a call.
func (w *watchdog) end(slot int) {
	if slot >= 0 {
		w.slots[slot].Store(0)
	}
}

func (w *watchdog) close() {
	close(w.stop)
	<-w.stopped
}
