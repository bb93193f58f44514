package link

import (
	"net"
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

// TestRegistryTwin runs random sequences against a list with obvious counting.
func TestRegistryTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type twin struct {
			*tracked
			conn     *nopConn
			accepted bool
			node     fsm.NodeID
		}
		var all []*twin
		closed := false
		r := newRegistry()
		count := func(ok func(*twin) bool) (n int) {
			for _, c := range all {
				if ok(c) {
					n++
				}
			}
			return n
		}
		node := rapid.SampledFrom([]fsm.NodeID{"a", "b"})
		pick := func() *twin {
			if len(all) == 0 {
				t.Skip("no connection")
			}
			return all[rapid.IntRange(0, len(all)-1).Draw(t, "conn")]
		}
		t.Repeat(map[string]func(*rapid.T){
			"accept": func(*rapid.T) {
				c := &nopConn{}
				tr, err := r.accept(c)
				if (err == nil) != !closed {
					t.Fatalf("closed %v, accept: %v", closed, err)
				} else if err == nil {
					all = append(all, &twin{tr, c, true, ""})
				}
			},
			"dial": func(*rapid.T) {
				c, n := &nopConn{}, node.Draw(t, "node")
				if tr, err := r.dialled(c, n); (err == nil) != !closed {
					t.Fatalf("closed %v, dialled: %v", closed, err)
				} else if err == nil {
					all = append(all, &twin{tr, c, false, n})
				}
			},
			"identify": func(*rapid.T) {
				c, n := pick(), node.Draw(t, "node")
				if !c.accepted || c.node != "" {
					t.Skip("known")
				}
				full := count(func(o *twin) bool { return o.accepted && o.node == n }) >= maxPerPeer
				if err := r.identify(c.tracked, n); (err != nil) != full {
					t.Fatalf("full %v, identify: %v", full, err)
				} else if err == nil {
					c.node = n
				}
			},
			"remove": func(*rapid.T) {
				c := pick()
				r.remove(c.tracked)
				r.remove(c.tracked)
				if !c.conn.closed {
					t.Fatal("removed and open")
				}
				for i := range all {
					if all[i] == c {
						all = append(all[:i], all[i+1:]...)
						break
					}
				}
			},
			"cut": func(*rapid.T) {
				n := node.Draw(t, "node")
				r.cut(n)
				for _, c := range all {
					if c.node == n && !c.conn.closed {
						t.Fatal("cut and open")
					}
				}
			},
			"close": func(*rapid.T) {
				if rapid.IntRange(0, 20).Draw(t, "really") == 0 {
					r.close()
					closed = true
				}
			},
			"": func(*rapid.T) {
				strangers := count(func(c *twin) bool { return c.accepted && c.node == "" })
				a := count(func(c *twin) bool { return c.accepted && c.node == "a" })
				if r.strangers != strangers || r.members["a"] != a || len(r.open) != len(all) {
					t.Fatalf("strangers %d of %d, a's %d of %d, open %d of %d", r.strangers, strangers, r.members["a"], a, len(r.open), len(all))
				}
				if closed && count(func(c *twin) bool { return !c.conn.closed }) != 0 {
					t.Fatal("closed, with connections open")
				}
			},
		})
	})
}
