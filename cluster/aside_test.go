package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
)

// TestHeirIsLost: everybody has given the own copy of the controller up for the
// heir's, and has not got that one yet, when the heir's disk dies. The controller
// goes on from what one of the others had put aside, under names that the lost
// history cannot have given out, even if a clock ran backwards; and nobody keeps
// anything aside once it is filled.
func TestHeirIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 5)
		defer s.close()
		h := s.create(12)
		s.played(h, 12)
		time.Sleep(5 * time.Second) // the followers have it too
		heir := 4
		s.enthrone(heir)
		highest := s.halfFollowed(heir)
		if c, err := s.inherit(1); fsm.KindOf(err) != fsm.Conflict || !c.Aside || !strings.Contains(err.Error(), "n4, which answers") {
			t.Errorf("recovered from %+v while the heir answers: %v", c, err)
		}
		s.crash(heir)
		if err := os.RemoveAll(s.nodes[heir].data); err != nil {
			t.Fatal(err)
		}
		var c ControllerCopy
		err := s.offline(1, func(sn *simNode) (err error) {
			c, err = RecoverController(t.Context(), sn.dir, s.net.dialer(sn.name), time.Unix(1, 0))
			return err
		})
		if err != nil || !c.Aside || c.Hunts != 1 || c.Members != 5 {
			t.Fatalf("recovered %+v, %v", c, err)
		}
		for i := range heir {
			s.start(i)
		}
		s.until("everybody follows the second heir", func() bool {
			s.again()
			for i := range heir {
				if n := s.nodes[i].node; n.id.Incarnation <= highest || !n.caughtUp.Load() {
					return false
				}
			}
			return true
		})
		s.remembered(h, 12)
		s.until("the first heir counts as down", func() bool { return s.member(heir).Status == "down" })
		id := s.member(heir).ID
		s.do("remove", func(ctx context.Context) error { return s.live(0).Remove(ctx, id) })
		s.whole(3, heir)
		s.remembered(h, 12)
		for i := range heir {
			if _, err := os.Stat(asidePath(s.nodes[i])); !os.IsNotExist(err) {
				t.Errorf("n%d is filled and keeps an old copy aside: %v", i, err)
			}
		}
	})
}

// enthrone has a node's copy of the controller inherit, and waits until everybody else
// was called by it.
func (s *sim) enthrone(heir int) {
	s.t.Helper()
	for i := range s.nodes {
		s.crash(i)
	}
	if _, err := s.inherit(heir); err != nil {
		s.t.Fatal(err)
	}
	for i := range s.nodes {
		s.start(i)
	}
	s.until("the heir has called everybody", func() bool {
		for i := range s.nodes {
			if i != heir && !s.nodes[i].anew.Load() {
				return false
			}
		}
		return true
	})
}

// halfFollowed has all others give their copies up for the heir's, and stops them
// before they are filled. It returns the highest name that the heir's history gave.
func (s *sim) halfFollowed(heir int) (highest uint64) {
	s.t.Helper()
	highest = s.nodes[heir].node.id.Incarnation
	for i := range heir {
		s.nodes[i].anew.Store(false)
		s.crash(i)
		s.start(i)
		highest = max(highest, s.nodes[i].node.id.Incarnation)
		s.crash(i) // before the heir's snapshot arrives
		if s.hasController(i) {
			s.t.Fatalf("n%d has the heir's history already: this test shows nothing", i)
		}
	}
	return highest
}

func asidePath(sn *simNode) string { return filepath.Join(sn.data, "snapshots", asideName) }

// hasController reports whether a stopped node has a controller's state of its own.
func (s *sim) hasController(i int) bool {
	s.t.Helper()
	has := false
	err := s.offline(i, func(sn *simNode) error {
		c, err := openSuccession(sn.dir)
		has = err == nil && !c.aside && c.state().Founded()
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return has
}

// TestAsideThroughCrashes: a node stops at each step of giving its copy up for the
// heir's: a recovery from it finds one that is whole, and can itself be cut off.
func TestAsideThroughCrashes(t *testing.T) {
	for name, stop := range map[string]func(id *identity){
		"before it has a new name": func(id *identity) { id.Renew = id.Incarnation + 1<<21 },
		"while the copy goes":      func(id *identity) { id.Renewing, id.Incarnation = true, id.Incarnation+1<<21 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, 2)
				defer s.close()
				h := s.create(4)
				s.played(h, 4)
				time.Sleep(5 * time.Second)
				s.crash(1)
				s.crash(0)
				err := s.offline(0, func(sn *simNode) error {
					own, err := openSuccession(sn.dir)
					if err != nil {
						return err
					}
					if err := putAside(sn.dir, own.conf); err != nil {
						return err
					}
					stop(own.id)
					if own.id.Renewing {
						err = sn.dir.DropSnapshots("controller")
					}
					return errors.Join(err, own.id.save(sn.dir))
				})
				if err != nil {
					t.Fatal(err)
				}
				// The recovery is cut off once it has noted the new name.
				err = s.offline(0, func(sn *simNode) error {
					cut, err := openSuccession(sn.dir)
					if err != nil {
						return err
					}
					cut.id.Resuming, cut.id.Incarnation, cut.id.Renew = cut.id.Incarnation, cut.id.Incarnation+1<<22, 0
					if cut.id.Renewing {
						err = sn.dir.DropController()
						cut.id.Renewing = false
					}
					return errors.Join(err, cut.id.save(sn.dir))
				})
				if err != nil {
					t.Fatal(err)
				}
				if c, err := s.inherit(0); err != nil || !c.Begun || c.Hunts != 1 {
					t.Fatalf("recovered %+v, %v", c, err)
				}
				s.start(0)
				s.start(1)
				s.until("both follow the new history", func() bool {
					s.again()
					return s.nodes[0].node.caughtUp.Load() && s.nodes[1].node.id.Incarnation > skip && s.nodes[1].node.caughtUp.Load()
				})
				s.remembered(h, 4)
			})
		})
	}
}
