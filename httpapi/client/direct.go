package client

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

// routesFor is how long a direct client goes by what it was told of leaders
// before it asks again. Being wrong costs one hop between nodes, no more.
const routesFor = 5 * time.Second

// routes is what a direct client knows of who leads what.
type routes struct {
	mu    sync.Mutex
	table *rest.Routing
	asked time.Time // zero: ask at once
}

// leader returns the base URL of the node that leads the team's partition, or
// nothing if it is not known or not asked for. One caller at a time asks the
// cluster; the others go by what is known meanwhile.
func (c *Client) leader(ctx context.Context, hunt fsm.HuntID, team fsm.TeamID) string {
	if !c.Direct {
		return ""
	}
	r := &c.routes
	r.mu.Lock()
	table, ask := r.table, time.Since(r.asked) > routesFor
	if ask {
		r.asked = time.Now()
	}
	r.mu.Unlock()
	if ask {
		fresh := new(rest.Routing)
		k := call{method: http.MethodGet, path: path("routing"), safe: true, out: fresh}
		if _, err := c.once(ctx, c.addr(c.preferred.Load()), k); err == nil {
			table = fresh
			r.mu.Lock()
			r.table = fresh
			r.mu.Unlock()
		}
	}
	if table == nil {
		return ""
	}
	return c.Base(table.Leader(hunt, team))
}

// Base is the base URL of a node whose HTTP address the cluster told: it is
// spoken to as the first of Addrs. Empty for an empty address.
func (c *Client) Base(address string) string {
	if address == "" {
		return ""
	}
	scheme, _, _ := strings.Cut(c.Addrs[0], "://")
	return scheme + "://" + address
}

// forget makes the next request ask who leads: a leader did not serve.
func (r *routes) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.table, r.asked = nil, time.Time{}
}
