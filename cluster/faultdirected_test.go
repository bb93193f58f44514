package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cairn/cluster/faulttest"
	"cairn/cluster/group"
	"cairn/fsm"
)

// Schedules that a random search would need luck for. Each is one story, told move by
// move.

// story is a small cluster with one partition.
type story struct {
	*faultWorld
	group func(i int) *group.Group // the partition's replica on node i, nil if it has none
}

// tell sets the stage: some nodes, one partition and one team.
func tell(t *testing.T, nodes int, plot func(t *testing.T, s *story)) {
	synctest.Test(t, func(t *testing.T) {
		w := newFaultWorld(t, nodes, 1, 1, DefaultReassignAfter, rand.New(rand.NewPCG(1, 1)))
		defer w.close()
		time.Sleep(20 * time.Second) // until nothing is moved to be in balance
		plot(t, &story{faultWorld: w, group: func(i int) *group.Group {
			if n := w.nodeAt(i); n != nil {
				return n.localGroup(groupOf(0))
			}
			return nil
		}})
	})
}

// leader waits for the partition to have one, and returns it with the others that have
// a replica.
func (s *story) leader() (lead int, others []int) {
	s.t.Helper()
	s.until("the partition has a leader that all follow", func() bool {
		lead, others = -1, nil
		for i := range s.nodes {
			if g := s.group(i); g != nil && g.Leads() {
				lead = i
			}
		}
		for i := range s.nodes {
			g := s.group(i)
			if g == nil || i == lead {
				continue
			}
			if lead < 0 || g.Leader() != s.group(lead).Replica() {
				return false
			}
			others = append(others, i)
		}
		return lead >= 0 && len(others) > 0
	})
	return lead, others
}

// move has the partition's leadership go to a node.
func (s *story) move(to int) {
	s.t.Helper()
	s.until("the leadership is where the story wants it", func() bool {
		for i := range s.nodes {
			if g := s.group(i); g != nil && g.Leads() && i != to {
				_ = g.TransferTo(s.group(to).Replica())
			}
		}
		return s.group(to).Leads()
	})
}

// say submits through a node, which must accept.
func (s *story) say(i int, answer, key string) faulttest.Result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	r, err := s.Submit(ctx, i, faulttest.TeamID(0), "free", answer, key)
	if err != nil {
		s.t.Fatalf("%s through node %d: %v", key, i, err)
	}
	return r
}

// told is what a client is told some time.
type told struct {
	result faulttest.Result
	err    error
}

// ask submits beside the story.
func (s *story) ask(i int, answer, key string) chan told {
	out := make(chan told, 1)
	go func() {
		ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
		defer cancel()
		r, err := s.Submit(ctx, i, faulttest.TeamID(0), "free", answer, key)
		out <- told{r, err}
	}()
	return out
}

// record reads the team's history, which must have each key once, and returns it.
func (s *story) record(i int) (keys map[string]int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	list, err := s.History(ctx, i, faulttest.TeamID(0))
	if err != nil {
		s.t.Fatal(err)
	}
	keys, last := map[string]int{}, fsm.Time(0)
	for _, r := range list {
		if keys[r.Key]++; keys[r.Key] > 1 {
			s.t.Errorf("%s is recorded %d times", r.Key, keys[r.Key])
		}
		if r.At < last {
			s.t.Errorf("time runs back from %v to %v at %s", last, r.At, r.Key)
		}
		last = r.At
	}
	return keys
}

// alike waits until the replicas have one state.
func (s *story) alike() {
	s.t.Helper()
	hashes, err := s.Hashes(s.t.Context(), 0)
	if err != nil || !same(hashes) {
		s.t.Errorf("the replicas' states differ: %v, %v", hashes, err)
	}
}

// TestReadBehindEntryUnderWay: a leader has an entry under way when a default read
// arrives; by then it has a successor, which has acknowledged another write. The
// acknowledgements of the entry come in after the read: they say nothing of now.
func TestReadBehindEntryUnderWay(t *testing.T) {
	tell(t, 3, func(t *testing.T, s *story) {
		lead, others := s.leader()
		next, voter := others[0], others[1]
		old := s.nodes[lead].name
		for _, i := range others { // they hear and are not heard
			s.net.hold(s.nodes[i].name, old, true)
		}
		first := s.ask(lead, "wrong one", "first")
		time.Sleep(10 * time.Millisecond)
		g := s.group(next)
		if !g.Nominate(g.Term(), s.group(lead).Replica()) {
			t.Fatal("this shows nothing: the successor does not stand")
		}
		time.Sleep(100 * time.Millisecond)
		s.say(voter, "wrong two", "second")
		if !s.group(lead).Leads() || !g.Leads() {
			t.Fatalf("this shows nothing: two leaders were wanted, and the old one leads %t, its successor %t", s.group(lead).Leads(), g.Leads())
		}
		type seen struct {
			faulttest.State
			err error
		}
		read := make(chan seen, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			st, err := s.Team(ctx, lead, faulttest.TeamID(0))
			read <- seen{st, err}
		}()
		time.Sleep(10 * time.Millisecond)
		s.net.hold(s.nodes[voter].name, old, false)
		time.Sleep(2 * time.Second)
		s.net.repair()
		if got := <-read; got.err != nil || len(got.Clues) == 0 || got.Clues[0].Attempts != 2 {
			t.Errorf("a read that began after two attempts were acknowledged, or are about to be: %+v", got)
		}
		if got := <-first; got.err != nil {
			t.Error(got.err)
		}
		s.record(lead)
		s.alike()
	})
}

// TestIsolatedLeaderTellsNothing: what a leader has in hand when it is cut off is not
// told to be done while its successor does not have it.
func TestIsolatedLeaderTellsNothing(t *testing.T) {
	tell(t, 3, func(t *testing.T, s *story) {
		lead, others := s.leader()
		for _, i := range others {
			s.net.hold(s.nodes[i].name, s.nodes[lead].name, true)
			s.net.hold(s.nodes[lead].name, s.nodes[i].name, true)
		}
		first := s.ask(lead, "wrong one", "first")
		g := s.group(others[0])
		time.Sleep(10 * time.Millisecond)
		if !g.Nominate(g.Term(), s.group(lead).Replica()) {
			t.Fatal("this shows nothing: the successor does not stand")
		}
		time.Sleep(100 * time.Millisecond)
		s.say(others[1], "wrong two", "second")
		select {
		case got := <-first:
			if got.err == nil {
				t.Errorf("a leader that is cut off acknowledged %+v", got.result)
			}
			first <- got
		default:
		}
		time.Sleep(3 * time.Second)
		s.net.repair()
		got := <-first
		time.Sleep(5 * time.Second)
		keys := s.record(others[1])
		if got.err == nil && keys["first"] != 1 {
			t.Errorf("the leader that was cut off acknowledged what is nowhere: %+v of %v", got.result, keys)
		}
		if keys["second"] != 1 {
			t.Errorf("an acknowledged answer is lost: %v", keys)
		}
		s.alike()
	})
}

// TestPowerCutOfAll: what was acknowledged is there after all machines lost their power
// at once.
func TestPowerCutOfAll(t *testing.T) {
	tell(t, 3, func(t *testing.T, s *story) {
		rng := rand.New(rand.NewPCG(2, 2))
		for round := range 3 {
			for n := range 4 {
				s.say(n%3, fmt.Sprintf("wrong %d %d", round, n), fmt.Sprintf("k%d-%d", round, n))
				time.Sleep(4 * time.Second)
			}
			s.die(rng, s.running(), true)
			for i := range s.nodes {
				s.revive(i)
			}
			s.leader()
			if keys := s.record(round); len(keys) != 4*(round+1) {
				t.Fatalf("after power cut %d there is %v", round+1, keys)
			}
		}
		s.alike()
	})
}

// TestKeyOutlives: a key is known after its record has gone through a snapshot, and on a
// node that got it by a reassignment.
func TestKeyOutlives(t *testing.T) {
	tell(t, 4, func(t *testing.T, s *story) {
		first := s.say(0, "wrong one", "k")
		again := func(what string) {
			t.Helper()
			for i := range s.nodes {
				if s.alive(i) == nil {
					continue
				}
				if r := s.say(i, "wrong one", "k"); !r.Replayed || r.Number != first.Number || r.At != first.At {
					t.Errorf("%s, through node %d: %+v, want %+v again", what, i, r, first)
				}
			}
		}
		for i := range s.nodes {
			if g := s.group(i); g != nil {
				s.until("a snapshot is taken", func() bool { return g.Snapshot() == nil && g.LastSnapshot() != nil })
			}
		}
		s.die(s.rng, s.running(), false)
		for i := range s.nodes {
			s.revive(i)
		}
		lead, _ := s.leader()
		again("after a snapshot was restored")
		s.die(s.rng, []int{lead}, false)
		s.until("the replica is made elsewhere", func() bool {
			for i := range s.nodes {
				if s.alive(i) != nil && s.group(i) == nil {
					return false
				}
			}
			v := s.view()
			return v != nil && len(v.Partitions[0].Members) == 3 && v.Partitions[0].State == "ok"
		})
		for i := range s.nodes {
			if s.alive(i) != nil {
				s.move(i)
				again(fmt.Sprintf("led by node %d", i))
			}
		}
		s.alike()
	})
}

// TestSkewedLeaders: event times of a team do not run back when the leadership goes to a
// node with a slower clock.
func TestSkewedLeaders(t *testing.T) {
	tell(t, 3, func(t *testing.T, s *story) {
		for n := range 6 {
			lead, others := s.leader()
			s.nodes[lead].skew.Store(int64(200 * time.Millisecond))
			s.say(lead, fmt.Sprintf("wrong %d", n), fmt.Sprintf("fast%d", n))
			s.nodes[others[0]].skew.Store(-int64(200 * time.Millisecond))
			s.move(others[0])
			s.say(others[1], fmt.Sprintf("wrong again %d", n), fmt.Sprintf("slow%d", n))
			s.nodes[lead].skew.Store(0)
			s.nodes[others[0]].skew.Store(0)
			time.Sleep(time.Second)
		}
		if keys := s.record(0); len(keys) != 12 {
			t.Errorf("found %v", keys)
		}
	})
}

// TestLostAnswer: the answer to a forwarded command is lost; the node that forwarded it
// asks again, and the command is recorded once, under its key.
func TestLostAnswer(t *testing.T) {
	tell(t, 3, func(t *testing.T, s *story) {
		lead, others := s.leader()
		from := others[0]
		s.net.hold(s.nodes[lead].name, s.nodes[from].name, true)
		answer := s.ask(from, "wrong one", "k")
		time.Sleep(attemptTimeout + time.Second)
		s.net.repair()
		if got := <-answer; got.err != nil || got.result.Key != "k" {
			t.Errorf("it was told %+v", got)
		}
		if keys := s.record(from); len(keys) != 1 || keys["k"] != 1 {
			t.Errorf("found %v", keys)
		}
	})
}

// TestNewcomerCatchesUpFirst: a replica whose disk takes its time gets no vote before it
// has anything of the log.
func TestNewcomerCatchesUpFirst(t *testing.T) {
	tell(t, 4, func(t *testing.T, s *story) {
		s.say(0, "wrong one", "k")
		spare := slices.IndexFunc([]int{0, 1, 2, 3}, func(i int) bool { return s.group(i) == nil })
		lead, others := s.leader()
		newcomer := s.nodeAt(spare).ID()
		s.nodes[spare].disk.Slow(5 * time.Second)
		s.die(s.rng, []int{others[0]}, false)
		s.until("the table wishes a replica on the spare node", func() bool {
			return wished(s.nodeAt(lead).control.state(), newcomer)
		})
		for range 200 {
			time.Sleep(100 * time.Millisecond)
			for i := range s.nodes {
				g, mine := s.group(i), s.group(spare)
				if g != nil && g.Leads() && votes(g, newcomer) && (mine == nil || mine.Last() == 0) {
					t.Fatalf("node %d gave a vote to a replica that has nothing yet", i)
				}
			}
		}
		s.nodes[spare].disk.Slow(0)
		s.until("it votes when it has caught up", func() bool {
			lead, _ := s.leader()
			return votes(s.group(lead), newcomer)
		})
	})
}

// votes reports whether a node's replica is a voter by a leader's configuration.
func votes(g *group.Group, id fsm.NodeID) bool {
	conf, err := g.Configuration()
	return err == nil && slices.ContainsFunc(conf.Servers, func(m group.Server) bool { return m.Voter && m.Replica.Node == id })
}

// TestLaggingCatalogue: a leader whose copy of the catalogue is behind the version that
// its partition has installed judges nothing by the old one.
func TestLaggingCatalogue(t *testing.T) {
	tell(t, 3, func(t *testing.T, s *story) {
		control := s.controllerLeader()
		lead, late := (control+1)%3, (control+2)%3
		s.move(lead)
		s.net.hold(s.nodes[control].name, s.nodes[late].name, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		version, err := s.Edit(ctx, control, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		if st := s.nodeAt(late).control.state(); func() bool { h, _ := st.Hunt(faulttest.HuntID); return h.Version >= version }() {
			t.Fatal("this shows nothing: the catalogue is not behind")
		}
		s.move(late)
		var both sync.WaitGroup
		both.Go(func() {
			time.Sleep(time.Second)
			s.net.repair()
		})
		r, err := s.Submit(ctx, lead, faulttest.TeamID(0), "dated-1", "edition b", "k")
		both.Wait()
		if err != nil || r.Version != version || r.Verdict != "correct" {
			t.Errorf("judged as %+v (%v), want it right, under version %d", r, err, version)
		}
	})
}

// TestWipedReplica: a node that lost what it had of the partitions, but not who it is, runs
// no empty replica under a name that has voted.
func TestWipedReplica(t *testing.T) {
	tell(t, 3, func(t *testing.T, s *story) {
		s.say(0, "wrong one", "k")
		_, others := s.leader()
		i := others[0]
		was := s.group(i).Replica()
		s.die(s.rng, []int{i}, false)
		for _, name := range []string{"logs", "replicas", "snapshots/p0000"} {
			if err := os.RemoveAll(filepath.Join(s.nodes[i].data, name)); err != nil {
				t.Fatal(err)
			}
		}
		n, dir, err := s.open(i, s.nodes[i])
		if err != nil {
			t.Fatal(err)
		}
		s.adopt(i, n, dir)
		s.until("the node has a replica again, under another name", func() bool {
			g := s.group(i)
			if g != nil && g.Replica() == was {
				t.Fatalf("%s runs, and has lost what it acknowledged", was)
			}
			return g != nil && g.Replica().Incarnation > was.Incarnation
		})
		s.until("it has what the others have", func() bool { return s.group(i).Applied() == s.group(others[1]).Applied() })
		s.alike()
	})
}
