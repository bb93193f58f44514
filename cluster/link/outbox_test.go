package link

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sink is a connection that keeps what is written and can be made to block.
type sink struct {
	net.Conn
	gate   chan struct{} // a Write waits for one receive; nil: none does
	fail   error
	writes [][]byte
}

func (s *sink) SetWriteDeadline(time.Time) error { return nil }
func (s *sink) Write(b []byte) (int, error) {
	if s.gate != nil {
		<-s.gate
	}
	if s.fail != nil {
		return 0, s.fail
	}
	s.writes = append(s.writes, append([]byte(nil), b...))
	return len(b), nil
}

// TestOutboxCombines: what is put during a write goes out in one next write, in
// order, and only the first put is told to flush.
func TestOutboxCombines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{gate: make(chan struct{})}
		o := &outbox{conn: s}
		put := func(id uint64) bool {
			_, first, err := o.put(t.Context(), header{typ: typeRequest, id: id}, []byte{byte(id)})
			if err != nil {
				t.Fatal(err)
			}
			return first
		}
		if !put(1) {
			t.Fatal("nobody is told to flush")
		}
		done := make(chan error, 1)
		go func() { done <- o.flush() }()
		synctest.Wait()
		for id := range uint64(3) {
			if put(id + 2) {
				t.Error("a second flusher")
			}
		}
		close(s.gate)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if len(s.writes) != 2 || len(s.writes[1]) != 3*(headerSize+1) || s.writes[1][headerSize] != 2 {
			t.Errorf("written %x", s.writes)
		}
		if !put(5) {
			t.Error("after it was empty nobody is told to flush")
		}
	})
}

// TestOutboxRoom: beyond maxPending a put waits, until a write makes room, its
// context ends, or the outbox is closed; control frames still fit, to a limit.
func TestOutboxRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{gate: make(chan struct{})}
		o := &outbox{conn: s}
		big := make([]byte, 1<<20)
		put := func(ctx context.Context) <-chan error {
			out := make(chan error, 1)
			go func() { _, _, err := o.put(ctx, header{typ: typeRequest, id: 1}, big); out <- err }()
			synctest.Wait()
			return out
		}
		waits := func(c <-chan error) bool {
			select {
			case <-c:
				return false
			default:
				return true
			}
		}
		for range maxPending / (headerSize + len(big)) {
			if waits(put(t.Context())) {
				t.Fatal("waits while there is room")
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		hurried, patient := put(ctx), put(t.Context())
		if !waits(hurried) || !waits(patient) {
			t.Fatal("over maxPending, and nobody waits")
		}
		if _, err := o.putControl(header{typ: typePing}, nil); err != nil {
			t.Errorf("a ping: %v", err)
		}
		if err := <-hurried; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's end", err)
		}
		done := make(chan error, 1)
		go func() { done <- o.flush() }()
		synctest.Wait() // the first write has taken everything
		if err := <-patient; err != nil {
			t.Errorf("with room: %v", err)
		}
		for o.pendingBytes()+headerSize+len(big) <= maxControl {
			if _, err := o.putControl(header{typ: typeError}, big); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := o.putControl(header{typ: typeError}, big); !errors.Is(err, errSlowReader) {
			t.Errorf("over maxControl: got %v, want errSlowReader", err)
		}
		last := put(t.Context())
		o.close()
		if err := <-last; !errors.Is(err, errClosed) {
			t.Errorf("got %v, want errClosed", err)
		}
		close(s.gate)
		<-done
	})
}

func (o *outbox) pendingBytes() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.pending)
}

// TestOutboxTaken: after a write has failed, exactly the frames that no write
// had begun with are known to be unsent.
func TestOutboxTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{gate: make(chan struct{}), fail: errors.New("cut")}
		o := &outbox{conn: s}
		put := func() uint64 {
			at, _, err := o.put(t.Context(), header{typ: typeRequest, id: 1}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		begun := []uint64{put(), put()}
		done := make(chan error, 1)
		go func() { done <- o.flush() }()
		synctest.Wait()
		behind := []uint64{put(), put()}
		close(s.gate)
		if err := <-done; !errors.Is(err, s.fail) {
			t.Errorf("flush: %v", err)
		}
		o.close()
		for i := range begun {
			if !o.wasTaken(begun[i]) || o.wasTaken(behind[i]) {
				t.Errorf("frame %d: begun %v, behind %v", i, o.wasTaken(begun[i]), o.wasTaken(behind[i]))
			}
		}
	})
}

// TestOutboxConcurrent: whoever puts, every frame goes out whole and once, and
// each putter's in its order.
func TestOutboxConcurrent(t *testing.T) {
	const putters, frames = 8, 2000
	s := &sink{}
	o := &outbox{conn: s}
	var wg sync.WaitGroup
	for p := range uint8(putters) {
		wg.Go(func() {
			for i := range uint64(frames) {
				_, first, err := o.put(t.Context(), header{typ: typeRequest, kind: p, id: i}, make([]byte, i%50))
				if err == nil && first {
					err = o.flush()
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var next [putters]uint64
	for _, w := range s.writes {
		for len(w) > 0 {
			h, err := parseHeader((*[headerSize]byte)(w), MaxBody)
			if err != nil || h.id != next[h.kind] || uint64(h.size) != h.id%50 {
				t.Fatalf("%+v, %v, want number %d", h, err, next[h.kind])
			}
			next[h.kind]++
			w = w[headerSize+h.size:]
		}
	}
	for p, n := range next {
		if n != frames {
			t.Errorf("putter %d: %d frames of %d", p, n, frames)
		}
	}
}
