package store

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatchdog(t *testing.T) {
	const hungAfter = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		hung := make(chan error, 1)
		w := startWatchdog(hungAfter, func(err error) { hung <- err })
		defer w.close()

		// Calls that return are no matter, however many there are.
		for range 200 {
			slot := w.begin(opLogWrite)
			time.Sleep(hungAfter / 20)
			w.end(slot)
		}
		// One that nearly takes too long is no matter either.
		slot := w.begin(opSnapshotWrite)
		time.Sleep(hungAfter - time.Millisecond)
		w.end(slot)
		select {
		case err := <-hung:
			t.Fatalf("after %v: %v", time.Since(start), err)
		default:
		}
		// One that hangs is noticed, among calls that do not.
		began := time.Now()
		w.begin(opLogWrite)
		for len(hung) == 0 && time.Since(began) < 2*hungAfter {
			slot := w.begin(opLogRead)
			time.Sleep(time.Second)
			w.end(slot)
		}
		took := time.Since(began)
		if took < hungAfter || took > hungAfter*3/2 {
			t.Fatalf("noticed after %v", took)
		}
		if err := <-hung; !strings.Contains(err.Error(), "log write") {
			t.Fatalf("blamed the wrong call: %v", err)
		}
	})
}

// TestWatchdogSlots: more calls than slots at once are no error.
func TestWatchdogSlots(t *testing.T) {
	w := startWatchdog(time.Hour, func(error) { t.Error("nothing hangs") })
	defer w.close()
	var slots []int
	for range watchSlots + 5 {
		slots = append(slots, w.begin(opLogRead))
	}
	for _, s := range slots {
		w.end(s)
	}
	if w.begin(opLogRead) < 0 {
		t.Fatal("no slot is free after all calls returned")
	}
}
