package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cairn/fsm"
	"cairn/fsm/partition"
)

// smash overwrites half of every file below a node's directory whose path
// contains part; it returns how many there were.
func smash(t *testing.T, dir, part string) (files int) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() || !strings.Contains(path[len(dir):], part) || info.Size() == 0 {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		// A large file is mostly room for growth: begin where its data does.
		middle := raw[min(len(raw)/4, 8<<10):][:max(1, len(raw)/2)]
		copy(middle, bytes.Repeat([]byte{0xa5}, len(middle)))
		files++
		return os.WriteFile(path, raw, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestDamageHeals ruins one node's files, kind by kind: the node refuses what is
// damaged and is filled again by the others, under new names.
func TestDamageHeals(t *testing.T) {
	for _, part := range []string{"logs", "controller", "snapshots"} {
		t.Run(part, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, 3)
				defer s.close()
				h := s.create(8)
				for i := range 8 {
					if _, err := s.submit(0, h, team(i), "a", "yes", "k"); err != nil {
						t.Fatal(err)
					}
				}
				for _, r := range s.nodes[2].node.replicas.all() {
					// A follower snapshots once it has applied its configuration.
					s.until("a snapshot is taken", func() bool { return r.group.Snapshot() == nil })
				}
				before, member := names(s.nodes[2].node), s.nodes[2].node.id.Incarnation
				s.crash(2)
				if smash(t, s.nodes[2].data, part) == 0 {
					t.Fatalf("no file of the node is called %s", part)
				}
				s.start(2)
				s.until("every damaged replica has a successor", func() bool {
					after := names(s.nodes[2].node)
					for p, name := range before {
						if part != "controller" && (after[p] == name || after[p].IsZero()) {
							return false
						}
					}
					return part != "controller" || s.nodes[2].node.id.Incarnation != member
				})
				time.Sleep(aliveFor + reportEvery) // until reports tell of what is gone
				s.settle()
				// The healed node must be worth a vote: the other follower goes.
				s.crash(1)
				for i := range 8 {
					sub, err := s.submit(2, h, team(i), "a", "yes", "k")
					if err != nil || !sub.Replayed {
						t.Errorf("team %d after healing: %+v, %v", i, sub, err)
					}
				}
			})
		})
	}
}

func names(n *Node) map[fsm.PartitionID]fsm.Replica {
	out := map[fsm.PartitionID]fsm.Replica{}
	for _, r := range n.replicas.all() {
		out[r.id] = r.group.Replica()
	}
	return out
}

// TestDamagedIdentity: a node that cannot prove who it is refuses to start and
// says what to do.
func TestDamagedIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.close()
		s.crash(0)
		if smash(t, s.nodes[0].data, "identity") != 1 {
			t.Fatal("there is no identity file")
		}
		err := s.tryStart(0)
		if err == nil || !strings.Contains(err.Error(), "join the cluster again") {
			t.Errorf("a damaged identity: %v", err)
		}
	})
}

// TestLostBook: a node that lost the others' addresses learns them from what they
// send.
func TestLostBook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		h := s.create(2)
		s.crash(1)
		if smash(t, s.nodes[1].data, "peers") != 1 {
			t.Fatal("there is no book of addresses")
		}
		s.start(1)
		time.Sleep(aliveFor + reportEvery)
		s.settle()
		s.crash(2)
		for i := range 2 {
			if _, err := s.submit(1, h, team(i), "a", "yes", "k"); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestGrows adds nodes to a running cluster up to five, while it plays.
func TestGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.close()
		h := s.create(4)
		for n := 2; n <= 5; n++ {
			s.nodes = append(s.nodes, &simNode{name: fmt.Sprintf("n%d", n-1), data: filepath.Join(t.TempDir(), "data")})
			s.start(n - 1)
			for i := range 4 {
				if _, err := s.submit(i, h, team(i), "a", fmt.Sprintf("guess %d", n), fmt.Sprintf("k%d", n)); err != nil && fsm.KindOf(err) != fsm.AttemptsExhausted {
					t.Errorf("with %d nodes: %v", n, err)
				}
			}
			s.settle()
		}
		s.until("leaderships are even", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			v, err := s.live(0).View(ctx)
			if err != nil {
				return false
			}
			voters := 0
			for _, m := range v.Nodes {
				if m.Leading > 1 || m.Replicas > 3 {
					return false
				}
				if m.Controller != "non_voter" {
					voters++
				}
			}
			return voters == 5
		})
	})
}

// TestChangesAreInForce: once a change of the hunt has been answered, no node
// judges under the old state.
func TestChangesAreInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		h := s.create(6)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for round := range 5 {
			for _, want := range []struct {
				state string
				kind  fsm.Kind
			}{{"paused", fsm.HuntPaused}, {"closed", fsm.HuntOver}, {"draft", fsm.HuntNotOpen}} {
				if _, err := s.live(round).SetHuntState(ctx, "h", want.state, ""); err != nil {
					t.Fatal(err)
				}
				for i := range 6 {
					if _, err := s.submit(i, h, team(i), "a", "x", "never"); fsm.KindOf(err) != want.kind {
						t.Fatalf("in a %s hunt: %v", want.state, err)
					}
				}
			}
		}
		if _, err := s.live(1).SetHuntState(ctx, "h", "open", ""); err != nil {
			t.Fatal(err)
		}
		info, err := s.live(2).FreshHunt(ctx, "h")
		if err != nil {
			t.Fatal(err)
		}
		other := strings.ReplaceAll(simHunt, `"yes"`, `"no"`)
		if _, err := s.live(0).PutHunt(ctx, "h", info.Version-1, []byte(other)); fsm.KindOf(err) != fsm.PreconditionFailed {
			t.Errorf("a stale version: %v", err)
		}
		if _, err := s.live(0).PutHunt(ctx, "h", info.Version, []byte(other)); err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			sub, err := s.submit(i, h, team(i), "a", "no", "k")
			if err != nil || sub.Verdict != partition.VerdictCorrect {
				t.Errorf("under the new document: %+v, %v", sub, err)
			}
		}
		if err := s.live(1).DeleteHunt(ctx, "h"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.submit(2, h, team(0), "a", "no", "k"); fsm.KindOf(err) != fsm.NotFound {
			t.Errorf("in a deleted hunt: %v", err)
		}
		again := s.create(1)
		if again.Incarnation == h.Incarnation {
			t.Error("a hunt that was created again has its old incarnation")
		}
		if got, _, err := s.live(0).Team(ctx, again, team(0), Default); err != nil || got.Submitted != 0 {
			t.Errorf("it shares something with its past: %+v, %v", got, err)
		}
		s.until("the deleted hunt is forgotten", func() bool { return len(s.live(0).control.state().Deleted()) == 0 })
	})
}

// TestTokens: every node verifies every kind, a rotation and a revocation hold
// everywhere once answered.
func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.close()
		h := s.create(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if p, err := s.live(1).Authenticate(ctx, s.told.AdminToken); err != nil || p.Role != "admin" {
			t.Fatalf("%+v, %v", p, err)
		}
		_, organizer, err := s.live(2).CreateToken(ctx, "organizer", "h", 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.live(0).Authenticate(ctx, organizer)
		if err != nil || p.Role != "organizer" || p.Hunt != h {
			t.Fatalf("%+v, %v", p, err)
		}
		mine, err := s.live(0).TeamToken(h, team(0), 1)
		if err != nil {
			t.Fatal(err)
		}
		who, err := s.live(1).Authenticate(ctx, mine)
		if err != nil || who.Team != team(0) || who.Hunt != h {
			t.Fatalf("%+v, %v", who, err)
		}
		if err := s.live(2).CheckTeam(ctx, who); err != nil {
			t.Error(err)
		}
		for i := range mine[8:] {
			forged := []byte(mine)
			forged[8+i] ^= 1
			if _, err := s.live(0).Authenticate(ctx, string(forged)); fsm.KindOf(err) != fsm.Unauthenticated {
				t.Fatalf("a token with another character %d: %v", i, err)
			}
		}
		if _, err := s.live(0).RotateToken(ctx, &partition.RotateToken{Hunt: h.ID, Incarnation: h.Incarnation, Team: team(0), Key: "r"}); err != nil {
			t.Fatal(err)
		}
		if err := s.live(1).CheckTeam(ctx, who); fsm.KindOf(err) != fsm.Unauthenticated {
			t.Errorf("a rotated token: %v", err)
		}
		revoke(t, s, ctx, organizer)
	})
}

func revoke(t *testing.T, s *sim, ctx context.Context, text string) {
	t.Helper()
	list, err := s.live(0).ListTokens(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var id string
	for _, token := range list {
		if token.Role == "organizer" {
			id = token.ID
		}
	}
	if err := s.live(1).RevokeToken(ctx, id); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := s.live(i).Authenticate(ctx, text); fsm.KindOf(err) != fsm.Unauthenticated {
			t.Errorf("node %d honours a revoked token: %v", i, err)
		}
	}
	if err := s.live(1).RevokeToken(ctx, id); fsm.KindOf(err) != fsm.NotFound {
		t.Errorf("revoked again: %v", err)
	}
}
