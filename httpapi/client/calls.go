package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"cairn/fsm"
	"cairn/httpapi/rest"
)

// Consistency of a read; see the API.
type Consistency string

const (
	// Default reads are linearizable; boards are at most 1 s old.
	Default Consistency = ""
	// Strong boards and stats include everything acknowledged before.
	Strong Consistency = "strong"
	// Stale reads come from any replica.
	Stale Consistency = "stale"
)

// Page asks for a page of a list: at most Size rows (0: 100, at most 1,000)
// after Token (empty: from the top), which is the last page's NextPageToken.
type Page struct {
	Size        int
	Token       string
	Consistency Consistency
}

func (p Page) query() url.Values {
	q := url.Values{}
	if p.Size > 0 {
		q.Set("page_size", strconv.Itoa(p.Size))
	}
	if p.Token != "" {
		q.Set("page_token", p.Token)
	}
	return p.Consistency.in(q)
}

func (c Consistency) in(q url.Values) url.Values {
	if c != Default {
		q.Set("consistency", string(c))
	}
	return q
}

func path(segments ...string) string {
	p := "/v1"
	for _, s := range segments {
		p += "/" + url.PathEscape(s)
	}
	return p
}

// CreateHunt puts a hunt, a JSON document, into the catalogue. Created is false
// if the same document was there already; another one is a Conflict.
func (c *Client) CreateHunt(ctx context.Context, document []byte) (h *rest.Hunt, created bool, err error) {
	r, err := c.do(ctx, call{method: http.MethodPost, path: path("hunts"), raw: document, safe: true, out: &h})
	return h, err == nil && r.status == http.StatusCreated, err
}

// Hunts lists the hunts the token may see.
func (c *Client) Hunts(ctx context.Context, p Page) (out *rest.Hunts, err error) {
	return out, c.get(ctx, path("hunts"), p.query(), &out)
}

// Hunt returns a hunt and its ETag, which PutHunt wants.
func (c *Client) Hunt(ctx context.Context, hunt fsm.HuntID) (h *rest.Hunt, etag string, err error) {
	r, err := c.do(ctx, call{method: http.MethodGet, path: path("hunts", string(hunt)), safe: true, out: &h})
	return h, r.header.Get("ETag"), err
}

// PutHunt replaces a hunt's document if etag is its version's
// (PreconditionFailed), and returns the new ETag.
func (c *Client) PutHunt(ctx context.Context, hunt fsm.HuntID, etag string, document []byte) (h *rest.Hunt, newETag string, err error) {
	r, err := c.do(ctx, call{method: http.MethodPut, path: path("hunts", string(hunt)), ifMatch: etag, raw: document, out: &h})
	return h, r.header.Get("ETag"), err
}

// SetHuntState sets the organiser's switch: draft, open, paused or closed.
func (c *Client) SetHuntState(ctx context.Context, hunt fsm.HuntID, in rest.HuntState) (h *rest.Hunt, err error) {
	_, err = c.do(ctx, call{method: http.MethodPost, path: path("hunts", string(hunt), "state"), body: in, safe: true, out: &h})
	return h, err
}

// DeleteHunt removes a hunt with all its teams.
func (c *Client) DeleteHunt(ctx context.Context, hunt fsm.HuntID) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: path("hunts", string(hunt))})
	return err
}

// CreateTeam registers a team. With an empty key one is made up. Created is
// false if the same key had created the team before.
func (c *Client) CreateTeam(ctx context.Context, hunt fsm.HuntID, in rest.NewTeam, key string) (t *rest.TeamCreated, created bool, err error) {
	r, err := c.do(ctx, call{
		method: http.MethodPost, path: path("hunts", string(hunt), "teams"),
		key: orNewKey(key), body: in, safe: true, out: &t,
	})
	return t, err == nil && r.status == http.StatusCreated, err
}

// Teams lists the teams of a hunt by id.
func (c *Client) Teams(ctx context.Context, hunt fsm.HuntID, p Page) (out *rest.Teams, err error) {
	return out, c.get(ctx, path("hunts", string(hunt), "teams"), p.query(), &out)
}

// Team returns a team with its state of every unlocked clue, and its rank if
// asked.
func (c *Client) Team(ctx context.Context, hunt fsm.HuntID, team fsm.TeamID, rank bool, cons Consistency) (out *rest.Team, err error) {
	q := cons.in(url.Values{})
	if rank {
		q.Set("rank", "true")
	}
	return out, c.get(ctx, path("hunts", string(hunt), "teams", string(team)), q, &out)
}

// PatchTeam changes the fields of in that are set.
func (c *Client) PatchTeam(ctx context.Context, hunt fsm.HuntID, team fsm.TeamID, in rest.TeamPatch) (out *rest.Team, err error) {
	_, err = c.do(ctx, call{
		method: http.MethodPatch, path: path("hunts", string(hunt), "teams", string(team)),
		body: in, safe: true, out: &out,
	})
	return out, err
}

// RotateToken gives a team a new token and voids the old ones. With an empty
// key one is made up.
func (c *Client) RotateToken(ctx context.Context, hunt fsm.HuntID, team fsm.TeamID, key string) (out *rest.TeamCreated, err error) {
	_, err = c.do(ctx, call{
		method: http.MethodPost, path: path("hunts", string(hunt), "teams", string(team), "token"),
		key: orNewKey(key), safe: true, out: &out,
	})
	return out, err
}

// Clues lists a team's unlocked clues.
func (c *Client) Clues(ctx context.Context, hunt fsm.HuntID, team fsm.TeamID, cons Consistency) (out *rest.Clues, err error) {
	return out, c.get(ctx, path("hunts", string(hunt), "teams", string(team), "clues"), cons.in(url.Values{}), &out)
}

// Submit answers a clue. With an empty key one is made up; the result carries
// it.
func (c *Client) Submit(ctx context.Context, hunt fsm.HuntID, team fsm.TeamID, in rest.NewSubmission, key string) (out *rest.Submission, err error) {
	_, err = c.do(ctx, call{
		method: http.MethodPost, path: path("hunts", string(hunt), "teams", string(team), "submissions"),
		key: orNewKey(key), leader: c.leader(ctx, hunt, team), body: in, safe: true, out: &out,
	})
	return out, err
}

// Submissions lists a team's history, newest first.
func (c *Client) Submissions(ctx context.Context, hunt fsm.HuntID, team fsm.TeamID, p Page) (out *rest.Submissions, err error) {
	return out, c.get(ctx, path("hunts", string(hunt), "teams", string(team), "submissions"), p.query(), &out)
}

// Stats returns a hunt's counts.
func (c *Client) Stats(ctx context.Context, hunt fsm.HuntID, cons Consistency) (out *rest.Stats, err error) {
	return out, c.get(ctx, path("hunts", string(hunt), "stats"), cons.in(url.Values{}), &out)
}

// Leaderboard returns a page of a hunt's board, of one division if one is
// named.
func (c *Client) Leaderboard(ctx context.Context, hunt fsm.HuntID, division string, p Page) (out *rest.Leaderboard, err error) {
	q := p.query()
	if division != "" {
		q.Set("division", division)
	}
	return out, c.get(ctx, path("hunts", string(hunt), "leaderboard"), q, &out)
}

// WhoAmI says whom the token speaks for.
func (c *Client) WhoAmI(ctx context.Context) (out *rest.WhoAmI, err error) {
	return out, c.get(ctx, path("whoami"), nil, &out)
}

// Routing says which node leads which partition.
func (c *Client) Routing(ctx context.Context) (out *rest.Routing, err error) {
	return out, c.get(ctx, path("routing"), nil, &out)
}

// Cluster returns the cluster at a glance.
func (c *Client) Cluster(ctx context.Context) (out *rest.Cluster, err error) {
	return out, c.get(ctx, path("cluster"), nil, &out)
}

// Nodes lists the members.
func (c *Client) Nodes(ctx context.Context) (out *rest.Nodes, err error) {
	return out, c.get(ctx, path("cluster", "nodes"), nil, &out)
}

// Drain moves leaderships away from a node and keeps them away. A node is named
// by its id, its name, or the beginning of its id, here and below.
func (c *Client) Drain(ctx context.Context, node string) (*rest.Node, error) {
	return c.change(ctx, http.MethodPost, node, "drain", nil)
}

// Undrain ends a drain, or keeps a node that is leaving.
func (c *Client) Undrain(ctx context.Context, node string) (*rest.Node, error) {
	return c.change(ctx, http.MethodPost, node, "undrain", nil)
}

// Leave begins to move everything away from a node, which then leaves. It
// returns at once; the node's state tells how far it is.
func (c *Client) Leave(ctx context.Context, node string) (*rest.Node, error) {
	return c.change(ctx, http.MethodPost, node, "leave", nil)
}

// Remove begins to replace a dead node.
func (c *Client) Remove(ctx context.Context, node string) (*rest.Node, error) {
	return c.change(ctx, http.MethodDelete, node, "", url.Values{"force": {"true"}})
}

// change changes what is wanted of a node; repeating it changes nothing more.
func (c *Client) change(ctx context.Context, method, node, what string, query url.Values) (out *rest.Node, err error) {
	p := path("cluster", "nodes", node)
	if what != "" {
		p = path("cluster", "nodes", node, what)
	}
	_, err = c.do(ctx, call{method: method, path: p, query: query, out: &out, safe: true})
	return out, err
}

// Transfer hands a partition to a voter, and returns once that one leads.
func (c *Client) Transfer(ctx context.Context, p fsm.PartitionID, to string) (out *rest.Partition, err error) {
	_, err = c.do(ctx, call{
		method: http.MethodPost, path: path("cluster", "partitions", strconv.Itoa(int(p)), "transfer"),
		body: rest.NewLeader{To: to}, out: &out, safe: true,
	})
	return out, err
}

// Recover gives up what partitions without a majority lost, those named or all.
// Unless accept is set, it only says what that would be.
func (c *Client) Recover(ctx context.Context, partitions []fsm.PartitionID, accept bool) (out *rest.Recoveries, err error) {
	_, err = c.do(ctx, call{
		method: http.MethodPost, path: path("cluster", "recover"),
		body: rest.Recover{Partitions: partitions, AcceptLoss: accept}, out: &out,
	})
	return out, err
}

// Checkpoint compares the states of the replicas of partitions, those named or
// all: see [rest.Checkpoint]. It takes as long as replicas that do not answer are
// waited for, which the client's Timeout bounds.
func (c *Client) Checkpoint(ctx context.Context, partitions []fsm.PartitionID) (out *rest.Checkpoints, err error) {
	_, err = c.do(ctx, call{
		method: http.MethodPost, path: path("cluster", "checkpoint"),
		body: rest.NewCheckpoint{Partitions: partitions}, out: &out, safe: true,
	})
	return out, err
}

// Partitions lists the partitions.
func (c *Client) Partitions(ctx context.Context) (out *rest.Partitions, err error) {
	return out, c.get(ctx, path("cluster", "partitions"), nil, &out)
}

// Snapshots lists the register of snapshots.
func (c *Client) Snapshots(ctx context.Context) (out *rest.Snapshots, err error) {
	return out, c.get(ctx, path("cluster", "snapshots"), nil, &out)
}

// CreateToken makes an admin, organizer or join token. It is tried once: a
// repeat would make a second one.
func (c *Client) CreateToken(ctx context.Context, in rest.NewToken) (out *rest.TokenCreated, err error) {
	_, err = c.do(ctx, call{method: http.MethodPost, path: path("tokens"), body: in, out: &out})
	return out, err
}

// Tokens lists the admin, organizer and join tokens.
func (c *Client) Tokens(ctx context.Context, p Page) (out *rest.Tokens, err error) {
	return out, c.get(ctx, path("tokens"), p.query(), &out)
}

// RevokeToken removes a token.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: path("tokens", id)})
	return err
}

// Live returns the checks of /livez of one node, the preferred one, as text; an
// error of Kind Unavailable if one fails.
func (c *Client) Live(ctx context.Context) (string, error) { return c.checks(ctx, "/livez") }

// Ready is Live for /readyz.
func (c *Client) Ready(ctx context.Context) (string, error) { return c.checks(ctx, "/readyz") }

func (c *Client) get(ctx context.Context, path string, q url.Values, out any) error {
	_, err := c.do(ctx, call{method: http.MethodGet, path: path, query: q, safe: true, out: out})
	return err
}
