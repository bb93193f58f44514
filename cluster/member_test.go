package cluster

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
	"cairn/fsm/controller"
)

// view is the cluster as some live node's view has it; nil if there is none now.
func (s *sim) view() *View {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	v, err := s.live(0).View(ctx)
	if err != nil {
		return nil
	}
	return v
}

// member returns a node as the view has it.
func (s *sim) member(i int) NodeView {
	if v := s.view(); v != nil {
		for _, m := range v.Nodes {
			if m.Name == s.nodes[i].name {
				return m
			}
		}
	}
	return NodeView{}
}

// whole waits until every partition has n caught-up members, none of them on one
// of the nodes named, and a leader.
func (s *sim) whole(n int, without ...int) {
	s.t.Helper()
	s.until(fmt.Sprintf("every partition has %d members without %v", n, without), func() bool {
		v := s.view()
		if v == nil {
			return false
		}
		bad := map[fsm.NodeID]bool{}
		for _, m := range v.Nodes {
			for _, i := range without {
				bad[m.ID] = bad[m.ID] || m.Name == s.nodes[i].name
			}
		}
		for _, p := range v.Partitions {
			if p.State != "ok" || len(p.Members) != n {
				return false
			}
			for _, m := range p.Members {
				if bad[m.Node] {
					return false
				}
			}
		}
		return true
	})
}

func (s *sim) do(what string, f func(ctx context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	if err := f(ctx); err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

// played has every team solve clue a once, and remembered has it solved still.
func (s *sim) played(h HuntRef, teams int) {
	s.t.Helper()
	for i := range teams {
		if _, err := s.submit(i, h, team(i), "a", "yes", "k"); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *sim) remembered(h HuntRef, teams int) {
	s.t.Helper()
	for i := range teams {
		sub, err := s.submit(i, h, team(i), "a", "yes", "k")
		if err != nil || !sub.Replayed || sub.Number != 1 {
			s.t.Errorf("team %d: %+v, %v", i, sub, err)
		}
	}
}

// TestReassignment: a node that stays away is marked as down by a log entry, and
// after the cluster's patience its replicas are made elsewhere; when it comes
// back it deletes what is no longer its own and gets its share again.
func TestReassignment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 5)
		defer s.close()
		h := s.create(8)
		s.played(h, 8)
		s.crash(4)
		down := time.Now()
		s.until("the log says that it is down", func() bool { return s.member(4).State == controller.Down })
		if silent := time.Since(down); silent < DefaultNodeTimeout-reportEvery || silent > 3*DefaultNodeTimeout {
			t.Errorf("it took %v to find out", silent)
		}
		time.Sleep(DefaultReassignAfter - 10*time.Second)
		if v := s.view(); v == nil || !targets(v, s.member(4).ID) {
			t.Error("it was given up before its time")
		}
		s.whole(3, 4)
		s.remembered(h, 8)
		s.start(4)
		s.until("it is up again and holds its share", func() bool {
			m := s.member(4)
			return m.Status == "alive" && m.Replicas >= 2
		})
		s.whole(3)
		s.remembered(h, 8)
		s.until("it runs only what is wished of it", func() bool {
			n, st := s.nodes[4].node, s.nodes[4].node.control.state()
			for _, r := range n.replicas.all() {
				row, _ := st.Partition(r.id)
				if !wishes(row, r.group.Replica()) {
					return false
				}
			}
			return true
		})
	})
}

// targets reports whether the table wishes a replica on a node.
func targets(v *View, id fsm.NodeID) bool { return wished(v.State, id) }

// TestLeave: nodes leave one after the other, the controller's leader among them,
// down to one; each ends by itself, and nothing is forgotten.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 5)
		defer s.close()
		h := s.create(8)
		s.played(h, 8)
		for left := 0; left < 4; left++ {
			if n := s.nodes[left].node; left == 0 && !n.control.group.Leads() {
				s.until("the founder leads the controller", func() bool {
					_ = s.live(left + 1).control.group.TransferTo(n.id.replica())
					time.Sleep(time.Second)
					return n.control.group.Leads()
				})
			}
			s.do("leave", func(ctx context.Context) error { return s.live(left+1).Leave(ctx, s.nodes[left].node.ID()) })
			s.until(s.nodes[left].name+" is told that it has left", s.nodes[left].left.Load)
			if err := s.nodes[left].node.Close(); err != nil {
				t.Error(err)
			}
			s.nodes[left].dir.Close()
			s.nodes[left].node, s.nodes[left].dir = nil, nil
			s.whole(min(3, 4-left), left)
			s.remembered(h, 8)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := s.live(0).Leave(ctx, s.live(0).ID()); fsm.KindOf(err) != fsm.Conflict {
			t.Errorf("the last node may leave: %v", err)
		}
	})
}

// TestDrain: a drained node leads nothing, keeps its replicas, and leads again
// when it is told to.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		id := s.nodes[1].node.ID()
		s.until("it leads something", func() bool { return s.member(1).Leading > 0 })
		s.do("drain", func(ctx context.Context) error { return s.live(0).Drain(ctx, id, true) })
		s.until("it leads nothing", func() bool {
			m := s.member(1)
			return m.Heard && m.Leading == 0 && m.Replicas == simPartitions && m.Status == "draining"
		})
		time.Sleep(time.Minute)
		if m := s.member(1); m.Leading > 0 {
			t.Errorf("a drained node leads %d partitions", m.Leading)
		}
		for _, c := range s.nodes[1].node.Ready() {
			if c.OK != (c.Name != "duty") {
				t.Errorf("check %s: %v", c.Name, c)
			}
		}
		s.do("undrain", func(ctx context.Context) error { return s.live(0).Drain(ctx, id, false) })
		s.until("it leads again", func() bool { return s.member(1).Leading > 0 })
	})
}

// TestDrainController: a drained node leads the controller no more either.
func TestDrainController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		leads := func() int {
			return slices.IndexFunc(s.nodes, func(n *simNode) bool { return n.node.control.group.Leads() })
		}
		old := leads()
		s.do("drain", func(ctx context.Context) error { return s.live(0).Drain(ctx, s.nodes[old].node.ID(), true) })
		s.until("another one leads the controller", func() bool { i := leads(); return i >= 0 && i != old })
		time.Sleep(time.Minute)
		if leads() == old {
			t.Error("it leads the controller again")
		}
	})
}

// TestRefusals: what would cost a quorum is refused, with the partitions named.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		id := func(i int) fsm.NodeID { return s.nodes[i].node.ID() }
		ctx := t.Context()
		if err := s.live(0).Remove(ctx, id(1)); fsm.KindOf(err) != fsm.Conflict || !strings.Contains(err.Error(), "leave") {
			t.Errorf("removing a live node: %v", err)
		}
		dead := id(2)
		s.crash(2)
		s.until("it is down", func() bool { return s.member(2).State == controller.Down })
		if err := s.live(0).Leave(ctx, dead); fsm.KindOf(err) != fsm.Conflict {
			t.Errorf("a dead node leaves: %v", err)
		}
		err := s.live(0).Leave(ctx, id(1))
		if fsm.KindOf(err) != fsm.Conflict || !strings.Contains(err.Error(), "partitions 0, 1, 2 and 3") {
			t.Errorf("leaving while another node is down: %v", err)
		}
		if err := s.live(0).Remove(ctx, dead); err != nil {
			t.Errorf("removing the dead node: %v", err)
		}
		s.until("it is gone", func() bool { return s.member(2).State == controller.Left })
		s.whole(2, 2)
	})
}

// TestRemoveHurries: removing a dead node by force waits for no patience.
func TestRemoveHurries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 4)
		defer s.close()
		dead := s.nodes[3].node.ID()
		s.crash(3)
		s.until("it is down", func() bool { return s.member(3).State == controller.Down })
		start := time.Now()
		s.do("remove", func(ctx context.Context) error { return s.live(0).Remove(ctx, dead) })
		s.whole(3, 3)
		s.until("it is gone", func() bool { return s.member(3).State == controller.Left })
		if took := time.Since(start); took > DefaultReassignAfter {
			t.Errorf("it took %v", took)
		}
	})
}

// TestControllerVoters: the controller has five voters among seven nodes, and one
// that dies is replaced.
func TestControllerVoters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 7)
		defer s.close()
		voters := func() (names []string) {
			if v := s.view(); v != nil {
				for _, m := range v.Nodes {
					if m.Controller != "non_voter" {
						names = append(names, m.Name)
					}
				}
			}
			return names
		}
		s.until("five vote", func() bool { return len(voters()) == 5 })
		victim := -1
		for i, sn := range s.nodes {
			if victim < 0 && strings.Contains(strings.Join(voters(), " "), sn.name) && !sn.node.control.group.Leads() {
				victim = i
			}
		}
		s.crash(victim)
		s.until("five others vote", func() bool {
			v := voters()
			return len(v) == 5 && !strings.Contains(strings.Join(v, " "), s.nodes[victim].name)
		})
	})
}

// TestNominate: the groups of a node that falls silent have a leader long before
// an election timeout; those of one whose process ended before anybody could have
// found it silent.
func TestNominate(t *testing.T) {
	t.Run("silent", func(t *testing.T) {
		testTakeover(t, 3*time.Second, func(s *sim, i int) { s.net.isolate(s.nodes[i].name, true) })
	})
	t.Run("crashed", func(t *testing.T) {
		testTakeover(t, 1400*time.Millisecond, func(s *sim, i int) { s.crash(i) })
	})
}

// spread waits until each of three nodes leads partitions and all is calm, and
// returns a node that does not lead the controller.
func (s *sim) spread() int {
	s.t.Helper()
	s.until("leaderships are spread", func() bool {
		return s.member(0).Leading > 0 && s.member(1).Leading > 0 && s.member(2).Leading > 0
	})
	time.Sleep(10 * time.Second)
	if s.nodes[1].node.control.group.Leads() {
		return 2
	}
	return 1
}

// testTakeover loses a node and bounds the time until every group accepts.
func testTakeover(t *testing.T, within time.Duration, lose func(s *sim, i int)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		h := s.create(16)
		silent := s.spread()
		start := time.Now()
		lose(s, silent)
		for i := range 16 {
			from := (silent + 1) % 3
			if _, err := s.submit(from, h, team(i), "a", "yes", "k"); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took > within {
			t.Errorf("it took %v until all groups accepted, want at most %v: an election timeout is 2 to 4 s", took, within)
		}
	})
}

// wishes reports whether a row wishes a replica.
func wishes(row controller.Partition, name fsm.Replica) bool {
	for _, t := range row.Target {
		if t.Replica == name {
			return true
		}
	}
	return false
}

// TestUnwelcome: a node that nobody can reach, or whose clock is far off, is told
// so when it joins, and leaves no member behind.
func TestUnwelcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.close()
		n := s.nodes[0].node
		token, err := n.joinToken(t.Context(), s.told.JoinToken)
		if err != nil || token.Role != "join" {
			t.Fatal(err)
		}
		l := s.net.listen("here")
		defer l.Close()
		for _, tt := range []struct {
			address string
			clock   time.Duration
			says    string
		}{
			{"here", 0, ""},
			{"here", 50 * time.Second, ""},
			{"here", -2 * time.Minute, "NTP"},
			{"here", 2 * time.Minute, "NTP"},
			{"nowhere", 0, "--advertise"},
		} {
			err := n.welcome(t.Context(), &joinRequest{
				Member: controller.Member{Address: tt.address}, Clock: fsm.TimeOf(time.Now().Add(tt.clock)),
			})
			if tt.says == "" && err != nil || tt.says != "" && (fsm.KindOf(err) != fsm.Invalid || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("%s, %v: %v, want something of %q", tt.address, tt.clock, err, tt.says)
			}
		}
		if members := n.control.state().Members(); len(members) != 1 {
			t.Errorf("%d members", len(members))
		}
	})
}

// TestReassignmentOutlivesTheController kills the controller's leader while it
// replaces a dead node's replicas, at different moments: the next one completes
// it, and gives no row two replicas for the one that it lost.
func TestReassignmentOutlivesTheController(t *testing.T) {
	kills := 4
	if os.Getenv("CAIRN_LONG") == "1" {
		kills = 20
	}
	for k := range kills {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSimOf(t, 6, 12)
				defer s.close()
				h := s.create(8)
				s.played(h, 8)
				lead := s.controllerLeader()
				dead := (lead + 1) % 6
				deadID := s.nodes[dead].node.ID()
				held := s.held(deadID)
				s.crash(dead)
				s.until("its replicas are wished elsewhere", func() bool {
					return !wished(s.nodes[lead].node.control.state(), deadID)
				})
				time.Sleep(time.Duration(k*977%3000) * time.Millisecond)
				before := s.nodes[lead].node.control.state()
				s.crash(lead)
				time.Sleep(10 * time.Second)
				s.start(lead) // rows that had replicas on both need one of them back
				s.whole(3, dead)
				s.remembered(h, 8)
				// It was back before its time: nothing of it is replaced, and nothing of
				// the dead one again.
				for _, row := range s.live(0).control.state().Partitions() {
					old, _ := before.Partition(row.ID)
					if moved := row.Epoch - old.Epoch; held[row.ID] && moved > 2 {
						t.Errorf("partition %d changed %d times after it was repaired", row.ID, moved)
					}
				}
			})
		})
	}
}

// controllerLeader is the number of the node that leads the controller.
func (s *sim) controllerLeader() (lead int) {
	s.t.Helper()
	s.until("the controller has a leader", func() bool {
		for i, sn := range s.nodes {
			if sn.node != nil && sn.node.control.group.Leads() {
				lead = i
				return true
			}
		}
		return false
	})
	return lead
}

// held are the partitions that a node has replicas of, by the table.
func (s *sim) held(id fsm.NodeID) map[fsm.PartitionID]bool {
	out := map[fsm.PartitionID]bool{}
	for _, row := range s.live(0).control.state().Partitions() {
		for _, target := range row.Target {
			out[row.ID] = out[row.ID] || target.Replica.Node == id
		}
	}
	return out
}
