package blackbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// rounds is how often a change is made and looked for: what lags by
// milliseconds is not seen every time.
var rounds = form(8, 20)

// TestChangesAreInForce makes every kind of change through one node and, the
// moment that it is answered, looks for it through all of them.
func TestChangesAreInForce(t *testing.T) {
	besideAnother(t)
	c := start(t, 3, "--partitions", "4")
	for name, test := range map[string]func(*testing.T, *cluster){
		"state": changeState, "document": changeDocument, "disqualify": disqualify, "team_token": rotateTokens,
		"revoke": revokeTokens, "delete": deleteHunts, "retry": retryElsewhere, "at_once": sameKeyAtOnce,
	} {
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
}

// everywhere runs check for a client of each node, the one that made the change
// last.
func (c *cluster) everywhere(token string, changed int, check func(cl *client.Client, node string)) {
	for i := 1; i <= c.Nodes(); i++ {
		node := (changed + i) % c.Nodes()
		check(c.at(node, token), c.Name(node))
	}
}

func changeState(t *testing.T, c *cluster) {
	doc := quiz("state", 1)
	teams, tokens := c.open(doc, rounds)
	for n, team := range teams {
		by := n % c.Nodes()
		for _, change := range []struct {
			state string
			kind  fsm.Kind
		}{{"paused", fsm.HuntPaused}, {"closed", fsm.HuntOver}, {"draft", fsm.HuntNotOpen}, {"open", fsm.Internal}} {
			if _, err := c.at(by, c.AdminToken()).SetHuntState(t.Context(), doc.id(), rest.HuntState{State: change.state}); err != nil {
				t.Fatal(err)
			}
			c.everywhere(tokens[team], by, func(cl *client.Client, node string) {
				s, err := cl.Submit(t.Context(), doc.id(), team, rest.NewSubmission{Clue: "c1", Answer: "wrong " + node}, change.state+node)
				if change.state == "open" && err == nil {
					return
				}
				if change.state == "open" || fsm.KindOf(err) != change.kind {
					t.Errorf("round %d: after %q through %s, %s answers %s (%v)", n, change.state, c.Name(by), node, show(s), err)
				}
			})
			c.everywhere("", by, func(cl *client.Client, node string) {
				if h, _, err := cl.Hunt(t.Context(), doc.id()); err != nil || h.State != change.state {
					t.Errorf("round %d: after %q through %s, %s shows %s (%v)", n, change.state, c.Name(by), node, show(h), err)
				}
			})
		}
	}
}

func changeDocument(t *testing.T, c *cluster) {
	doc := quiz("document", 1)
	teams, tokens := c.open(doc, rounds)
	_, stale, err := c.admin().Hunt(t.Context(), doc.id())
	if err != nil {
		t.Fatal(err)
	}
	etag := stale
	for n, team := range teams {
		by, answer := n%c.Nodes(), fmt.Sprintf("right in version %d", n+2)
		next := quiz(doc.id(), 1)
		next["clues"].([]map[string]any)[0]["answers"] = []string{answer}
		put := c.at(by, c.AdminToken())
		h, tag, err := put.PutHunt(t.Context(), doc.id(), etag, next.json())
		if err != nil || h.Version != uint64(n+2) || tag == etag {
			t.Fatalf("round %d: PUT answers %s, ETag %s (%v)", n, show(h), tag, err)
		}
		etag = tag
		c.everywhere(tokens[team], by, func(cl *client.Client, node string) {
			s, err := cl.Submit(t.Context(), doc.id(), team, rest.NewSubmission{Clue: "c1", Answer: answer}, node)
			if err != nil || s.HuntVersion != h.Version || s.Verdict != "correct" && s.Verdict != "already_solved" {
				t.Errorf("round %d: after a PUT through %s, %s judges %s (%v), want version %d", n, c.Name(by), node, show(s), err, h.Version)
			}
		})
		c.everywhere(c.AdminToken(), by, func(cl *client.Client, node string) {
			if _, seen, err := cl.Hunt(t.Context(), doc.id()); err != nil || seen != etag {
				t.Errorf("round %d: after a PUT through %s, %s shows ETag %s (%v), want %s", n, c.Name(by), node, seen, err, etag)
			}
			_, _, err := cl.PutHunt(t.Context(), doc.id(), stale, doc.json())
			wantKind(t, "PUT of a stale version through "+node, err, fsm.PreconditionFailed)
			_, _, err = cl.PutHunt(t.Context(), doc.id(), "", doc.json())
			wantKind(t, "PUT without If-Match through "+node, err, fsm.PreconditionRequired)
		})
	}
}

func disqualify(t *testing.T, c *cluster) {
	doc := quiz("disqualify", 2)
	teams, tokens := c.open(doc, rounds)
	for _, team := range teams {
		if _, err := c.admin().Submit(t.Context(), doc.id(), team, rest.NewSubmission{Clue: "c1", Answer: right}, "solve"); err != nil {
			t.Fatal(err)
		}
	}
	for n, team := range teams {
		by, status := n%c.Nodes(), "disqualified"
		if _, err := c.at(by, c.AdminToken()).PatchTeam(t.Context(), doc.id(), team, rest.TeamPatch{Status: &status, Reason: "a test"}); err != nil {
			t.Fatal(err)
		}
		c.everywhere(tokens[team], by, func(cl *client.Client, node string) {
			_, err := cl.Submit(t.Context(), doc.id(), team, rest.NewSubmission{Clue: "c2", Answer: right}, node)
			wantKind(t, "a submission of a disqualified team through "+node, err, fsm.Forbidden)
			b, err := cl.Leaderboard(t.Context(), doc.id(), "", client.Page{Consistency: client.Strong})
			if err != nil || len(b.Leaderboard) != rounds-n-1 || slices.ContainsFunc(b.Leaderboard, func(r rest.Row) bool { return r.Team == team }) {
				t.Errorf("round %d: with %s disqualified through %s, the board of %s is %s (%v)", n, team, c.Name(by), node, show(b), err)
			}
		})
	}
}

func rotateTokens(t *testing.T, c *cluster) {
	doc := quiz("rotate", 1)
	teams, tokens := c.open(doc, rounds)
	for n, team := range teams {
		by := n % c.Nodes()
		made, err := c.at(by, c.AdminToken()).RotateToken(t.Context(), doc.id(), team, fmt.Sprint(n))
		if err != nil || made.Token == tokens[team] {
			t.Fatalf("a new token: %s (%v)", show(made), err)
		}
		c.everywhere(tokens[team], by, func(cl *client.Client, node string) {
			_, err := cl.Team(t.Context(), doc.id(), team, false, client.Default)
			wantKind(t, "a void token reads through "+node, err, fsm.Unauthenticated)
			_, err = cl.Submit(t.Context(), doc.id(), team, rest.NewSubmission{Clue: "c1", Answer: right}, node)
			wantKind(t, "a void token submits through "+node, err, fsm.Unauthenticated)
		})
		c.everywhere(made.Token, by, func(cl *client.Client, node string) {
			if _, err := cl.Team(t.Context(), doc.id(), team, false, client.Default); err != nil {
				t.Errorf("the new token reads through %s: %v", node, err)
			}
		})
		again, err := c.at((by+1)%c.Nodes(), c.AdminToken()).RotateToken(t.Context(), doc.id(), team, fmt.Sprint(n))
		if err != nil || again.Token != made.Token {
			t.Errorf("the same rotation again, through another node: %v, or another token", err)
		}
	}
}

func revokeTokens(t *testing.T, c *cluster) {
	for n := range rounds {
		by := n % c.Nodes()
		made, err := c.at(by, c.AdminToken()).CreateToken(t.Context(), rest.NewToken{Role: "organizer"})
		if err != nil {
			t.Fatal(err)
		}
		c.everywhere(made.Secret, by, func(cl *client.Client, node string) {
			if who, err := cl.WhoAmI(t.Context()); err != nil || who.Role != "organizer" {
				t.Errorf("round %d: a new token is %s (%v) to %s", n, show(who), err, node)
			}
		})
		if err := c.at(by, c.AdminToken()).RevokeToken(t.Context(), made.ID); err != nil {
			t.Fatal(err)
		}
		c.everywhere(made.Secret, by, func(cl *client.Client, node string) {
			_, err := cl.WhoAmI(t.Context())
			wantKind(t, fmt.Sprintf("round %d: a token that was revoked through %s, to %s", n, c.Name(by), node), err, fsm.Unauthenticated)
		})
	}
}

func deleteHunts(t *testing.T, c *cluster) {
	doc := quiz("delete", 1)
	old := ""
	for n := range rounds {
		by := n % c.Nodes()
		_, tokens := c.open(doc, 1)
		cl := c.at(by, c.AdminToken())
		if s, err := cl.Submit(t.Context(), doc.id(), "t1", rest.NewSubmission{Clue: "c1", Answer: right}, "once"); err != nil || s.Replayed || s.Submission != "1" {
			t.Errorf("round %d: the first submission of this life is %s (%v)", n, show(s), err)
		}
		if old != "" {
			c.everywhere(old, by, func(cl *client.Client, node string) {
				_, err := cl.Team(t.Context(), doc.id(), "t1", false, client.Default)
				wantKind(t, "a token of the hunt's earlier life, to "+node, err, fsm.Unauthenticated, fsm.Forbidden)
			})
		}
		if err := cl.DeleteHunt(t.Context(), doc.id()); err != nil {
			t.Fatal(err)
		}
		c.everywhere(c.AdminToken(), by, func(cl *client.Client, node string) {
			_, err := cl.Submit(t.Context(), doc.id(), "t1", rest.NewSubmission{Clue: "c1", Answer: right}, "after")
			wantKind(t, fmt.Sprintf("round %d: a submission to a hunt deleted through %s, to %s", n, c.Name(by), node), err, fsm.NotFound)
			_, err = cl.Leaderboard(t.Context(), doc.id(), "", client.Page{Consistency: client.Strong})
			wantKind(t, fmt.Sprintf("round %d: the board of a hunt deleted through %s, of %s", n, c.Name(by), node), err, fsm.NotFound)
			_, _, err = cl.Hunt(t.Context(), doc.id())
			wantKind(t, fmt.Sprintf("round %d: a hunt deleted through %s, of %s", n, c.Name(by), node), err, fsm.NotFound)
		})
		old = tokens["t1"]
	}
}

// retryElsewhere sends every submission again through the other nodes.
func retryElsewhere(t *testing.T, c *cluster) {
	doc := quiz("retry", 1)
	teams, tokens := c.open(doc, rounds)
	for n, team := range teams {
		by := n % c.Nodes()
		in := rest.NewSubmission{Clue: "c1", Answer: right}
		first, err := c.at(by, tokens[team]).Submit(t.Context(), doc.id(), team, in, "key")
		if err != nil || first.Replayed {
			t.Fatalf("%s (%v)", show(first), err)
		}
		c.everywhere(tokens[team], by, func(cl *client.Client, node string) {
			again, err := cl.Submit(t.Context(), doc.id(), team, in, "key")
			if err != nil || !again.Replayed || !sameResult(*first, *again) {
				t.Errorf("a retry through %s is answered %s (%v), and was %s", node, show(again), err, show(first))
			}
			_, err = cl.Submit(t.Context(), doc.id(), team, rest.NewSubmission{Clue: "c1", Answer: "another"}, "key")
			wantKind(t, "the key for another answer through "+node, err, fsm.KeyReused)
		})
	}
}

// sameKeyAtOnce presses the button through every node in the same moment: one
// counts, and all are told the same.
func sameKeyAtOnce(t *testing.T, c *cluster) {
	const presses = 12
	doc := quiz("at-once", 1)
	teams, tokens := c.open(doc, rounds)
	for _, team := range teams {
		var mu sync.Mutex
		fresh := 0
		var told []byte
		var all sync.WaitGroup
		for n := range presses {
			all.Go(func() {
				s, err := c.at(n%c.Nodes(), tokens[team]).Submit(t.Context(), doc.id(), team, rest.NewSubmission{Clue: "c1", Answer: right}, "key")
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				if !s.Replayed {
					fresh++
				}
				s.Replayed = false
				b, err := json.Marshal(s)
				if told == nil {
					told = b
				}
				if err != nil || !bytes.Equal(b, told) {
					t.Errorf("one press is told %s (%v), another %s", b, err, told)
				}
			})
		}
		all.Wait()
		if fresh != 1 {
			t.Errorf("%d of %d presses counted", fresh, presses)
		}
	}
}

// move stops a node and starts it under other addresses; it returns its new base
// URL. From then on it is none of the cluster's nodes 0 to n.
func (c *cluster) move(i int) string {
	c.t.Helper()
	c.Terminate(i)
	ctx, cancel := context.WithTimeout(c.t.Context(), startWithin)
	defer cancel()
	ready, _, err := c.Helper(ctx, "moved", "serve", "--data", c.Data(i), "--name", c.Name(i), "--http", "127.0.0.1:0", "--cluster", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	return ready.HTTP
}

// TestAddressChange brings a node back under other addresses: it must find its
// place again, and the others it.
func TestAddressChange(t *testing.T) {
	besideAnother(t)
	c := start(t, 3, "--partitions", "2")
	doc := quiz("moved", 2)
	teams, tokens := c.open(doc, 8)
	moved := c.move(2)
	for _, node := range []string{c.URLs()[0], moved} {
		eventually(t, settleWithin, "every team is served by "+node, func() error {
			for _, team := range teams {
				cl := &client.Client{Addrs: []string{node}, Token: tokens[team], HTTP: c.http, Attempts: 1, Timeout: shortly}
				if _, err := cl.Submit(t.Context(), doc.id(), team, rest.NewSubmission{Clue: "c1", Answer: right}, "key"); err != nil {
					return err
				}
			}
			return nil
		})
	}
	eventually(t, settleWithin, "the others know the node's new address", func() error {
		nodes, err := c.at(0, c.AdminToken()).Nodes(t.Context())
		if err == nil && !slices.ContainsFunc(nodes.Nodes, func(n rest.Node) bool { return "http://"+n.HTTP == moved && n.State == "alive" }) {
			err = fmt.Errorf("they know %s, and it is at %s", show(nodes), moved)
		}
		return err
	})
	eventually(t, settleWithin, "the node is ready", func() error {
		resp, err := c.http.Get(moved + "/readyz?verbose")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("it is not")
		}
		return nil
	})
}
