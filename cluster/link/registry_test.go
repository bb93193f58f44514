package link

import (
	"net"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cairn/fsm"
)

// nopConn is a connection that notes that it was closed.
type nopConn struct {
	net.Conn
	closed bool
}

func (c *nopConn) Close() error { c.closed = true; return nil }

// twin is what the registry should think of a connection.
type twin struct {
	*tracked
	conn     *nopConn
	accepted bool
	node     fsm.NodeID
}

// registryTwin is the naive registry beside the real one: a list, and counting.
type registryTwin struct {
	real   *registry
	all    []*twin
	closed bool
}

var anyNode = rapid.SampledFrom([]fsm.NodeID{"a", "b"})

func (m *registryTwin) count(ok func(*twin) bool) (n int) {
	for _, c := range m.all {
		if ok(c) {
			n++
		}
	}
	return n
}

func (m *registryTwin) pick(t *rapid.T) *twin {
	if len(m.all) == 0 {
		t.Skip("no connection")
	}
	return rapid.SampledFrom(m.all).Draw(t, "conn")
}

func (m *registryTwin) Accept(t *rapid.T) {
	c := &nopConn{}
	if tr, err := m.real.accept(c); (err == nil) == m.closed {
		t.Fatalf("closed %v, accept: %v", m.closed, err)
	} else if err == nil {
		m.all = append(m.all, &twin{tr, c, true, ""})
	}
}

func (m *registryTwin) Dial(t *rapid.T) {
	c, n := &nopConn{}, anyNode.Draw(t, "node")
	if tr, err := m.real.dialled(c, n); (err == nil) == m.closed {
		t.Fatalf("closed %v, dialled: %v", m.closed, err)
	} else if err == nil {
		m.all = append(m.all, &twin{tr, c, false, n})
	}
}

func (m *registryTwin) Identify(t *rapid.T) {
	c, n := m.pick(t), anyNode.Draw(t, "node")
	if !c.accepted || c.node != "" {
		t.Skip("known")
	}
	full := m.count(func(o *twin) bool { return o.accepted && o.node == n }) >= maxPerPeer
	if err := m.real.identify(c.tracked, n); (err != nil) != full {
		t.Fatalf("full %v, identify: %v", full, err)
	} else if err == nil {
		c.node = n
	}
}

func (m *registryTwin) Remove(t *rapid.T) {
	c := m.pick(t)
	m.real.remove(c.tracked)
	m.real.remove(c.tracked) // changes nothing more
	if !c.conn.closed {
		t.Fatal("removed and open")
	}
	m.all = slices.DeleteFunc(m.all, func(o *twin) bool { return o == c })
}

func (m *registryTwin) Cut(t *rapid.T) {
	n := anyNode.Draw(t, "node")
	m.real.cut(n)
	if open := m.count(func(c *twin) bool { return c.node == n && !c.conn.closed }); open != 0 {
		t.Fatalf("cut, with %d open", open)
	}
}

func (m *registryTwin) Close(t *rapid.T) {
	if rapid.IntRange(0, 20).Draw(t, "really") == 0 {
		m.real.close()
		m.closed = true
	}
}

// Check holds the registry's invariants against the list.
func (m *registryTwin) Check(t *rapid.T) {
	r := m.real
	if want := m.count(func(c *twin) bool { return c.accepted && c.node == "" }); r.strangers != want {
		t.Fatalf("%d strangers, want %d", r.strangers, want)
	}
	for _, n := range []fsm.NodeID{"a", "b"} {
		if want := m.count(func(c *twin) bool { return c.accepted && c.node == n }); r.members[n] != want {
			t.Fatalf("%d of node %s, want %d", r.members[n], n, want)
		}
	}
	if len(r.open) != len(m.all) {
		t.Fatalf("%d known, want %d", len(r.open), len(m.all))
	}
	if m.closed && m.count(func(c *twin) bool { return !c.conn.closed }) != 0 {
		t.Fatal("closed, with connections open")
	}
}

func TestRegistryTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		t.Repeat(rapid.StateMachineActions(&registryTwin{real: newRegistry()}))
	})
}
