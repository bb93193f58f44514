package controller

import (
	"bytes"
	"testing"

	"cairn/fsm/wire"
)

// FuzzDecode: what decodes encodes to the same bytes, and applying it neither
// panics nor breaks an invariant, whatever state it meets.
func FuzzDecode(f *testing.F) {
	for _, c := range goldenCommands() {
		f.Add(Encode(c))
	}
	stream(f, 3, 200, func(_ int, entry []byte) { f.Add(entry) })
	f.Fuzz(func(t *testing.T, entry []byte) {
		c, err := Decode(entry)
		if err != nil {
			return
		}
		if again := Encode(c); !bytes.Equal(again, entry) {
			t.Fatalf("%T has two encodings:\n%x\n%x", c, entry, again)
		}
		for _, m := range []*Machine{New(), founded(t)} {
			if _, err := m.Apply(entry); err != nil {
				continue // a feature level beyond this build's
			}
			if err := m.State().check(); err != nil {
				t.Fatalf("after %T %+v: %v", c, c, err)
			}
		}
	})
}

// FuzzRestore: what can be restored writes the same bytes again, and is sound.
func FuzzRestore(f *testing.F) {
	f.Add(snapshotOf(f, New().State()))
	f.Add(snapshotOf(f, founded(f).State()))
	f.Add(snapshotOf(f, goldenState(f)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Restore(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again := snapshotOf(t, m.State()); !bytes.Equal(again, b) {
			t.Fatalf("one state has two snapshots:\n%x\n%x", b, again)
		}
		m.Apply(Encode(randomFound(5)))
		m.Apply(Encode(goldenCommands()[kindSetTargets-1]))
		if err := m.State().check(); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzReadResult(f *testing.F) {
	for _, r := range goldenResults() {
		var w wire.Writer
		AppendResult(&w, &r)
		f.Add(w.B)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rd := wire.NewReader(b)
		r := ReadResult(rd)
		if rd.Done() != nil {
			return
		}
		var w wire.Writer
		if AppendResult(&w, &r); !bytes.Equal(w.B, b) {
			t.Fatalf("one result has two encodings:\n%x\n%x", b, w.B)
		}
	})
}
