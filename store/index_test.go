package store

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// indexTwin is what an index is for, as simple as it can be.
type indexTwin struct {
	places  map[uint64]place
	entries map[uint64][]byte // those that were put with their bytes
}

func (w *indexTwin) bounds() (first, last uint64) {
	if len(w.places) == 0 {
		return 0, 0
	}
	all := slices.Sorted(maps.Keys(w.places))
	return all[0], all[len(all)-1]
}

func (w *indexTwin) used() usage {
	used := usage{}
	for _, p := range w.places {
		used[p.segment] += int64(p.size)
	}
	return used
}

// TestIndex: an index behaves as its naive twin does, and the bytes in use add up.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var x index
		used := usage{}
		w := &indexTwin{places: map[uint64]place{}, entries: map[uint64][]byte{}}
		drawPlace := func(rt *rapid.T) place {
			return place{
				segment: rapid.Uint32Range(1, 5).Draw(rt, "segment"),
				addr:    rapid.Uint32Range(4, 1000).Draw(rt, "addr"),
				size:    rapid.Uint32Range(29, 2000).Draw(rt, "size"),
				sum:     rapid.Uint32().Draw(rt, "sum"),
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				first, last := w.bounds()
				if first == 0 {
					last = rapid.Uint64Range(0, 50).Draw(rt, "before")
				}
				for i := range rapid.Uint64Range(1, 8).Draw(rt, "n") {
					p := drawPlace(rt)
					entry := bytes.Repeat([]byte{byte(p.sum)}, int(p.size))
					x.put(last+1+i, p, entry, used)
					w.places[last+1+i], w.entries[last+1+i] = p, entry
				}
			},
			"move": func(rt *rapid.T) {
				if first, last := w.bounds(); first > 0 {
					i, p := rapid.Uint64Range(first, last).Draw(rt, "index"), drawPlace(rt)
					x.put(i, p, nil, used)
					w.places[i] = p
				}
			},
			"keep": func(rt *rapid.T) {
				first, last := rapid.Uint64Range(0, 100).Draw(rt, "first"), rapid.Uint64Range(0, 100).Draw(rt, "last")
				x.keep(first, last, used)
				maps.DeleteFunc(w.places, func(i uint64, _ place) bool { return i < first || i > last })
				maps.DeleteFunc(w.entries, func(i uint64, _ []byte) bool { return i < first || i > last })
			},
			"": func(rt *rapid.T) {
				for i := range uint64(300) {
					got, ok := x.place(i)
					if want, known := w.places[i]; ok != known || got != want {
						rt.Fatalf("entry %d is at %+v, %v, want %+v, %v", i, got, ok, want, known)
					}
					if got := x.recent.get(i); got != nil && !bytes.Equal(got, w.entries[i]) {
						rt.Fatalf("entry %d is another in memory", i)
					}
				}
				maps.DeleteFunc(used, func(_ uint32, n int64) bool { return n == 0 })
				if want := w.used(); !maps.Equal(used, want) {
					rt.Fatalf("bytes in use %v, want %v", used, want)
				}
				wantIn(rt, &x, w)
			},
		})
	})
}

// wantIn checks that in finds exactly the entries of a segment, in steps whose
// last entry alone may go beyond the limit.
func wantIn(t *rapid.T, x *index, w *indexTwin) {
	segment := rapid.Uint32Range(1, 5).Draw(t, "in segment")
	limit := rapid.IntRange(1, 5000).Draw(t, "limit")
	var got, want []uint64
	for _, i := range slices.Sorted(maps.Keys(w.places)) {
		if w.places[i].segment == segment {
			want = append(want, i)
		}
	}
	for next := uint64(1); next > 0; {
		found, after := x.in(segment, next, limit)
		bytes := 0
		for _, i := range found[:max(0, len(found)-1)] {
			bytes += int(w.places[i].size)
		}
		if bytes >= limit && len(found) > 1 || len(found) == 0 && after > 0 {
			t.Fatalf("a step of %d entries, %d bytes without the last, limit %d, then %d", len(found), bytes, limit, after)
		}
		got, next = append(got, found...), after
	}
	if !slices.Equal(got, want) {
		t.Fatalf("segment %d has entries %v, want %v", segment, got, want)
	}
}
