// Package apitest is a cluster of one partition in memory, for tests of the API
// and of what speaks to it. It judges with the real document, matcher and state
// machine; what it leaves out is everything that makes a cluster of them: logs,
// nodes, elections and time-outs, which Fault and Before stand in for.
package apitest

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"cairn/cluster"
	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/fsm/partition"
)

// Cluster implements httpapi.Cluster. Set the exported fields before it is used.
type Cluster struct {
	// Clock is the leader's. Default: one that starts at Start and moves on by a
	// millisecond with each command, so that the same calls have the same times.
	Clock func() fsm.Time
	// Before runs before a submission is judged; it may block, and its error is
	// the submission's.
	Before func(context.Context, cluster.Submission) error
	// Fault may fail any method, by name.
	Fault func(method string) error
	// Failing is the detail of a readiness check; empty: all hold.
	Failing string

	mu      sync.Mutex
	machine *partition.Machine
	now     fsm.Time
	lives   fsm.Incarnation
	hunts   map[fsm.HuntID]*entry
	tokens  map[string]controller.Token // by secret
	calls   map[string]int
}

type entry struct {
	info    cluster.HuntInfo
	matcher *hunt.Matcher
}

// Start is the first time of the default clock.
var Start = fsm.TimeOf(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))

// Secrets of the tokens that every Cluster has from the start: an admin, an
// organizer of all hunts and one of the hunt "maze".
const (
	Admin     = "cairn_a_admin"
	Organizer = "cairn_o_all"
	OfMaze    = "cairn_o_maze"
)

// New returns a cluster without hunts.
func New() *Cluster {
	c := &Cluster{
		machine: partition.New(),
		now:     Start,
		hunts:   map[fsm.HuntID]*entry{},
		tokens:  map[string]controller.Token{},
		calls:   map[string]int{},
	}
	c.Clock = func() fsm.Time { c.now += 1000; return c.now }
	for id, t := range map[string]controller.Token{
		Admin:     {ID: "tk-admin", Role: "admin"},
		Organizer: {ID: "tk-org", Role: "organizer"},
		OfMaze:    {ID: "tk-maze", Role: "organizer", Hunt: "maze"},
	} {
		t.Created = Start
		c.tokens[id] = t
	}
	c.must(&partition.Init{Range: fsm.Range{Last: fsm.Slots - 1}})
	return c
}

// Calls is how often a method was called.
func (c *Cluster) Calls(method string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[method]
}

// enter counts a call and lets it fail. The caller holds no lock.
func (c *Cluster) enter(ctx context.Context, method string) error {
	c.mu.Lock()
	c.calls[method]++
	c.mu.Unlock()
	if c.Fault != nil {
		if err := c.Fault(method); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// apply runs one command. The caller holds mu.
func (c *Cluster) apply(cmd partition.Command) partition.Result {
	var b partition.Batch
	if !b.Add(c.Clock(), cmd) {
		return partition.Result{Err: fsm.Errorf(fsm.TooLarge, "the command is too large")}
	}
	results, err := c.machine.Apply(b.Bytes())
	if err != nil {
		panic(err)
	}
	return results[0]
}

func (c *Cluster) must(cmd partition.Command) {
	if r := c.apply(cmd); r.Err != nil {
		panic(r.Err)
	}
}

// Overloaded implements httpapi.Play.
func (c *Cluster) Overloaded(fsm.HuntID) error { return c.enter(context.Background(), "Overloaded") }

// Submit implements httpapi.Play.
func (c *Cluster) Submit(ctx context.Context, in cluster.Submission) (*partition.Submission, error) {
	if err := c.enter(ctx, "Submit"); err != nil {
		return nil, err
	}
	if c.Before != nil {
		if err := c.Before(ctx, in); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.hunts[in.Hunt.ID]
	if e == nil || e.info.Incarnation != in.Hunt.Incarnation {
		return nil, noHunt(in.Hunt.ID)
	}
	match, digest, reply, _ := e.matcher.Match(in.Clue, in.Answer)
	r := c.apply(&partition.Submit{
		Hunt: in.Hunt.ID, Incarnation: in.Hunt.Incarnation, Version: e.info.Version, Team: in.Team,
		Generation: in.Generation, Clue: in.Clue, Match: match, Digest: digest, Answer: in.Answer, Reply: reply,
		Key: in.Key, Player: in.Player, At: in.At,
	})
	return r.Submission, errOf(r)
}

// errOf keeps a nil *fsm.Error from becoming an error.
func errOf(r partition.Result) error {
	if r.Err != nil {
		return r.Err
	}
	return nil
}

func noHunt(id fsm.HuntID) error { return fsm.Errorf(fsm.NotFound, "there is no hunt %s", id) }

func (c *Cluster) do(ctx context.Context, method string, cmd partition.Command) (partition.Result, error) {
	if err := c.enter(ctx, method); err != nil {
		return partition.Result{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.apply(cmd)
	return r, errOf(r)
}

// CreateTeam implements httpapi.Play.
func (c *Cluster) CreateTeam(ctx context.Context, cmd *partition.CreateTeam) (*partition.Team, bool, error) {
	r, err := c.do(ctx, "CreateTeam", cmd)
	return r.Team, r.Created, err
}

// PatchTeam implements httpapi.Play.
func (c *Cluster) PatchTeam(ctx context.Context, cmd *partition.PatchTeam) (*partition.Team, error) {
	r, err := c.do(ctx, "PatchTeam", cmd)
	return r.Team, err
}

// RotateToken implements httpapi.Play.
func (c *Cluster) RotateToken(ctx context.Context, cmd *partition.RotateToken) (*partition.Team, error) {
	r, err := c.do(ctx, "RotateToken", cmd)
	return r.Team, err
}

// age is how old the fake says that its stale reads are.
const age = cluster.Freshness(120 * time.Millisecond)

func freshness(c cluster.Consistency) cluster.Freshness {
	if c == cluster.Stale {
		return age
	}
	return 0
}

// Team implements httpapi.Play.
func (c *Cluster) Team(ctx context.Context, h cluster.HuntRef, team fsm.TeamID, cons cluster.Consistency) (*partition.Team, cluster.Freshness, error) {
	if err := c.enter(ctx, "Team"); err != nil {
		return nil, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t, err := c.machine.Team(h.ID, h.Incarnation, team)
	return t, freshness(cons), err
}

// Rank implements httpapi.Play.
func (c *Cluster) Rank(ctx context.Context, h cluster.HuntRef, key partition.RankKey) (int, error) {
	if err := c.enter(ctx, "Rank"); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machine.Better(h.ID, h.Incarnation, key) + 1, nil
}

// Teams implements httpapi.Play.
func (c *Cluster) Teams(ctx context.Context, h cluster.HuntRef, after fsm.TeamID, limit int, cons cluster.Consistency) ([]partition.Team, cluster.Freshness, error) {
	if err := c.enter(ctx, "Teams"); err != nil {
		return nil, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machine.Teams(h.ID, h.Incarnation, after, limit), freshness(cons), nil
}

// Submissions implements httpapi.Play.
func (c *Cluster) Submissions(ctx context.Context, h cluster.HuntRef, team fsm.TeamID, below uint32, limit int, cons cluster.Consistency) ([]partition.Submission, cluster.Freshness, error) {
	if err := c.enter(ctx, "Submissions"); err != nil {
		return nil, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.machine.Submissions(h.ID, h.Incarnation, team, below, limit)
	return s, freshness(cons), err
}

// Board implements httpapi.Play.
func (c *Cluster) Board(ctx context.Context, h cluster.HuntRef, q cluster.BoardQuery) (*cluster.BoardPage, cluster.Freshness, error) {
	if err := c.enter(ctx, "Board"); err != nil {
		return nil, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.machine.Board(h.ID, h.Incarnation, q.Division, q.After, q.Limit+1)
	out := &cluster.BoardPage{AsOf: p.AsOf, More: len(p.Rows) > q.Limit}
	out.Rows = p.Rows[:min(q.Limit, len(p.Rows))]
	for i := range out.Rows {
		rank := p.Before + i + 1
		switch {
		case i > 0 && out.Rows[i].Key == out.Rows[i-1].Key:
			rank = out.Ranks[i-1]
		case i == 0 && q.After != nil && out.Rows[i].Key == q.After.Key:
			rank = p.Better + 1
		}
		out.Ranks = append(out.Ranks, rank)
	}
	return out, freshness(q.Consistency), nil
}

// Stats implements httpapi.Play.
func (c *Cluster) Stats(ctx context.Context, h cluster.HuntRef, cons cluster.Consistency) (*partition.Stats, cluster.Freshness, error) {
	if err := c.enter(ctx, "Stats"); err != nil {
		return nil, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.machine.Stats(h.ID, h.Incarnation)
	return &s, freshness(cons), nil
}

// CreateHunt implements httpapi.Catalogue.
func (c *Cluster) CreateHunt(ctx context.Context, document []byte) (*cluster.HuntInfo, bool, error) {
	if err := c.enter(ctx, "CreateHunt"); err != nil {
		return nil, false, err
	}
	doc, err := hunt.Parse(document)
	if err != nil {
		return nil, false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	hash := sha256.Sum256(document)
	if e := c.hunts[doc.ID]; e != nil {
		if e.info.Hash == hash && e.info.Version == 1 {
			return copied(e), false, nil
		}
		return nil, false, fsm.Errorf(fsm.Conflict, "hunt %s exists already", doc.ID)
	}
	c.lives++
	e := &entry{info: cluster.HuntInfo{
		Hunt:     controller.Hunt{ID: doc.ID, Incarnation: c.lives, Version: 1, State: doc.State, Hash: hash},
		Document: document,
	}}
	c.hunts[doc.ID] = e
	return copied(e), true, c.install(e, doc)
}

// install brings an entry's version into the partition. The caller holds mu.
func (c *Cluster) install(e *entry, doc *hunt.Document) error {
	state, _ := hunt.ParseState(e.info.State)
	rules, err := doc.Rules(state)
	if err != nil {
		return err
	}
	e.matcher = hunt.NewMatcher(doc)
	return errOf(c.apply(&partition.InstallHunt{
		Hunt: e.info.ID, Incarnation: e.info.Incarnation, Version: e.info.Version, Rules: rules.Encode(),
	}))
}

func copied(e *entry) *cluster.HuntInfo { info := e.info; return &info }

// Hunt implements httpapi.Catalogue.
func (c *Cluster) Hunt(ctx context.Context, id fsm.HuntID) (*cluster.HuntInfo, error) {
	if err := c.enter(ctx, "Hunt"); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.hunts[id]; e != nil {
		return copied(e), nil
	}
	return nil, noHunt(id)
}

// FreshHunt implements httpapi.Catalogue: here nothing is ever stale.
func (c *Cluster) FreshHunt(ctx context.Context, id fsm.HuntID) (*cluster.HuntInfo, error) {
	return c.Hunt(ctx, id)
}

// Hunts implements httpapi.Catalogue.
func (c *Cluster) Hunts(ctx context.Context) ([]cluster.HuntInfo, error) {
	if err := c.enter(ctx, "Hunts"); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []cluster.HuntInfo
	for _, e := range c.hunts {
		out = append(out, e.info)
	}
	return out, nil
}

// PutHunt implements httpapi.Catalogue.
func (c *Cluster) PutHunt(ctx context.Context, id fsm.HuntID, ifVersion uint64, document []byte) (*cluster.HuntInfo, error) {
	return c.change(ctx, "PutHunt", id, func(e *entry) error {
		if e.info.Version != ifVersion {
			return fsm.Errorf(fsm.PreconditionFailed, "the hunt is at version %d; GET it and try again", e.info.Version)
		}
		e.info.Document = document
		return nil
	})
}

// SetHuntState implements httpapi.Catalogue.
func (c *Cluster) SetHuntState(ctx context.Context, id fsm.HuntID, state, reason string) (*cluster.HuntInfo, error) {
	return c.change(ctx, "SetHuntState", id, func(e *entry) error {
		e.info.State, e.info.Reason = state, reason
		return nil
	})
}

// change makes the next version of a hunt.
func (c *Cluster) change(ctx context.Context, method string, id fsm.HuntID, edit func(*entry) error) (*cluster.HuntInfo, error) {
	if err := c.enter(ctx, method); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.hunts[id]
	if e == nil {
		return nil, noHunt(id)
	}
	if err := edit(e); err != nil {
		return nil, err
	}
	doc, err := hunt.Parse(e.info.Document)
	if err != nil {
		return nil, err
	}
	e.info.Version++
	return copied(e), c.install(e, doc)
}

// DeleteHunt implements httpapi.Catalogue.
func (c *Cluster) DeleteHunt(ctx context.Context, id fsm.HuntID) error {
	if err := c.enter(ctx, "DeleteHunt"); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.hunts[id]
	if e == nil {
		return noHunt(id)
	}
	delete(c.hunts, id)
	return errOf(c.apply(&partition.DeleteHunt{Hunt: id, Incarnation: e.info.Incarnation}))
}
