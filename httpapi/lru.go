package httpapi

import (
	"container/list"
	"sync"
)

// lru is a cache with two bounds: entries, and the sum of their costs. Beyond
// either the entry that was used longest ago goes. A value that costs more than
// the whole cache is not kept.
type lru[K comparable, V any] struct {
	entries int
	budget  int64

	mu    sync.Mutex
	cost  int64
	order *list.List // most recently used first
	byKey map[K]*list.Element
}

type lruEntry[K comparable, V any] struct {
	key   K
	value V
	cost  int64
}

func newLRU[K comparable, V any](entries int, budget int64) *lru[K, V] {
	return &lru[K, V]{entries: entries, budget: budget, order: list.New(), byKey: map[K]*list.Element{}}
}

func (c *lru[K, V]) get(key K) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[key]
	if !ok {
		return value, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*lruEntry[K, V]).value, true
}

func (c *lru[K, V]) put(key K, value V, cost int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.byKey[key]; ok {
		c.remove(old)
	}
	if cost > c.budget {
		return
	}
	c.byKey[key] = c.order.PushFront(&lruEntry[K, V]{key, value, cost})
	c.cost += cost
	for c.cost > c.budget || c.order.Len() > c.entries {
		c.remove(c.order.Back())
	}
}

func (c *lru[K, V]) remove(e *list.Element) {
	old := c.order.Remove(e).(*lruEntry[K, V])
	delete(c.byKey, old.key)
	c.cost -= old.cost
}
