package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/fsm/partition"
	"cairn/httpapi/rest"
)

// Limits of what is kept of hunts. Beyond them the one used longest ago is read
// again when it is asked for.
const (
	maxDocuments     = 256      // parsed documents
	maxDocumentBytes = 64 << 20 // of their JSON
	maxViews         = 10_000   // public views, for lists
	maxViewBytes     = 16 << 20 // of their texts
	maxHuntsBytes    = 4 << 20  // texts on one page of hunts; the page ends early
)

// huntDocument stands for a hunt's document in the table of routes: package hunt
// reads it, more strictly than a Go type could say.
type huntDocument struct{}

// hunts remembers what was made of documents. A document never changes under its
// version, so nothing in here is ever stale.
type hunts struct {
	documents *lru[huntVersion, *hunt.Document]
	views     *lru[huntVersion, *rest.Hunt]
}

type huntVersion struct {
	life    fsm.Incarnation
	version uint64
}

func newHunts() *hunts {
	return &hunts{
		documents: newLRU[huntVersion, *hunt.Document](maxDocuments, maxDocumentBytes),
		views:     newLRU[huntVersion, *rest.Hunt](maxViews, maxViewBytes),
	}
}

// document returns the parsed document of a catalogue entry.
func (h *hunts) document(info *HuntInfo) (*hunt.Document, error) {
	v := huntVersion{info.Incarnation, info.Version}
	if d, ok := h.documents.get(v); ok {
		return d, nil
	}
	d, err := hunt.Parse(info.Document)
	if err != nil { // it was valid when it was accepted
		return nil, fmt.Errorf("read the catalogue's document of hunt %s version %d: %v", info.ID, info.Version, err)
	}
	h.documents.put(v, d, int64(len(info.Document)))
	return d, nil
}

// view returns the public view, which callers must not change.
func (h *hunts) view(info *HuntInfo) (*rest.Hunt, error) {
	v := huntVersion{info.Incarnation, info.Version}
	if view, ok := h.views.get(v); ok {
		return view, nil
	}
	d, err := h.document(info)
	if err != nil {
		return nil, err
	}
	view := &rest.Hunt{
		ID:          info.ID,
		Title:       d.DisplayTitle(),
		Description: d.Description,
		State:       info.State,
		Reason:      info.Reason,
		Version:     info.Version,
		Public:      d.Public,
		StartsAt:    optionalTime(d.StartsAt),
		EndsAt:      optionalTime(d.EndsAt),
		Ranking:     d.Ranking,
		Rounds:      make([]rest.Round, len(d.Rounds)),
	}
	for i := range d.Rounds {
		view.Rounds[i] = rest.Round{ID: d.Rounds[i].ID, Title: d.Rounds[i].DisplayTitle()}
	}
	h.views.put(v, view, viewBytes(view))
	return view, nil
}

// viewBytes is about what a view takes, in memory and on the wire.
func viewBytes(v *rest.Hunt) int64 {
	n := 256 + len(v.Title) + len(v.Description) + len(v.Reason)
	for _, r := range v.Rounds {
		n += 64 + len(r.ID) + len(r.Title)
	}
	return int64(n)
}

// writeHunt answers with a hunt and its ETag. An organizer gets the document
// with it, so the answer varies with the token.
func (a *api) writeHunt(c *call, status int, info *HuntInfo) error {
	view, err := a.hunts.view(info)
	if err != nil {
		return err
	}
	out := *view
	if c.organizes() {
		out.Document = info.Document
	}
	h := c.w.Header()
	h.Set("ETag", eTag(info))
	h.Set("Vary", "Authorization")
	return c.write(status, &out)
}

func (a *api) postHunt(c *call) error {
	return c.withBody(MaxHuntBody, func(document []byte) error {
		doc, err := hunt.Parse(document)
		if err != nil {
			return err
		}
		c.hunt.ID = doc.ID
		if !c.organizes() {
			return fsm.Errorf(fsm.Forbidden, "the token is for hunt %s only", c.who.Hunt.ID)
		}
		// The catalogue keeps the document; the buffer is used again.
		info, created, err := a.Cluster.CreateHunt(c.ctx, slices.Clone(document))
		if err != nil {
			return err
		}
		status := http.StatusOK
		if created {
			status = http.StatusCreated
			c.w.Header().Set("Location", "/v1/hunts/"+string(info.ID))
		}
		return a.writeHunt(c, status, info)
	})
}

func (a *api) putHunt(c *call) error {
	version, err := c.ifMatch()
	if err != nil {
		return err
	}
	return c.withBody(MaxHuntBody, func(document []byte) error {
		doc, err := hunt.Parse(document)
		if err != nil {
			return err
		}
		if doc.ID != c.hunt.ID {
			return invalid("id", fmt.Sprintf("is %s, but the path names %s; a hunt cannot be renamed", doc.ID, c.hunt.ID))
		}
		info, err := a.Cluster.PutHunt(c.ctx, c.hunt.ID, version, slices.Clone(document))
		if err != nil {
			return err
		}
		return a.writeHunt(c, http.StatusOK, info)
	})
}

func (a *api) getHunt(c *call) error {
	if tag := eTag(c.info); notModified(c.r.Header.Get("If-None-Match"), tag) {
		c.w.Header().Set("ETag", tag)
		c.w.Header().Set("Vary", "Authorization")
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return a.writeHunt(c, http.StatusOK, c.info)
}

// getHunts lists, by id, the public hunts and the token's own.
func (a *api) getHunts(c *call) error {
	if c.who != nil && c.who.Role == roleTeam {
		if err := a.Cluster.CheckTeam(c.ctx, c.who); err != nil {
			return err
		}
	}
	p, err := pageOf(c.r.URL.Query())
	if err != nil {
		return err
	}
	l := listing{route: c.route.path}
	from, err := l.idPosition(p.token)
	if err != nil {
		return err
	}
	infos, err := a.Cluster.Hunts(c.ctx)
	if err != nil {
		return err
	}
	infos = slices.Clone(infos)
	slices.SortFunc(infos, func(x, y HuntInfo) int { return strings.Compare(string(x.ID), string(y.ID)) })
	infos, _ = after(infos, func(h *HuntInfo) string { return string(h.ID) }, from, len(infos))
	out, err := a.huntsPage(c, infos, p.size)
	if err != nil {
		return err
	}
	if n := len(out.Hunts); n > 0 && out.NextPageToken != "" {
		out.NextPageToken = l.idToken(string(out.Hunts[n-1].ID))
	}
	return c.write(http.StatusOK, out)
}

// huntsPage fills a page with those of infos that the token may see.
// NextPageToken is set to something if there are more.
func (a *api) huntsPage(c *call, infos []HuntInfo, size int) (*rest.Hunts, error) {
	out := &rest.Hunts{Hunts: []rest.Hunt{}}
	bytes := int64(0)
	for i := range infos {
		view, err := a.hunts.view(&infos[i])
		if err != nil {
			return nil, err
		}
		if !view.Public && (c.who == nil || !allowed(readHunt, c.who, view.ID, "")) {
			continue
		}
		if len(out.Hunts) == size || bytes > maxHuntsBytes {
			out.NextPageToken = "more"
			break
		}
		out.Hunts = append(out.Hunts, *view)
		bytes += viewBytes(view)
	}
	return out, nil
}

func (a *api) postHuntState(c *call) error {
	var in rest.HuntState
	if err := c.decodeBody(&in); err != nil {
		return err
	}
	if _, ok := hunt.ParseState(in.State); !ok {
		return invalid("state", "must be draft, open, paused or closed")
	}
	if in.Reason != "" {
		if err := checkText("reason", in.Reason); err != nil {
			return err
		}
	}
	info, err := a.Cluster.SetHuntState(c.ctx, c.hunt.ID, in.State, in.Reason)
	if err != nil {
		return err
	}
	return a.writeHunt(c, http.StatusOK, info)
}

func (a *api) deleteHunt(c *call) error {
	if err := a.Cluster.DeleteHunt(c.ctx, c.hunt.ID); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *api) getStats(c *call) error {
	cons, err := consistencyOf(c.r.URL.Query())
	if err != nil {
		return err
	}
	s, age, err := a.Cluster.Stats(c.ctx, c.hunt, cons)
	if err != nil {
		return err
	}
	out := &rest.Stats{Teams: s.Teams, Submissions: map[string]int{}, Clues: make([]rest.ClueStats, len(s.Clues))}
	for v, n := range s.Submissions {
		out.Submissions[partition.Verdict(v).String()] = n
	}
	for i, clue := range s.Clues {
		out.Clues[i] = rest.ClueStats{ID: clue.ID, Solved: clue.Solved, Attempts: clue.Attempts}
		if clue.FirstSolve != 0 {
			out.Clues[i].FirstSolve = &rest.FirstSolve{Team: clue.FirstTeam, At: clue.FirstSolve}
		}
	}
	c.setStaleness(cons, age)
	return c.write(http.StatusOK, out)
}
