package httpapi

import (
	"container/list"
	"net"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Conns bounds a server's open connections. Where one more would be too many, the
// one that has been idle for longest is closed; if none is idle the new one is, at
// once and without an answer. It sees connections as http.Server tells of them.
type Conns struct {
	max     int
	evicted prometheus.Counter
	refused prometheus.Counter

	mu   sync.Mutex
	all  map[net.Conn]*list.Element // its place in idle; nil: it is not idle
	idle list.List                  // of net.Conn, idle for longest first
}

// NewConns returns a bound of max connections, at least 1, and registers its metrics.
func NewConns(reg prometheus.Registerer, max int) *Conns {
	closed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cairn_http_connections_closed_total", Help: "Clients' connections closed because there were too many: idle ones, or new ones if none was idle.",
	}, []string{"which"})
	c := &Conns{max: max, evicted: closed.WithLabelValues("idle"), refused: closed.WithLabelValues("new"), all: map[net.Conn]*list.Element{}}
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cairn_http_connections", Help: "Clients' open connections.",
	}, func() float64 { return float64(c.Open()) })
	reg.MustRegister(closed, open)
	return c
}

// Open is how many connections are open.
func (c *Conns) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all)
}

// Bound makes s tell c of its connections. Call it before s serves.
func (c *Conns) Bound(s *http.Server) { s.ConnState = c.note }

func (c *Conns) note(conn net.Conn, state http.ConnState) {
	if spare := c.change(conn, state); spare != nil {
		spare.Close() // the server tells of it as closed, later
	}
}

// change follows a connection and returns one that has to be closed; nil if none.
func (c *Conns) change(conn net.Conn, state http.ConnState) (spare net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.all[conn]; e != nil {
		c.idle.Remove(e)
	}
	switch state {
	case http.StateNew:
		if len(c.all) >= c.max {
			spare = c.spare(conn)
		}
		if spare != conn {
			c.all[conn] = nil
		}
	case http.StateActive:
		if _, ok := c.all[conn]; ok { // else it was closed just before
			c.all[conn] = nil
		}
	case http.StateIdle:
		if _, ok := c.all[conn]; ok {
			c.all[conn] = c.idle.PushBack(conn)
		}
	case http.StateClosed, http.StateHijacked:
		delete(c.all, conn)
	}
	return spare
}

// spare chooses which connection is closed, an idle one if there is any, and
// forgets it. The caller holds mu.
func (c *Conns) spare(fresh net.Conn) net.Conn {
	e := c.idle.Front()
	if e == nil {
		c.refused.Inc()
		return fresh
	}
	old := c.idle.Remove(e).(net.Conn)
	delete(c.all, old)
	c.evicted.Inc()
	return old
}
