package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/fsm/partition"
	"cairn/httpapi/rest"
)

// Who creates a team. The key that the partition remembers is a digest of this
// and of the request's key, so that a player who guesses an organizer's key gets
// a conflict, and not the team's token.
const (
	byPlayer    = "player"
	byOrganizer = "organizer"
	byImport    = "import"
)

const (
	keyDigest = 32 // characters, 160 bits
	idDigest  = 16 // characters, 80 bits
)

// newTeam makes the command for a team. A team without an id is given one
// derived from who creates it, the key and the name: a retry reaches the same
// partition and the same team, and two players who both send the key "1" get
// two teams.
func newTeam(h HuntRef, by, key string, in *rest.NewTeam) (*partition.CreateTeam, error) {
	if err := checkText("name", in.Name); err != nil {
		return nil, err
	}
	if in.Division != "" {
		if err := checkDivision(in.Division); err != nil {
			return nil, err
		}
	}
	cmd := &partition.CreateTeam{
		Hunt: h.ID, Incarnation: h.Incarnation, Public: by == byPlayer,
		Team: in.ID, Name: in.Name, Division: in.Division,
		Key: digest(keyDigest, by, key),
	}
	if in.Kind != "" {
		var err error
		if cmd.Kind, err = teamKind(in.Kind); err != nil {
			return nil, err
		}
	}
	if cmd.Team == "" {
		life := strconv.FormatUint(uint64(h.Incarnation), 10)
		cmd.Team = fsm.TeamID("t-" + digest(idDigest, by, life, key, in.Name))
	}
	if !fsm.ValidID(string(cmd.Team)) {
		return nil, invalid("id", "must be 1 to 64 of a-z, 0-9, '.', '_' and '-', and begin with a letter or digit")
	}
	return cmd, nil
}

// createTeam registers a team and makes its token.
func (a *api) createTeam(ctx context.Context, h HuntRef, cmd *partition.CreateTeam) (*rest.TeamCreated, bool, error) {
	t, created, err := a.Cluster.CreateTeam(ctx, cmd)
	if err != nil {
		return nil, false, err
	}
	out, err := a.withToken(h, t)
	return out, created, err
}

func (a *api) withToken(h HuntRef, t *partition.Team) (*rest.TeamCreated, error) {
	token, err := a.Cluster.TeamToken(h, t.ID, t.Generation)
	if err != nil {
		return nil, fmt.Errorf("make the token of team %s: %w", t.ID, err)
	}
	return &rest.TeamCreated{Team: restTeam(t), Token: token}, nil
}

func (a *api) postTeam(c *call) error {
	key, err := c.idempotencyKey()
	if err != nil {
		return err
	}
	var in rest.NewTeam
	if err := c.decodeBody(&in); err != nil {
		return err
	}
	by := byPlayer
	if c.organizes() {
		by = byOrganizer
	} else if in.Kind != "" && in.Kind != kindWords[partition.Normal] {
		return fsm.Errorf(fsm.Forbidden, "only an organizer can register a %s team", in.Kind)
	}
	cmd, err := newTeam(c.hunt, by, key, &in)
	if err != nil {
		return err
	}
	out, created, err := a.createTeam(c.ctx, c.hunt, cmd)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		c.w.Header().Set("Location", "/v1/hunts/"+string(c.hunt.ID)+"/teams/"+string(out.Team.ID))
	}
	return c.write(status, out)
}

func (a *api) getTeams(c *call) error {
	q := c.r.URL.Query()
	p, err := pageOf(q)
	if err != nil {
		return err
	}
	cons, err := consistencyOf(q)
	if err != nil {
		return err
	}
	l := listing{route: c.route.path, hunt: c.hunt}
	from, err := l.idPosition(p.token)
	if err != nil {
		return err
	}
	teams, age, err := a.Cluster.Teams(c.ctx, c.hunt, fsm.TeamID(from), p.size+1, cons)
	if err != nil {
		return err
	}
	out := rest.Teams{Teams: make([]rest.Team, 0, len(teams))}
	for i := range teams[:min(len(teams), p.size)] {
		out.Teams = append(out.Teams, restTeam(&teams[i]))
	}
	if len(teams) > p.size {
		out.NextPageToken = l.idToken(string(teams[p.size-1].ID))
	}
	c.setStaleness(cons, age)
	return c.write(http.StatusOK, &out)
}

// readTeam fetches the path's team; its clues are left out while the hunt has
// not begun for it.
func (a *api) readTeam(c *call) (*partition.Team, *hunt.Document, error) {
	cons, err := consistencyOf(c.r.URL.Query())
	if err != nil {
		return nil, nil, err
	}
	if !fsm.ValidID(string(c.team)) {
		return nil, nil, fsm.Errorf(fsm.NotFound, "there is no team %q", c.team)
	}
	if err := a.loadHunt(c); err != nil {
		return nil, nil, err
	}
	doc, err := a.hunts.document(c.info)
	if err != nil {
		return nil, nil, err
	}
	t, age, err := a.Cluster.Team(c.ctx, c.hunt, c.team, cons)
	if err != nil {
		return nil, nil, err
	}
	if !begun(doc, c.info, t, fsm.TimeOf(time.Now())) {
		shown := *t
		shown.Clues = nil
		t = &shown
	}
	c.setStaleness(cons, age)
	return t, doc, nil
}

// begun reports whether clues may be shown to a team: nobody plays a draft, test
// teams play before the start, and everybody else from it on.
func begun(doc *hunt.Document, info *HuntInfo, t *partition.Team, now fsm.Time) bool {
	state, _ := hunt.ParseState(info.State)
	return state != partition.Draft && (t.Kind == partition.Test || doc.StartsAt <= now)
}

func (a *api) getTeam(c *call) error {
	rank := false
	switch c.r.URL.Query().Get("rank") {
	case "", "false":
	case "true":
		rank = true
	default:
		return invalid("rank", "must be true or false")
	}
	t, _, err := a.readTeam(c)
	if err != nil {
		return err
	}
	out := restTeam(t)
	out.Clues = make([]rest.TeamClue, len(t.Clues))
	for i := range t.Clues {
		out.Clues[i] = restTeamClue(&t.Clues[i])
	}
	if rank && t.Listed {
		if out.Rank, err = a.Cluster.Rank(c.ctx, c.hunt, t.Rank); err != nil {
			return err
		}
	}
	return c.write(http.StatusOK, &out)
}

func (a *api) getClues(c *call) error {
	t, doc, err := a.readTeam(c)
	if err != nil {
		return err
	}
	state, _ := hunt.ParseState(c.info.State)
	out := rest.Clues{Clues: make([]rest.Clue, 0, len(t.Clues))}
	for i := range t.Clues {
		// A clue that the document lacks is of a version this node has not
		// seen yet, or was taken out.
		if d := doc.Clue(t.Clues[i].ID); d != nil {
			out.Clues = append(out.Clues, restClue(d, &t.Clues[i], state == partition.Closed))
		}
	}
	return c.write(http.StatusOK, &out)
}

func (a *api) patchTeam(c *call) error {
	var in rest.TeamPatch
	if err := c.decodeBody(&in); err != nil {
		return err
	}
	cmd, err := teamPatch(&in)
	if err != nil {
		return err
	}
	cmd.Hunt, cmd.Incarnation, cmd.Team = c.hunt.ID, c.hunt.Incarnation, c.team
	if !fsm.ValidID(string(c.team)) {
		return fsm.Errorf(fsm.NotFound, "there is no team %q", c.team)
	}
	t, err := a.Cluster.PatchTeam(c.ctx, cmd)
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, restTeam(t))
}

func teamPatch(in *rest.TeamPatch) (cmd *partition.PatchTeam, err error) {
	cmd = &partition.PatchTeam{Name: in.Name, Division: in.Division, Reason: in.Reason}
	if in.Name != nil {
		if err := checkText("name", *in.Name); err != nil {
			return nil, err
		}
	}
	if in.Division != nil && *in.Division != "" { // empty: of no division
		if err := checkDivision(*in.Division); err != nil {
			return nil, err
		}
	}
	if in.Reason != "" {
		if err := checkText("reason", in.Reason); err != nil {
			return nil, err
		}
	}
	if in.Kind != nil {
		k, err := teamKind(*in.Kind)
		if err != nil {
			return nil, err
		}
		cmd.Kind = &k
	}
	if in.Status != nil {
		s, err := teamStatus(*in.Status)
		if err != nil {
			return nil, err
		}
		cmd.Status = &s
	}
	if in.Meta != nil {
		meta, err := compactObject(*in.Meta)
		if err != nil {
			return nil, err
		}
		cmd.Meta = &meta
	}
	return cmd, nil
}

// compactObject is a team's meta as it is stored.
func compactObject(raw json.RawMessage) (string, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil || b.Len() == 0 || b.Bytes()[0] != '{' {
		return "", invalid("meta", "must be a JSON object")
	}
	if b.Len() > partition.MaxMeta {
		return "", invalid("meta", fmt.Sprintf("has %d bytes; at most %d are allowed", b.Len(), partition.MaxMeta))
	}
	return b.String(), nil
}

func (a *api) postTeamToken(c *call) error {
	key, err := c.idempotencyKey()
	if err != nil {
		return err
	}
	if !fsm.ValidID(string(c.team)) {
		return fsm.Errorf(fsm.NotFound, "there is no team %q", c.team)
	}
	t, err := a.Cluster.RotateToken(c.ctx, &partition.RotateToken{
		Hunt: c.hunt.ID, Incarnation: c.hunt.Incarnation, Team: c.team, Key: key,
	})
	if err != nil {
		return err
	}
	out, err := a.withToken(c.hunt, t)
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, out)
}
