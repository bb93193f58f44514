package storetest

import (
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// twin is a log as simple as it can be.
type twin struct {
	first uint64
	logs  []*raft.Log // from first on
	kv    map[string]string
}

func (w *twin) last() uint64 { return w.first + uint64(len(w.logs)) - 1 }

func (w *twin) store(first uint64, logs []*raft.Log) {
	if len(w.logs) == 0 || first < w.first || first > w.last()+1 {
		w.first, w.logs = first, nil
	}
	w.logs = append(w.logs[:first-w.first:first-w.first], logs...)
}

// RunTwin is the property behind the suite: a store behaves as its naive twin
// does, whatever is done to it. It is apart because it needs many disks.
func RunTwin(t *testing.T, newDisk func(testing.TB) Disk) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDisk(t)
		s := d.Open(t)
		w := &twin{kv: map[string]string{}}
		term := uint64(1)
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				first := uint64(1)
				if len(w.logs) > 0 {
					first = w.last() + 1
				}
				n := rapid.Uint64Range(1, 40).Draw(rt, "n")
				logs := entries(first, first+n-1, term)
				must(t, s.StoreLogs(logs))
				w.store(first, logs)
			},
			"overwrite or leave a gap": func(rt *rapid.T) {
				term++
				first := rapid.Uint64Range(1, 200).Draw(rt, "first")
				logs := entries(first, first+rapid.Uint64Range(0, 5).Draw(rt, "n"), term)
				must(t, s.StoreLogs(logs))
				w.store(first, logs)
			},
			"delete front": func(rt *rapid.T) {
				if len(w.logs) > 0 {
					n := rapid.IntRange(1, len(w.logs)).Draw(rt, "n")
					must(t, s.DeleteRange(w.first, w.first+uint64(n)-1))
					w.first, w.logs = w.first+uint64(n), w.logs[n:]
				}
			},
			"delete back": func(rt *rapid.T) {
				if len(w.logs) > 0 {
					n := rapid.IntRange(1, len(w.logs)).Draw(rt, "n")
					must(t, s.DeleteRange(w.last()-uint64(n)+1, w.last()))
					w.logs = w.logs[:len(w.logs)-n]
				}
			},
			"set": func(rt *rapid.T) {
				k := rapid.SampledFrom([]string{"CurrentTerm", "LastVoteTerm", "LastVoteCand"}).Draw(rt, "key")
				v := rapid.StringN(1, 20, 40).Draw(rt, "value")
				must(t, s.Set([]byte(k), []byte(v)))
				w.kv[k] = v
			},
			"open again": func(*rapid.T) { s = d.Open(t) },
			"": func(rt *rapid.T) {
				compareTwin(rt, s, w)
			},
		})
	})
}

func compareTwin(t *rapid.T, s Store, w *twin) {
	first, err := s.FirstIndex()
	last, err2 := s.LastIndex()
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if len(w.logs) == 0 {
		if first != 0 || last != 0 {
			t.Fatalf("an empty log is %d..%d", first, last)
		}
	} else if first != w.first || last != w.last() {
		t.Fatalf("the log is %d..%d, want %d..%d", first, last, w.first, w.last())
	}
	for _, want := range w.logs {
		var got raft.Log
		if err := s.GetLog(want.Index, &got); err != nil || got.Term != want.Term || string(got.Data) != string(want.Data) {
			t.Fatalf("entry %d: %+v, %v, want %+v", want.Index, got, err, want)
		}
	}
	for k, want := range w.kv {
		if got, err := s.Get([]byte(k)); err != nil || string(got) != want {
			t.Fatalf("key %s: %q, %v, want %q", k, got, err, want)
		}
	}
}
