package controller

import (
	"bytes"
	"io"
	"sync"
	"testing"

	"cairn/fsm"
)

const streamLength = 200_000

// stream makes n entries that fit a machine of their own, and hands each over
// with the number it has.
func stream(t testing.TB, seed uint64, n int, each func(i int, entry []byte)) {
	t.Helper()
	guide, r := New(), &random{now: 1}
	r.src.Seed(seed, 0)
	for i := range n {
		c := Command(randomFound(r.now))
		if i > 0 {
			c = r.command(guide.State())
		}
		entry := Encode(c)
		if _, err := guide.Apply(entry); err != nil {
			t.Fatal(err)
		}
		each(i, entry)
	}
}

func snapshotOf(t testing.TB, s *State) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := s.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("WriteTo says %d bytes of %d: %v", n, b.Len(), err)
	}
	return b.Bytes()
}

// TestStreamAcrossSnapshot runs one log on two machines, of which one is
// restored from a snapshot half way, and again shortly before the end.
func TestStreamAcrossSnapshot(t *testing.T) {
	a, b := New(), New()
	stream(t, 7, streamLength, func(i int, entry []byte) {
		ra, _ := a.Apply(entry)
		rb, _ := b.Apply(entry)
		if describe(ra) != describe(rb) || ra.Incarnation != rb.Incarnation {
			t.Fatalf("entry %d: %s here, %s on the restored machine", i, describe(ra), describe(rb))
		}
		if i == streamLength/2 || i == streamLength-1000 {
			b = reopen(t, b)
		}
		if i%5000 == 0 && a.State().Hash() != b.State().Hash() {
			t.Fatalf("the machines differ after entry %d", i)
		}
	})
	if !bytes.Equal(snapshotOf(t, a.State()), snapshotOf(t, b.State())) {
		t.Fatal("the machines differ at the end")
	}
	if a.State().Version() < streamLength/10 {
		t.Fatalf("only %d of %d commands changed anything: the stream tests little", a.State().Version(), streamLength)
	}
}

// TestStateNeverChanges takes States while Apply goes on and reads them whole
// from other goroutines, now and at the end: each must still be what it was.
// The race detector sees any write to what a State shares.
func TestStateNeverChanges(t *testing.T) {
	type taken struct {
		state *State
		bytes []byte
	}
	const entries, every = 6000, 20
	m := New()
	work := make(chan *State, entries/every)
	var mu sync.Mutex
	var all []taken
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for s := range work {
				got := taken{s, snapshotOf(t, s)}
				readAll(s)
				mu.Lock()
				all = append(all, got)
				mu.Unlock()
			}
		})
	}
	stream(t, 11, entries, func(i int, entry []byte) {
		if _, err := m.Apply(entry); err != nil {
			t.Error(err)
		}
		if i%every == 0 {
			was := m.State().Hash()
			if clear(entry); m.State().Hash() != was {
				t.Errorf("entry %d is retained", i)
			}
			work <- m.State()
		}
	})
	close(work)
	readers.Wait()
	for _, v := range all {
		if !bytes.Equal(snapshotOf(t, v.state), v.bytes) {
			t.Fatalf("%v changed after it was taken", v.state)
		}
		if err := v.state.check(); err != nil {
			t.Fatalf("%v: %v", v.state, err)
		}
	}
}

// readAll asks everything a State answers.
func readAll(s *State) {
	s.WriteTo(io.Discard)
	for _, p := range s.Partitions() {
		s.Partition(p.ID)
		s.PartitionOf(p.Range.First)
	}
	for _, h := range s.Hunts() {
		s.Document(h.Hash)
		s.HuntByIncarnation(h.Incarnation)
		s.Hunt(h.ID)
	}
	for _, k := range s.Tokens() {
		s.TokenByHash(k.Hash)
	}
	for _, m := range s.Members() {
		s.Member(m.ID)
	}
	s.Deleted()
	s.Snapshots()
	s.Partition(fsm.PartitionID(9))
}
