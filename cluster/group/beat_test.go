package group

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// drum is a link whose peers agree at once, and that notes when it was called.
type drum struct {
	mu    sync.Mutex
	times []time.Time
}

func (d *drum) Call(_ context.Context, _ fsm.NodeID, _ uint8, _ uint32, body []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.times = append(d.times, time.Now())
	asked := readEnvelope(wire.NewReader(body))
	var w wire.Writer
	envelope{to: asked.from, from: asked.to, sent: fsm.TimeOf(time.Now())}.append(&w)
	appendAppendResponse(&w, &raft.AppendEntriesResponse{Term: 1, Success: true})
	return w.B, nil
}

func (*drum) Stream(context.Context, fsm.NodeID, uint8, uint32) (net.Conn, error) {
	return nil, errUnsent
}

// TestHeartbeatsKeepTime: the heartbeats of all groups of a node leave together,
// once a beat; the first to a follower, or to one that has been silent, at once;
// and entries never wait.
func TestHeartbeatsKeepTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const beat = 500 * time.Millisecond
		d := &drum{}
		var groups []*Transport
		for id := range uint32(8) {
			groups = append(groups, NewTransport(id, mustReplica("a.1"), d, errUnsent, beat))
		}
		send := func(tr *Transport, q *raft.AppendEntriesRequest) {
			q.Term = 1
			if err := tr.AppendEntries("", "b.1", q, &raft.AppendEntriesResponse{}); err != nil {
				t.Error(err)
			}
		}
		took := func(what string, want time.Duration, f func()) {
			t.Helper()
			start := time.Now()
			if f(); time.Since(start) != want {
				t.Errorf("%s took %v, want %v", what, time.Since(start), want)
			}
		}
		for _, tr := range groups {
			took("the first heartbeat", 0, func() { send(tr, &raft.AppendEntriesRequest{}) })
		}
		d.times = nil
		var wg sync.WaitGroup
		for i, tr := range groups {
			wg.Go(func() {
				for range 10 { // as raft does, each at moments of its own
					time.Sleep(time.Duration(200+20*i) * time.Millisecond)
					send(tr, &raft.AppendEntriesRequest{})
				}
			})
		}
		wg.Wait()
		instants := map[time.Time]int{}
		for _, at := range d.times {
			instants[at]++
		}
		if len(instants) > 11 {
			t.Errorf("80 heartbeats of 8 groups left at %d moments, want one a beat", len(instants))
		}
		took("an entry", 0, func() { send(groups[0], &raft.AppendEntriesRequest{PrevLogEntry: 3}) })
		time.Sleep(beat)
		took("a heartbeat after silence", 0, func() { send(groups[0], &raft.AppendEntriesRequest{}) })

		done := make(chan struct{})
		go func() {
			defer close(done)
			took("a heartbeat that waits when the replica closes", 0, func() {
				_ = groups[0].AppendEntries("", "b.1", &raft.AppendEntriesRequest{}, &raft.AppendEntriesResponse{})
			})
		}()
		synctest.Wait()
		for _, tr := range groups {
			tr.Close()
		}
		<-done
	})
}
