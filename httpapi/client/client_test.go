package client_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cairn/cluster"
	"cairn/fsm"
	"cairn/httpapi"
	"cairn/httpapi/apitest"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const maze = `{"id": "maze", "clues": [
	{"id": "gate", "points": 10, "answers": ["friend"]}, {"id": "door", "points": 5, "answers": ["open"], "attempts": {"limit": 2}}]}`

// serve runs h on a loopback port and returns its address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = httpapi.Server("", h)
	ts.Start()
	t.Cleanup(ts.Close)
	return ts.URL
}

// node is the real API in front of a cluster in memory.
func node(t *testing.T) (*apitest.Cluster, string) {
	c := apitest.New()
	return c, serve(t, httpapi.New(httpapi.Config{Cluster: c}))
}

func dial(t *testing.T, addrs ...string) *client.Client {
	t.Helper()
	c, err := client.New(addrs, apitest.Admin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.HTTP.CloseIdleConnections)
	return c
}

// nobody returns an address that refuses connections.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestEveryMethod plays a hunt through the client: each method reaches its route.
func TestEveryMethod(t *testing.T) {
	ctx := context.Background()
	_, addr := node(t)
	c := dial(t, addr)
	check := func(what string, ok bool, err error) {
		t.Helper()
		if !ok || err != nil {
			t.Errorf("%s: %v, %v", what, ok, err)
		}
	}
	h, created, err := c.CreateHunt(ctx, []byte(maze))
	check("CreateHunt", err == nil && created && h.ID == "maze", err)
	_, created, err = c.CreateHunt(ctx, []byte(maze))
	check("CreateHunt again", !created, err)
	h, etag, err := c.Hunt(ctx, "maze")
	check("Hunt", err == nil && h.Version == 1 && etag != "", err)
	h, newTag, err := c.PutHunt(ctx, "maze", etag, []byte(strings.Replace(maze, `"points": 10`, `"points": 11`, 1)))
	check("PutHunt", err == nil && h.Version == 2 && newTag != etag, err)
	_, _, err = c.PutHunt(ctx, "maze", etag, []byte(maze))
	check("PutHunt of a stale version", fsm.KindOf(err) == fsm.PreconditionFailed, nil)
	h, err = c.SetHuntState(ctx, "maze", rest.HuntState{State: "open"})
	check("SetHuntState", err == nil && h.State == "open", err)
	hunts, err := c.Hunts(ctx, client.Page{})
	check("Hunts", err == nil && len(hunts.Hunts) == 1, err)

	team, created, err := c.CreateTeam(ctx, "maze", rest.NewTeam{ID: "red", Name: "Red"}, "")
	check("CreateTeam", err == nil && created && team.Token != "", err)
	var imported []rest.TeamLine
	err = c.CreateTeams(ctx, "maze", values(rest.NewTeam{ID: "blue", Name: "Blue"}, rest.NewTeam{ID: "RED", Name: "?"}), func(l rest.TeamLine) error {
		imported = append(imported, l)
		return nil
	})
	check("CreateTeams", len(imported) == 2 && imported[0].Status == "created" && imported[1].Error != nil, err)
	teams, err := c.Teams(ctx, "maze", client.Page{Size: 1})
	check("Teams", err == nil && len(teams.Teams) == 1 && teams.NextPageToken != "", err)
	teams, err = c.Teams(ctx, "maze", client.Page{Size: 1, Token: teams.NextPageToken})
	check("Teams, page 2", err == nil && teams.Teams[0].ID == "red" && teams.NextPageToken == "", err)
	name := "Crimson"
	patched, err := c.PatchTeam(ctx, "maze", "red", rest.TeamPatch{Name: &name})
	check("PatchTeam", err == nil && patched.Name == name, err)
	rotated, err := c.RotateToken(ctx, "maze", "red", "r1")
	check("RotateToken", err == nil && rotated.Token != team.Token, err)

	s, err := c.Submit(ctx, "maze", "red", rest.NewSubmission{Clue: "gate", Answer: "friend"}, "")
	check("Submit", err == nil && s.Verdict == "correct" && s.Points == 11 && s.Key != "", err)
	again, err := c.Submit(ctx, "maze", "red", rest.NewSubmission{Clue: "gate", Answer: "friend"}, s.Key)
	check("Submit again", err == nil && again.Replayed && again.Submission == s.Submission, err)
	history, err := c.Submissions(ctx, "maze", "red", client.Page{})
	check("Submissions", err == nil && len(history.Submissions) == 1, err)
	one, err := c.Team(ctx, "maze", "red", true, client.Default)
	check("Team", err == nil && one.Rank == 1 && len(one.Clues) == 2, err)
	clues, err := c.Clues(ctx, "maze", "red", client.Stale)
	check("Clues", err == nil && len(clues.Clues) == 2, err)
	board, err := c.Leaderboard(ctx, "maze", "", client.Page{Consistency: client.Strong})
	check("Leaderboard", err == nil && len(board.Leaderboard) == 1 && board.AsOf != nil, err)
	board, err = c.Leaderboard(ctx, "maze", "juniors", client.Page{})
	check("Leaderboard of a division", err == nil && len(board.Leaderboard) == 0, err)
	stats, err := c.Stats(ctx, "maze", client.Strong)
	check("Stats", err == nil && stats.Submissions["correct"] == 1, err)

	who, err := c.WhoAmI(ctx)
	check("WhoAmI", err == nil && who.Role == "admin", err)
	routing, err := c.Routing(ctx)
	check("Routing", err == nil && len(routing.Partitions) == 1, err)
	cl, err := c.Cluster(ctx)
	check("Cluster", err == nil && cl.Hunts == 1, err)
	nodes, err := c.Nodes(ctx)
	check("Nodes", err == nil && len(nodes.Nodes) == 1, err)
	parts, err := c.Partitions(ctx)
	check("Partitions", err == nil && len(parts.Partitions) == 1, err)
	snaps, err := c.Snapshots(ctx)
	check("Snapshots", err == nil && len(snaps.Snapshots) == 1, err)
	tok, err := c.CreateToken(ctx, rest.NewToken{Role: "join"})
	check("CreateToken", err == nil && tok.Secret != "" && tok.ExpiresAt != nil, err)
	toks, err := c.Tokens(ctx, client.Page{})
	check("Tokens", err == nil && len(toks.Tokens) == 4, err)
	check("RevokeToken", true, c.RevokeToken(ctx, tok.ID))
	check("RevokeToken again", fsm.KindOf(c.RevokeToken(ctx, tok.ID)) == fsm.NotFound, nil)
	text, err := c.Ready(ctx)
	check("Ready", strings.Contains(text, "[+]disk ok"), err)
	_, err = c.Live(ctx)
	check("Live", true, err)
	check("DeleteHunt", true, c.DeleteHunt(ctx, "maze"))
	_, _, err = c.Hunt(ctx, "maze")
	check("Hunt that is gone", fsm.KindOf(err) == fsm.NotFound && strings.Contains(err.Error(), "maze"), nil)
}

func values[T any](list ...T) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, v := range list {
			if !yield(v) {
				return
			}
		}
	}
}

// scripted answers the n-th request with the n-th of its steps, and the last one
// for ever: a status, or 0 to break the connection.
func scripted(t *testing.T, steps ...int) (addr string, requests *atomic.Int64) {
	requests = new(atomic.Int64)
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := int(requests.Add(1))
		switch status := steps[min(n, len(steps))-1]; status {
		case 0:
			panic(http.ErrAbortHandler)
		case 200:
			fmt.Fprint(w, `{"role":"admin"}`)
		default:
			code := map[int]string{500: "internal", 503: "unavailable", 504: "outcome_unknown", 404: "not_found", 429: "cooldown"}[status]
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"code":%q,"detail":"no"}`, code)
		}
	})), requests
}

// TestRetries: what is sent again, how often, and as what it is reported.
func TestRetries(t *testing.T) {
	read := func(c *client.Client) error { _, err := c.WhoAmI(context.Background()); return err }
	keyed := func(c *client.Client) error {
		_, err := c.Submit(context.Background(), "h", "t", rest.NewSubmission{}, "k")
		return err
	}
	bare := func(c *client.Client) error {
		_, err := c.CreateToken(context.Background(), rest.NewToken{})
		return err
	}
	for _, tt := range []struct {
		name     string
		do       func(*client.Client) error
		steps    []int
		requests int64
		kind     fsm.Kind // of the error; Internal with ok
		ok       bool
		is       error
	}{
		{"a read after two failures", read, []int{503, 504, 200}, 3, 0, true, nil},
		{"a read after a broken connection", read, []int{0, 200}, 2, 0, true, nil},
		{"a read that never works", read, []int{503}, 4, fsm.Unavailable, false, nil},
		{"a read, always cut", read, []int{0}, 4, fsm.Unavailable, false, client.ErrUnreachable},
		{"a write with a key, unknown", keyed, []int{504, 200}, 2, 0, true, nil},
		{"a write with a key, cut", keyed, []int{0, 200}, 2, 0, true, nil},
		{"a write with a key, always cut", keyed, []int{0}, 4, fsm.OutcomeUnknown, false, client.ErrLost},
		{"a write without, not done", bare, []int{503, 200}, 2, 0, true, nil},
		{"a write without, unknown", bare, []int{504, 200}, 1, fsm.OutcomeUnknown, false, nil},
		{"a write without, cut", bare, []int{0, 200}, 1, fsm.OutcomeUnknown, false, client.ErrLost},
		{"refused", keyed, []int{404, 200}, 1, fsm.NotFound, false, nil},
		{"a cooldown is not waited out", keyed, []int{429, 200}, 1, fsm.Cooldown, false, nil},
		{"a fault inside", read, []int{500, 200}, 1, fsm.Internal, false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			addr, requests := scripted(t, tt.steps...)
			c := dial(t, addr)
			c.Attempts = 4
			err := tt.do(c)
			if (err == nil) != tt.ok || err != nil && fsm.KindOf(err) != tt.kind || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v of kind %v", err, fsm.KindOf(err))
			}
			if n := requests.Load(); n != tt.requests {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
		})
	}
}

// TestNextNode: an unreachable node is passed over at once, and remembered.
func TestNextNode(t *testing.T) {
	addr, requests := scripted(t, 200)
	c := dial(t, nobody(t), addr)
	begin := time.Now()
	for range 3 {
		if _, err := c.WhoAmI(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if requests.Load() != 3 || time.Since(begin) > 5*time.Second {
		t.Errorf("%d requests in %v", requests.Load(), time.Since(begin))
	}
	alone := dial(t, nobody(t))
	alone.Attempts = 1
	if _, err := alone.CreateToken(context.Background(), rest.NewToken{}); !errors.Is(err, client.ErrUnreachable) || fsm.KindOf(err) != fsm.Unavailable {
		t.Errorf("got %v", err)
	}
}

// TestHonoursAdviceAndContext: Retry-After is waited for, but never beyond the
// context.
func TestHonoursAdviceAndContext(t *testing.T) {
	var times [2]time.Time
	var n atomic.Int64
	addr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i := n.Add(1) - 1
		if i < 2 {
			times[i] = time.Now()
		}
		if i == 0 {
			w.WriteHeader(503)
			fmt.Fprint(w, `{"code":"overloaded","detail":"full","retry_after_ms":300}`)
			return
		}
		fmt.Fprint(w, `{}`)
	}))
	if _, err := dial(t, addr).WhoAmI(context.Background()); err != nil {
		t.Fatal(err)
	}
	if d := times[1].Sub(times[0]); d < 300*time.Millisecond {
		t.Errorf("tried again after %v", d)
	}
	addr, requests := scripted(t, 503)
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Millisecond)
	defer cancel()
	c := dial(t, addr)
	c.Attempts = 1000
	if _, err := c.WhoAmI(ctx); err == nil {
		t.Error("a node that is down answered")
	}
	if requests.Load() > 3 {
		t.Errorf("%d requests in 40 ms", requests.Load())
	}
}

func TestSubmitBatch(t *testing.T) {
	ctx := context.Background()
	fake, addr := node(t)
	c := dial(t, nobody(t), addr)
	if _, _, err := c.CreateHunt(ctx, []byte(maze)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.CreateTeam(ctx, "maze", rest.NewTeam{ID: "red", Name: "Red"}, ""); err != nil {
		t.Fatal(err)
	}
	const n = 2000
	lines := func(yield func(rest.BatchLine) bool) {
		for i := range n {
			if !yield(rest.BatchLine{Key: fmt.Sprint(i), Team: "red", Clue: "gate", Answer: fmt.Sprintf("guess %d", i)}) {
				return
			}
		}
	}
	t.Run("all", func(t *testing.T) {
		got := 0
		err := c.SubmitBatch(ctx, "maze", lines, func(r rest.BatchResult) error {
			if r.Error != nil || r.LineKey != fmt.Sprint(got) {
				t.Fatalf("answer %d: %+v", got, r)
			}
			got++
			return nil
		})
		if got != n || err != nil {
			t.Errorf("%d answers, %v", got, err)
		}
	})
	t.Run("a conversation", func(t *testing.T) {
		// Each line is sent only when the one before is answered: neither side
		// may sit on a line.
		answered := make(chan struct{}, 1)
		answered <- struct{}{}
		talk := func(yield func(rest.BatchLine) bool) {
			for i := range 20 {
				<-answered
				if !yield(rest.BatchLine{Key: fmt.Sprint("c", i), Team: "red", Clue: "gate", Answer: "x"}) {
					return
				}
			}
		}
		got := 0
		err := c.SubmitBatch(ctx, "maze", talk, func(rest.BatchResult) error { got++; answered <- struct{}{}; return nil })
		if got != 20 || err != nil {
			t.Errorf("%d answers, %v", got, err)
		}
	})
	t.Run("the caller has enough", func(t *testing.T) {
		enough := errors.New("enough")
		if err := c.SubmitBatch(ctx, "maze", lines, func(rest.BatchResult) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a stream refused", func(t *testing.T) {
		if err := c.SubmitBatch(ctx, "nowhere", lines, func(rest.BatchResult) error { return nil }); fsm.KindOf(err) != fsm.NotFound {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		err := c.SubmitBatch(ctx, "maze", lines, func(rest.BatchResult) error { cancel(); return nil })
		if !errors.Is(err, context.Canceled) || !errors.Is(err, client.ErrLost) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a node that dies", func(t *testing.T) {
		ts := httptest.NewServer(httpapi.New(httpapi.Config{Cluster: fake}))
		defer ts.Close()
		dying := dial(t, ts.URL)
		got := 0
		err := dying.SubmitBatch(ctx, "maze", lines, func(rest.BatchResult) error {
			if got++; got == 10 {
				ts.CloseClientConnections()
			}
			return nil
		})
		if !errors.Is(err, client.ErrLost) || got == n {
			t.Errorf("%d answers, %v", got, err)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		taken := false
		err := dial(t, nobody(t)).SubmitBatch(ctx, "maze", func(func(rest.BatchLine) bool) { taken = true }, nil)
		if !errors.Is(err, client.ErrUnreachable) || taken {
			t.Errorf("got %v; lines taken: %v", err, taken)
		}
	})
	t.Run("refusals of lines", func(t *testing.T) {
		fake.Before = func(context.Context, cluster.Submission) error {
			return &fsm.Error{Kind: fsm.Overloaded, Msg: "full", After: 20 * time.Millisecond}
		}
		defer func() { fake.Before = nil }()
		err := c.SubmitBatch(ctx, "maze", values(rest.BatchLine{Key: "z", Team: "red", Clue: "gate", Answer: "x"}), func(r rest.BatchResult) error {
			if e := client.ProblemError(r.Error); e.Kind != fsm.Overloaded || e.Msg != "full" || e.After != 20*time.Millisecond {
				t.Errorf("got %+v", e)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestAddresses(t *testing.T) {
	for _, bad := range [][]string{nil, {""}, {"ftp://x"}, {"http://"}, {"http://x?y"}, {"http://[::1"}} {
		if _, err := client.New(bad, ""); err == nil {
			t.Errorf("%q is taken for addresses", bad)
		}
	}
	c, err := client.New([]string{"localhost:1/", " https://x/base/ "}, "")
	if err != nil || c.Addrs[0] != "http://localhost:1" || c.Addrs[1] != "https://x/base" {
		t.Errorf("got %v, %v", c, err)
	}
}
