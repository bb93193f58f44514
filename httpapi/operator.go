package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/httpapi/rest"
)

const (
	roleJoin = "join"
	// joinTTL is the life of a join token that asks for none.
	joinTTL = 24 * time.Hour
	// maxTTL bounds what a token may ask for; none at all means no end.
	maxTTL = 10 * 365 * 24 * time.Hour
)

func (a *api) getWhoAmI(c *call) error {
	return c.write(http.StatusOK, rest.WhoAmI{
		Role: c.who.Role, Hunt: c.who.Hunt.ID, Team: c.who.Team, ExpiresAt: optionalTime(c.who.Expires),
	})
}

// view answers with what one of Operator's methods returns.
func view[T any](c *call, get func(context.Context) (*T, error)) error {
	v, err := get(c.ctx)
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, v)
}

func (a *api) getRouting(c *call) error    { return view(c, a.Cluster.Routing) }
func (a *api) getCluster(c *call) error    { return view(c, a.Cluster.Cluster) }
func (a *api) getPartitions(c *call) error { return view(c, a.Cluster.Partitions) }
func (a *api) getSnapshots(c *call) error  { return view(c, a.Cluster.Snapshots) }

func (a *api) getNodes(c *call) error {
	cl, err := a.Cluster.Cluster(c.ctx)
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, rest.Nodes{Nodes: cl.Nodes})
}

// change answers with what one of Operator's changes of a node returns.
func change(c *call, do func(context.Context, string) (*rest.Node, error)) error {
	out, err := do(c.ctx, chi.URLParam(c.r, "node"))
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, out)
}

func (a *api) postDrain(c *call) error   { return change(c, a.Cluster.Drain) }
func (a *api) postUndrain(c *call) error { return change(c, a.Cluster.Undrain) }
func (a *api) postLeave(c *call) error   { return change(c, a.Cluster.Leave) }

func (a *api) deleteNode(c *call) error {
	if c.r.URL.Query().Get("force") != "true" {
		return fsm.Errorf(fsm.Invalid, "removing a dead node needs ?force=true; a live one leaves: POST …/leave")
	}
	return change(c, a.Cluster.Remove)
}

func (a *api) postTransfer(c *call) error {
	id, err := strconv.ParseUint(chi.URLParam(c.r, "partition"), 10, 16)
	if err != nil {
		return fsm.Errorf(fsm.NotFound, "there is no partition %.20q", chi.URLParam(c.r, "partition"))
	}
	var in rest.NewLeader
	if err := c.decodeBody(&in); err != nil {
		return err
	}
	if in.To == "" {
		return fsm.Errorf(fsm.Invalid, "to must name a node")
	}
	out, err := a.Cluster.Transfer(c.ctx, fsm.PartitionID(id), in.To)
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, out)
}

func (a *api) postRecover(c *call) error {
	var in rest.Recover
	if err := c.decodeBody(&in); err != nil {
		return err
	}
	out, err := a.Cluster.Recover(c.ctx, in.Partitions, in.AcceptLoss)
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, out)
}

func (a *api) postCheckpoint(c *call) error {
	var in rest.NewCheckpoint
	if err := c.decodeBody(&in); err != nil {
		return err
	}
	out, err := a.Cluster.Checkpoint(c.ctx, in.Partitions)
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, out)
}

func (a *api) postToken(c *call) error {
	var in rest.NewToken
	if err := c.decodeBody(&in); err != nil {
		return err
	}
	ttl, err := checkNewToken(&in)
	if err != nil {
		return err
	}
	t, secret, err := a.Cluster.CreateToken(c.ctx, in.Role, in.Hunt, ttl, in.Uses)
	if err != nil {
		return err
	}
	return c.write(http.StatusCreated, rest.TokenCreated{Token: restToken(&t), Secret: secret})
}

func checkNewToken(in *rest.NewToken) (ttl time.Duration, err error) {
	switch {
	case in.Role != roleAdmin && in.Role != roleOrganizer && in.Role != roleJoin:
		return 0, invalid("role", "must be admin, organizer or join")
	case in.Hunt != "" && in.Role != roleOrganizer:
		return 0, invalid("hunt", "is for organizers only")
	case in.Hunt != "" && !fsm.ValidID(string(in.Hunt)):
		return 0, invalid("hunt", "must be the id of a hunt")
	case in.Uses != 0 && in.Role != roleJoin:
		return 0, invalid("uses", "is for join tokens only")
	}
	if in.TTL == "" {
		if in.Role == roleJoin {
			return joinTTL, nil
		}
		return 0, nil
	}
	ttl, err = time.ParseDuration(in.TTL)
	if err != nil || ttl <= 0 || ttl > maxTTL {
		return 0, invalid("ttl", "must be a duration like 90m or 24h, more than 0 and at most "+maxTTL.String())
	}
	return ttl, nil
}

func restToken(t *controller.Token) rest.Token {
	out := rest.Token{ID: t.ID, Role: t.Role, Hunt: t.Hunt, Created: t.Created, ExpiresAt: optionalTime(t.Expires)}
	if t.Limited {
		uses := t.Uses
		out.UsesLeft = &uses
	}
	return out
}

func (a *api) getTokens(c *call) error {
	p, err := pageOf(c.r.URL.Query())
	if err != nil {
		return err
	}
	l := listing{route: c.route.path}
	from, err := l.idPosition(p.token)
	if err != nil {
		return err
	}
	tokens, err := a.Cluster.ListTokens(c.ctx)
	if err != nil {
		return err
	}
	tokens = slices.Clone(tokens)
	slices.SortFunc(tokens, func(x, y controller.Token) int { return strings.Compare(x.ID, y.ID) })
	tokens, more := after(tokens, func(t *controller.Token) string { return t.ID }, from, p.size)
	out := rest.Tokens{Tokens: make([]rest.Token, len(tokens))}
	for i := range tokens {
		out.Tokens[i] = restToken(&tokens[i])
	}
	if more {
		out.NextPageToken = l.idToken(tokens[len(tokens)-1].ID)
	}
	return c.write(http.StatusOK, out)
}

func (a *api) deleteToken(c *call) error {
	if err := a.Cluster.RevokeToken(c.ctx, chi.URLParam(c.r, "id")); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
