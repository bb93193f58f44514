package group

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"cairn/fsm"
	"cairn/fsm/wire"
)

// TestAppendRoundTrip: an append means the same on the other side.
func TestAppendRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := &raft.AppendEntriesRequest{
			Term: rapid.Uint64().Draw(t, "term"), PrevLogEntry: rapid.Uint64().Draw(t, "prev"),
			PrevLogTerm: rapid.Uint64().Draw(t, "prevterm"), LeaderCommitIndex: rapid.Uint64().Draw(t, "commit"),
		}
		for range rapid.IntRange(0, maxEntries).Draw(t, "n") {
			q.Entries = append(q.Entries, &raft.Log{
				Index: rapid.Uint64().Draw(t, "index"), Term: rapid.Uint64().Draw(t, "t"),
				Type: raft.LogType(rapid.Uint8().Draw(t, "type")), Data: rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
				AppendedAt: time.Unix(0, rapid.Int64Range(1, 1<<62).Draw(t, "at")),
			})
		}
		var w wire.Writer
		envelope{"a.1", "b.2", 7}.append(&w)
		appendAppend(&w, q)
		r := wire.NewReader(w.B)
		e := readEnvelope(r)
		got := readAppend(r, e)
		if err := r.Done(); err != nil {
			t.Fatal(err)
		}
		if e != (envelope{"a.1", "b.2", 7}) || string(got.ID) != "b.2" || len(got.Entries) != len(q.Entries) {
			t.Fatalf("%+v %+v", e, got)
		}
		for i, l := range q.Entries {
			g := got.Entries[i]
			if g.Index != l.Index || g.Term != l.Term || g.Type != l.Type || !bytes.Equal(g.Data, l.Data) || !g.AppendedAt.Equal(l.AppendedAt) {
				t.Fatalf("entry %d: %+v, want %+v", i, g, l)
			}
		}
	})
}

// FuzzServe: whatever bytes a peer sends, they are refused or understood.
func FuzzServe(f *testing.F) {
	var w wire.Writer
	envelope{"a.1", "b.2", 7}.append(&w)
	appendAppend(&w, &raft.AppendEntriesRequest{Term: 3, Entries: []*raft.Log{{Index: 1, Data: []byte("x")}}})
	f.Add(uint8(KindAppend), w.B)
	f.Add(uint8(KindVote), []byte{})
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		tr := NewTransport(1, mustReplica("a.1"), nil, errUnsent, 0)
		tr.Close() // so that what is understood is not waited for
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		tr.Serve(ctx, "b", Kind(kind), body)
	})
}

func mustReplica(s string) fsm.Replica {
	r, err := fsm.ParseReplica(s)
	if err != nil {
		panic(err)
	}
	return r
}
