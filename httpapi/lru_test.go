package httpapi

import (
	"testing"

	"pgregory.net/rapid"
)

// TestLRU against a naive twin: a list in order of use.
func TestLRU(t *testing.T) {
	type pair struct {
		key, value int
		cost       int64
	}
	rapid.Check(t, func(t *rapid.T) {
		entries, budget := rapid.IntRange(1, 5).Draw(t, "entries"), rapid.Int64Range(1, 20).Draw(t, "budget")
		cache := newLRU[int, int](entries, budget)
		var twin []pair // most recently used last
		take := func(key int) (p pair, ok bool) {
			for i := range twin {
				if twin[i].key == key {
					p = twin[i]
					twin = append(twin[:i:i], twin[i+1:]...)
					return p, true
				}
			}
			return p, false
		}
		for step := range rapid.IntRange(0, 60).Draw(t, "steps") {
			key := rapid.IntRange(0, 8).Draw(t, "key")
			if rapid.Bool().Draw(t, "get") {
				got, ok := cache.get(key)
				want, has := take(key)
				if has {
					twin = append(twin, want)
				}
				if ok != has || got != want.value {
					t.Fatalf("get %d: %d, %v; want %d, %v", key, got, ok, want.value, has)
				}
				continue
			}
			p := pair{key, step, rapid.Int64Range(0, 25).Draw(t, "cost")}
			cache.put(p.key, p.value, p.cost)
			take(key)
			if p.cost <= budget {
				twin = append(twin, p)
			}
			for total(twin, func(p pair) int64 { return p.cost }) > budget || len(twin) > entries {
				twin = twin[1:]
			}
			if cache.order.Len() != len(twin) || len(cache.byKey) != len(twin) || cache.cost != total(twin, func(p pair) int64 { return p.cost }) {
				t.Fatalf("%d entries of cost %d, want %v", cache.order.Len(), cache.cost, twin)
			}
		}
	})
}

func total[T any](list []T, cost func(T) int64) (sum int64) {
	for _, x := range list {
		sum += cost(x)
	}
	return sum
}
