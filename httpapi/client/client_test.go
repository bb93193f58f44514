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
	_, addr := node(t)
	c := dial(t, addr)
	playHunts(t, c)
	playTeams(t, c)
	playSubmissions(t, c)
	playOperator(t, c)
	ctx := context.Background()
	check(t, "DeleteHunt", true, c.DeleteHunt(ctx, "maze"))
	_, _, err := c.Hunt(ctx, "maze")
	check(t, "Hunt that is gone", fsm.KindOf(err) == fsm.NotFound && strings.Contains(err.Error(), "maze"), nil)
}

func check(t *testing.T, what string, ok bool, err error) {
	t.Helper()
	if !ok || err != nil {
		t.Errorf("%s: %v, %v", what, ok, err)
	}
}

func playHunts(t *testing.T, c *client.Client) {
	ctx := context.Background()
	h, created, err := c.CreateHunt(ctx, []byte(maze))
	check(t, "CreateHunt", err == nil && created && h.ID == "maze", err)
	_, created, err = c.CreateHunt(ctx, []byte(maze))
	check(t, "CreateHunt again", !created, err)
	h, etag, err := c.Hunt(ctx, "maze")
	check(t, "Hunt", err == nil && h.Version == 1 && etag != "", err)
	h, newTag, err := c.PutHunt(ctx, "maze", etag, []byte(strings.Replace(maze, `"points": 10`, `"points": 11`, 1)))
	check(t, "PutHunt", err == nil && h.Version == 2 && newTag != etag, err)
	_, _, err = c.PutHunt(ctx, "maze", etag, []byte(maze))
	check(t, "PutHunt of a stale version", fsm.KindOf(err) == fsm.PreconditionFailed, nil)
	h, err = c.SetHuntState(ctx, "maze", rest.HuntState{State: "open"})
	check(t, "SetHuntState", err == nil && h.State == "open", err)
	hunts, err := c.Hunts(ctx, client.Page{})
	check(t, "Hunts", err == nil && len(hunts.Hunts) == 1, err)
}

func playTeams(t *testing.T, c *client.Client) {
	ctx := context.Background()
	team, created, err := c.CreateTeam(ctx, "maze", rest.NewTeam{ID: "red", Name: "Red"}, "")
	check(t, "CreateTeam", err == nil && created && team.Token != "", err)
	var imported []rest.TeamLine
	err = c.CreateTeams(ctx, "maze", values(rest.NewTeam{ID: "blue", Name: "Blue"}, rest.NewTeam{ID: "RED", Name: "?"}), func(l rest.TeamLine) error {
		imported = append(imported, l)
		return nil
	})
	check(t, "CreateTeams", len(imported) == 2 && imported[0].Status == "created" && imported[1].Error != nil, err)
	teams, err := c.Teams(ctx, "maze", client.Page{Size: 1})
	check(t, "Teams", err == nil && len(teams.Teams) == 1 && teams.NextPageToken != "", err)
	teams, err = c.Teams(ctx, "maze", client.Page{Size: 1, Token: teams.NextPageToken})
	check(t, "Teams, page 2", err == nil && teams.Teams[0].ID == "red" && teams.NextPageToken == "", err)
	name := "Crimson"
	patched, err := c.PatchTeam(ctx, "maze", "red", rest.TeamPatch{Name: &name})
	check(t, "PatchTeam", err == nil && patched.Name == name, err)
	rotated, err := c.RotateToken(ctx, "maze", "red", "r1")
	check(t, "RotateToken", err == nil && rotated.Token != team.Token, err)
}

func playSubmissions(t *testing.T, c *client.Client) {
	ctx := context.Background()
	s, err := c.Submit(ctx, "maze", "red", rest.NewSubmission{Clue: "gate", Answer: "friend"}, "")
	check(t, "Submit", err == nil && s.Verdict == "correct" && s.Points == 11 && s.Key != "", err)
	again, err := c.Submit(ctx, "maze", "red", rest.NewSubmission{Clue: "gate", Answer: "friend"}, s.Key)
	check(t, "Submit again", err == nil && again.Replayed && again.Submission == s.Submission, err)
	history, err := c.Submissions(ctx, "maze", "red", client.Page{})
	check(t, "Submissions", err == nil && len(history.Submissions) == 1, err)
	one, err := c.Team(ctx, "maze", "red", true, client.Default)
	check(t, "Team", err == nil && one.Rank == 1 && len(one.Clues) == 2, err)
	clues, err := c.Clues(ctx, "maze", "red", client.Stale)
	check(t, "Clues", err == nil && len(clues.Clues) == 2, err)
	board, err := c.Leaderboard(ctx, "maze", "", client.Page{Consistency: client.Strong})
	check(t, "Leaderboard", err == nil && len(board.Leaderboard) == 1 && board.AsOf != nil, err)
	board, err = c.Leaderboard(ctx, "maze", "juniors", client.Page{})
	check(t, "Leaderboard of a division", err == nil && len(board.Leaderboard) == 0, err)
	stats, err := c.Stats(ctx, "maze", client.Strong)
	check(t, "Stats", err == nil && stats.Submissions["correct"] == 1, err)
}

func playOperator(t *testing.T, c *client.Client) {
	ctx := context.Background()
	who, err := c.WhoAmI(ctx)
	check(t, "WhoAmI", err == nil && who.Role == "admin", err)
	routing, err := c.Routing(ctx)
	check(t, "Routing", err == nil && len(routing.Partitions) == 1, err)
	cl, err := c.Cluster(ctx)
	check(t, "Cluster", err == nil && cl.Hunts == 1, err)
	nodes, err := c.Nodes(ctx)
	check(t, "Nodes", err == nil && len(nodes.Nodes) == 1, err)
	parts, err := c.Partitions(ctx)
	check(t, "Partitions", err == nil && len(parts.Partitions) == 1, err)
	snaps, err := c.Snapshots(ctx)
	check(t, "Snapshots", err == nil && len(snaps.Snapshots) == 1, err)
	tok, err := c.CreateToken(ctx, rest.NewToken{Role: "join"})
	check(t, "CreateToken", err == nil && tok.Secret != "" && tok.ExpiresAt != nil, err)
	toks, err := c.Tokens(ctx, client.Page{})
	check(t, "Tokens", err == nil && len(toks.Tokens) == 4, err)
	check(t, "RevokeToken", true, c.RevokeToken(ctx, tok.ID))
	check(t, "RevokeToken again", fsm.KindOf(c.RevokeToken(ctx, tok.ID)) == fsm.NotFound, nil)
	text, err := c.Ready(ctx)
	check(t, "Ready", strings.Contains(text, "[+]disk ok"), err)
	_, err = c.Live(ctx)
	check(t, "Live", true, err)
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
