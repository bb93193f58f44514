package httpapi

import (
	"strings"

	"github.com/go-chi/chi/v5"

	"cairn/fsm"
)

// The roles of a Principal.
const (
	roleAdmin     = "admin"
	roleOrganizer = "organizer"
	roleTeam      = "team"
)

var (
	errNoToken   = fsm.Errorf(fsm.Unauthenticated, "send a token: Authorization: Bearer TOKEN")
	errForbidden = fsm.Errorf(fsm.Forbidden, "the token does not allow this; see GET /v1/whoami for what it is")
)

// authorize decides by the row and the token whether the request goes on, and
// fills in who, hunt and team. Answers, in this order:
//
//	RateLimited      more than its Limits were sent with the token, or without
//	Unauthenticated  a token was sent and is not valid; or none, and one is needed
//	Forbidden        the token is valid and not for this, whether it exists or not
//	NotFound         the token would allow it, but there is no such hunt
//
// Somebody who may not see a thing thereby learns nothing of whether it exists,
// but for hunts: that an id is taken shows to everybody who tries to create it.
func (a *api) authorize(c *call) error {
	if c.route.access == open {
		if c.route.exempt {
			return nil
		}
		return a.limits.count(c, nil)
	}
	var err error
	c.who, err = a.authenticate(c)
	if err := a.limits.count(c, err); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	c.hunt.ID = fsm.HuntID(chi.URLParam(c.r, "hunt"))
	c.team = fsm.TeamID(chi.URLParam(c.r, "team"))
	switch c.route.access {
	case listHunts:
		return nil
	case readHunt:
		return a.authorizeReader(c)
	case register:
		return a.authorizeRegistration(c)
	}
	if c.who == nil {
		return errNoToken
	}
	if !allowed(c.route.access, c.who, c.hunt.ID, c.team) {
		return errForbidden
	}
	return a.resolve(c)
}

func (a *api) authenticate(c *call) (*Principal, error) {
	header := c.r.Header.Get("Authorization")
	if header == "" {
		return nil, nil
	}
	scheme, token, _ := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, errNoToken
	}
	return a.Cluster.Authenticate(c.ctx, token)
}

// allowed is the table of roles, for rows that need a token.
func allowed(need access, p *Principal, hunt fsm.HuntID, team fsm.TeamID) bool {
	if p.Role == roleAdmin {
		return true
	}
	organizer := p.Role == roleOrganizer && (p.Hunt.ID == "" || p.Hunt.ID == hunt)
	switch need {
	case anyToken:
		return true
	case createHunt:
		return p.Role == roleOrganizer // of which hunts is checked with the document's id
	case organize:
		return organizer
	case ownTeam, submit:
		return organizer || p.Role == roleTeam && p.Hunt.ID == hunt && p.Team == team
	case readHunt:
		return organizer || p.Role == roleTeam && p.Hunt.ID == hunt
	}
	return false
}

// resolve binds an allowed request to one life of its hunt, and makes sure that
// a team's token is still the team's.
func (a *api) resolve(c *call) error {
	if c.who.Role == roleTeam {
		if c.hunt.ID != "" {
			c.hunt = c.who.Hunt
		}
		if c.route.access == submit {
			return nil
		}
		return a.Cluster.CheckTeam(c.ctx, c.who)
	}
	if c.hunt.ID == "" {
		return nil
	}
	return a.loadHunt(c)
}

// loadHunt fetches the catalogue's entry of the path's hunt. A token of an
// earlier life of the id is not a token of this hunt.
func (a *api) loadHunt(c *call) error {
	if c.info != nil {
		return nil
	}
	if !fsm.ValidID(string(c.hunt.ID)) {
		return fsm.Errorf(fsm.NotFound, "there is no hunt %q", c.hunt.ID)
	}
	load := a.Cluster.Hunt
	if c.route.fresh {
		load = a.Cluster.FreshHunt
	}
	info, err := load(c.ctx, c.hunt.ID)
	if err != nil {
		return err
	}
	if c.who != nil && c.who.Hunt.Incarnation != 0 && c.who.Hunt.ID == info.ID && c.who.Hunt.Incarnation != info.Incarnation {
		return errForbidden
	}
	c.info = info
	c.hunt.Incarnation = info.Incarnation
	return nil
}

// authorizeReader lets everybody read a public hunt. Only for a hunt that is
// not public must a team's token still be valid: the others may as well send
// none.
func (a *api) authorizeReader(c *call) error {
	if err := a.loadHunt(c); err != nil {
		return err
	}
	doc, err := a.hunts.document(c.info)
	switch {
	case err != nil:
		return err
	case doc.Public:
		return nil
	case c.who == nil:
		return errNoToken
	case !allowed(readHunt, c.who, c.hunt.ID, ""):
		return errForbidden
	case c.who.Role == roleTeam:
		return a.Cluster.CheckTeam(c.ctx, c.who)
	}
	return nil
}

// authorizeRegistration lets everybody register a team where the hunt says so.
func (a *api) authorizeRegistration(c *call) error {
	if err := a.loadHunt(c); err != nil || c.organizes() {
		return err
	}
	doc, err := a.hunts.document(c.info)
	switch {
	case err != nil:
		return err
	case doc.OpenRegistration:
		return nil
	case c.who == nil:
		return errNoToken
	}
	return errForbidden
}

// organizes reports whether the request speaks for an organizer of the hunt.
func (c *call) organizes() bool {
	return c.who != nil && allowed(organize, c.who, c.hunt.ID, "")
}
