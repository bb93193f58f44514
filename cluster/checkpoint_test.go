package cluster

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/fsm/partition"
)

// compared compares all partitions through node i.
func (s *sim) compared(i int) []Comparison {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	began := time.Now()
	out, err := s.live(i).Checkpoint(ctx, nil)
	if err != nil || len(out) != s.partitions {
		s.t.Fatalf("a checkpoint of %d partitions: %+v, %v", s.partitions, out, err)
	}
	if ctx.Err() != nil {
		s.t.Errorf("it took %v, and nobody waits any more", time.Since(began))
	}
	return out
}

// agreed is compared, and expects that all replicas agree but for those of the
// nodes named, which are missing. It returns the hashes by partition.
func (s *sim) agreed(i int, missing ...int) []string {
	s.t.Helper()
	var hashes []string
	for _, c := range s.compared(i) {
		if !c.Agree() || c.Index == 0 || len(c.Replicas) != min(3, len(s.nodes)) {
			s.t.Errorf("partition %d: %+v", c.Partition, c)
		}
		hash := ""
		for _, r := range c.Replicas {
			gone := slices.ContainsFunc(missing, func(i int) bool { return s.nodes[i].id == r.Node })
			if gone != (r.Hash == "") || gone != (r.Missing != "") || r.Differs {
				s.t.Errorf("partition %d: %+v", c.Partition, r)
			}
			hash = max(hash, r.Hash)
		}
		hashes = append(hashes, hash)
	}
	return hashes
}

// TestReplicasAgree: through load, crashes, restarts from snapshots and from the
// log, the replicas have equal hashes at every checkpoint, and a replica that
// cannot tell is missing, not different.
func TestReplicasAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		h := s.create(12)
		first := s.agreed(0)
		s.atRest(first)
		var load sync.WaitGroup
		for i := range 12 {
			load.Go(func() {
				for n := range 10 {
					if _, err := s.submit(i, h, team(i), "free", fmt.Sprint("guess ", n), fmt.Sprint("load", n)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		s.agreed(1)
		load.Wait()
		if second := s.agreed(2); slices.ContainsFunc(second, func(h string) bool { return slices.Contains(first, h) }) {
			t.Errorf("120 answers left the hash of a partition as it was: %v, then %v", first, second)
		}

		s.crash(2)
		s.played(h, 12)
		s.agreed(0, 2)
		s.start(2)
		s.settle()
		s.agreed(1)

		// One restarts from a snapshot and the log behind it, one from its log.
		s.crash(2)
		for _, r := range s.nodes[1].node.replicas.all() {
			s.until("a snapshot is taken", func() bool { return r.group.Snapshot() == nil })
		}
		for i := range 12 {
			if _, err := s.submit(i, h, team(i), "b", "yes", "after"); err != nil {
				t.Fatal(err)
			}
		}
		s.crash(1)
		s.start(1)
		s.start(2)
		s.settle()
		s.atRest(s.agreed(2))

		s.net.silence(s.nodes[0].name, true)
		time.Sleep(10 * time.Second)
		s.agreed(1, 0)
		s.net.silence(s.nodes[0].name, false)
	})
}

// atRest has every replica's state hash to what was told, in a cluster in which
// nothing happens.
func (s *sim) atRest(told []string) {
	s.t.Helper()
	for _, sn := range s.nodes {
		for _, r := range sn.node.replicas.all() {
			r.machine.read(func(m *partition.Machine) {
				if hash := m.Hash(); hex.EncodeToString(hash[:]) != told[r.id] {
					s.t.Errorf("%s has %x in partition %d, told was %s", sn.name, hash, r.id, told[r.id])
				}
			})
		}
	}
}

// TestTamperedReplicaIsFound changes the state of one replica behind the log's
// back: that one is told, whether it follows or leads, and no other.
func TestTamperedReplicaIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var diverged atomic.Int64
		s := newSimTuned(t, 3, simPartitions, func(_ *simNode, c *Config) { c.Events.Diverged = func() { diverged.Add(1) } })
		defer s.close()
		h := s.create(4)
		s.played(h, 4)
		p := s.live(0).control.state().PartitionOf(fsm.SlotOf(h.ID, team(0)))
		lead, _ := s.leading(p)
		for round, i := range []int{(lead + 1) % 3, lead} {
			if round > 0 { // the copy that was changed by the last round goes on from its log
				s.crash((lead + 1) % 3)
				s.start((lead + 1) % 3)
				s.settle()
				s.agreed(0)
				i, _ = s.leading(p)
			}
			s.tamper(i, p, h, team(0))
			for _, c := range s.compared(round) {
				want := c.Partition == p
				if c.Agree() == want {
					t.Errorf("partition %d, with partition %d changed: %+v", c.Partition, p, c)
				}
				for _, r := range c.Replicas {
					if r.Differs != (want && r.Node == s.nodes[i].id) || r.Hash == "" {
						t.Errorf("partition %d, with node %s changed: %+v", c.Partition, s.nodes[i].id, r)
					}
				}
			}
			if n := diverged.Load(); n != int64(round+1) {
				t.Errorf("%d divergences were told after %d", n, round+1)
			}
		}
	})
}

// leading is the number of the node that leads a partition.
func (s *sim) leading(p fsm.PartitionID) (int, bool) {
	i := slices.IndexFunc(s.nodes, func(sn *simNode) bool {
		r := sn.node.replicas.get(p)
		return r != nil && r.group.Leads()
	})
	return max(i, 0), i >= 0
}

// tamper renames a team on one node alone.
func (s *sim) tamper(i int, p fsm.PartitionID, h HuntRef, id fsm.TeamID) {
	s.t.Helper()
	m := s.nodes[i].node.replicas.get(p).machine
	m.mu.Lock()
	defer m.mu.Unlock()
	var b partition.Batch
	b.Add(m.m.LogTime(), &partition.PatchTeam{Hunt: h.ID, Incarnation: h.Incarnation, Team: id, Name: new("Cheats")})
	if res, err := m.m.Apply(b.Bytes()); err != nil || res[0].Err != nil {
		s.t.Fatalf("%+v, %v", res, err)
	}
}

// TestNobodyKnowsWhoIsRight: of two replicas, one of them without a vote, that
// have different states, both are told.
func TestNobodyKnowsWhoIsRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimOf(t, 2, 1)
		defer s.close()
		h := s.create(1)
		s.agreed(1)
		s.tamper(1, 0, h, team(0))
		c := s.compared(1)[0]
		if c.Agree() || len(c.Replicas) != 2 || !c.Replicas[0].Differs || !c.Replicas[1].Differs {
			t.Errorf("%+v", c)
		}
	})
}

// TestLevelRises: a cluster with a node of an earlier release refuses checkpoints,
// writes none into any log, and says which node; when that one is upgraded, the
// level rises by itself.
func TestLevelRises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := map[string]bool{"n0": true, "n2": true}
		s := newSimTuned(t, 3, 1, func(sn *simNode, c *Config) {
			if old[sn.name] {
				c.Level = controller.LevelFirst
			}
		})
		defer s.close()
		refused := func(names string) {
			t.Helper()
			last := s.live(0).replicas.get(0).group.Last()
			for i := range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				_, err := s.live(i).Checkpoint(ctx, nil)
				cancel()
				if fsm.KindOf(err) != fsm.Conflict || !strings.Contains(err.Error(), "upgrade "+names+",") {
					t.Errorf("at level %d: %v", s.live(i).control.state().Level(), err)
				}
				if r := s.live(i).replicas.get(0); r.group.Leads() {
					if _, err := r.serveCheckpoint(t.Context()); fsm.KindOf(err) != fsm.Conflict {
						t.Errorf("asked by another node, the leader proposes one: %v", err)
					}
				}
			}
			if now := s.live(0).replicas.get(0).group.Last(); now != last {
				t.Errorf("the log went from %d to %d", last, now)
			}
		}
		refused("n0 and n2")
		for _, i := range []int{2, 0} {
			old[s.nodes[i].name] = false
			s.crash(i)
			s.start(i)
			s.settle()
			if i == 2 {
				time.Sleep(10 * time.Second)
				refused("n0")
			}
		}
		s.until("the level has risen", func() bool { return s.live(1).control.state().Level() == controller.FeatureLevel })
		s.agreed(1)
		if _, err := s.live(0).Checkpoint(t.Context(), []fsm.PartitionID{7}); fsm.KindOf(err) != fsm.NotFound {
			t.Errorf("a partition that there is not: %v", err)
		}
	})
}

// TestSlowHashIsMissing: a replica that has no time to hash is missing, and who
// asked is answered before they stop waiting. When it has time, it hashes what is
// newest.
func TestSlowHashIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimOf(t, 3, 1)
		defer s.close()
		s.create(2)
		busy := s.nodes[1].node.replicas.hash
		busy <- struct{}{}
		for range maxFrozen + 1 {
			s.agreed(0, 1)
		}
		<-busy
		s.agreed(2)
	})
}

// TestLostPartitionIsNotCompared: a partition without a quorum is told as such,
// and the others are compared.
func TestLostPartitionIsNotCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 5)
		defer s.close()
		_, lost := s.lose()
		time.Sleep(20 * time.Second)
		for _, c := range s.compared(0) {
			gone := slices.Contains(lost, c.Partition)
			if c.Agree() == gone || (c.Err != nil) != gone || gone && fsm.KindOf(c.Err) != fsm.Unavailable {
				t.Errorf("partition %d, with %v lost: %+v", c.Partition, lost, c)
			}
		}
	})
}

// TestJudge: whoever has what most of those have that answered is right.
func TestJudge(t *testing.T) {
	for _, tt := range []struct{ hashes, differ string }{
		{"", ""},
		{"a", "."},
		{"-", "."},
		{"aaa", "..."},
		{"aab", "..x"},
		{"baa", "x.."},
		{"abc", "xxx"},
		{"ab", "xx"},
		{"a-a", "..."},
		{"a-b", "x.x"},
		{"aabb", "xxxx"},
		{"aaabb", "...xx"},
		{"---", "..."},
	} {
		var all []ReplicaHash
		for _, h := range tt.hashes {
			all = append(all, ReplicaHash{Hash: strings.Trim(string(h), "-")})
		}
		judge(all)
		got := ""
		for _, r := range all {
			got += map[bool]string{true: "x", false: "."}[r.Differs]
		}
		c := Comparison{Replicas: all}
		if got != tt.differ || c.Agree() != (!strings.Contains(got, "x") && strings.Trim(tt.hashes, "-") != "") {
			t.Errorf("%s: got %s, want %s; agree: %v", tt.hashes, got, tt.differ, c.Agree())
		}
	}
}

// TestHasherLimits: a node hashes one state after the other; what waits for too
// long is dropped, and what is old forgotten; closing leaves nothing behind.
func TestHasherLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, slots := partition.New(), make(chan struct{}, maxHashing)
		h := newHasher(slots)
		states := func(from, to uint64) string {
			got := ""
			for i := from; i <= to; i++ {
				_, state, _ := h.look(i)
				got += string("-w+"[state])
			}
			return got
		}
		slots <- struct{}{} // another replica's
		for i := range uint64(4) {
			h.take(i+1, m.Freeze())
		}
		synctest.Wait()
		if got := states(1, 5); got != "--ww-" {
			t.Errorf("while another hashes: %s", got)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, state := h.wait(short, 4); state != hashPending {
			t.Errorf("a hash that takes too long: %d", state)
		}
		<-slots
		if hash, state := h.wait(t.Context(), 4); state != hashKnown || hash != m.Hash() {
			t.Errorf("the hash is %x, %d", hash, state)
		}
		for i := range uint64(maxHashes) {
			h.take(i+5, m.Freeze())
			synctest.Wait()
		}
		if got := states(3, 12); got != "--"+strings.Repeat("+", maxHashes) {
			t.Errorf("after many: %s", got)
		}
		slots <- struct{}{}
		h.take(20, m.Freeze())
		waited := make(chan hashState, 1)
		go func() { _, state := h.wait(t.Context(), 20); waited <- state }()
		synctest.Wait()
		h.close()
		h.close()
		if state := <-waited; state != hashNone {
			t.Errorf("closed, it gives %d", state)
		}
		h.take(21, m.Freeze())
		if got := states(20, 21); got != "--" {
			t.Errorf("closed, it has %s", got)
		}
	})
}
