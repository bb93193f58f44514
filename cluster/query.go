package cluster

import (
	"context"
	"time"

	"cairn/cluster/admit"
	"cairn/fsm"
	"cairn/fsm/partition"
	"cairn/fsm/wire"
)

// A query travels as
//
//	u8      question
//	bool    stale: any replica may answer
//	string  hunt, uvarint incarnation
//	...     the question's arguments
//
// and is answered with varint freshness (microseconds) and the answer.
type question uint8

const (
	askTeam question = iota
	askTeams
	askSubmissions
	askBoard
	askBetter
	askStats
	askGeneration
)

// maxClockSkew is how far two clocks of the cluster may differ; see DESIGN.md.
const maxClockSkew = 250 * time.Millisecond

// query is one question to one partition. ask runs on the replica that answers
// and must return an encoded answer; read decodes it on the node that asked.
type query struct {
	hunt HuntRef
	what question
	args func(w *wire.Writer)
	read func(r *wire.Reader)
}

// ask brings a query to a partition: to the leader, or, for a stale read, to
// any replica: here, else the one of two that is less busy, else the leader.
func (n *Node) ask(ctx context.Context, p fsm.PartitionID, c Consistency, q query) (Freshness, error) {
	var w wire.Writer
	w.U8(uint8(q.what))
	w.Bool(c == Stale)
	w.String(string(q.hunt.ID))
	w.Uvarint(uint64(q.hunt.Incarnation))
	if q.args != nil {
		q.args(&w)
	}
	var fresh Freshness
	take := func(body []byte) error {
		r := wire.NewReader(body)
		fresh = Freshness(time.Duration(r.Varint()) * time.Microsecond)
		if q.read != nil {
			q.read(r)
		}
		return r.Done()
	}
	local := func(ctx context.Context) error {
		r := n.serving(p)
		if r == nil {
			return &fsm.Error{Kind: fsm.NotLeader}
		}
		body, err := r.serveQuery(ctx, w.B)
		if err != nil {
			return err
		}
		return take(body)
	}
	if c == Stale {
		if local(ctx) == nil {
			return fresh, nil
		}
		if to := n.oneOf(n.router.members(groupOf(p))); to != "" &&
			n.router.try(ctx, groupOf(p), to, call{kind: kindQuery, body: w.B, decode: take}) == nil {
			return fresh, nil
		}
	}
	return fresh, readError(n.router.toPartition(ctx, p, call{kind: kindQuery, body: w.B, local: local, decode: take}))
}

// readError: a read that got no answer changed nothing, so its outcome is never
// unknown.
func readError(err error) error {
	if err != nil && fsm.KindOf(err) == fsm.OutcomeUnknown {
		return &fsm.Error{Kind: fsm.Unavailable, Msg: "no leader with a quorum could be reached in time; nothing was done", After: time.Second}
	}
	return err
}

// serveQuery answers a query from this replica's state: after riding the log, or
// at once for a stale read.
func (r *replica) serveQuery(ctx context.Context, body []byte) ([]byte, error) {
	rd := wire.NewReader(body)
	what, stale := question(rd.U8()), rd.Bool()
	h := HuntRef{fsm.HuntID(rd.String(fsm.MaxID)), fsm.Incarnation(rd.Uvarint())}
	var w wire.Writer
	if stale {
		age, ok := r.group.Staleness(maxClockSkew)
		if !ok {
			return nil, &fsm.Error{Kind: fsm.NotLeader, Msg: string(r.group.Leader().Node)}
		}
		w.Varint(age.Microseconds())
	} else {
		if err := r.queue.Read(ctx); err != nil {
			return nil, err
		}
		w.Varint(0)
	}
	var err error
	r.machine.read(func(m *partition.Machine) { err = answer(m, what, h, rd, &w) })
	if err != nil {
		return nil, err
	}
	return w.B, nil
}

// answer looks one question up.
func answer(m *partition.Machine, what question, h HuntRef, rd *wire.Reader, w *wire.Writer) error {
	switch what {
	case askTeam, askGeneration:
		team, generation := fsm.TeamID(rd.String(fsm.MaxID)), uint32(rd.Int(1<<31))
		if err := rd.Done(); err != nil {
			return err
		}
		if what == askGeneration {
			return m.CheckGeneration(h.ID, h.Incarnation, team, generation)
		}
		t, err := m.Team(h.ID, h.Incarnation, team)
		if err != nil {
			return err
		}
		partition.AppendTeam(w, t)
	case askTeams:
		after, limit := fsm.TeamID(rd.String(fsm.MaxID)), rd.Int(maxPage)
		if err := rd.Done(); err != nil {
			return err
		}
		partition.AppendTeams(w, m.Teams(h.ID, h.Incarnation, after, limit))
	case askSubmissions:
		team, below, limit := fsm.TeamID(rd.String(fsm.MaxID)), uint32(rd.Int(1<<31)), rd.Int(maxPage)
		if err := rd.Done(); err != nil {
			return err
		}
		list, err := m.Submissions(h.ID, h.Incarnation, team, below, limit)
		if err != nil {
			return err
		}
		partition.AppendSubmissions(w, list)
	case askBoard:
		return answerBoard(m, h, rd, w)
	case askBetter:
		place := partition.ReadPlace(rd)
		if err := rd.Done(); err != nil {
			return err
		}
		w.Uvarint(uint64(m.Better(h.ID, h.Incarnation, place.Key)))
	case askStats:
		if err := rd.Done(); err != nil {
			return err
		}
		s := m.Stats(h.ID, h.Incarnation)
		partition.AppendStats(w, &s)
	default:
		return fsm.Errorf(fsm.Invalid, "query of unknown kind %d: this node may be older than its caller", what)
	}
	return nil
}

// maxPage bounds what one partition answers to one query.
const maxPage = 1001

func answerBoard(m *partition.Machine, h HuntRef, rd *wire.Reader, w *wire.Writer) error {
	division, limit := rd.String(fsm.MaxID), rd.Int(maxPage)
	var after *partition.Place
	if rd.Bool() {
		place := partition.ReadPlace(rd)
		after = &place
	}
	if err := rd.Done(); err != nil {
		return err
	}
	page := m.Board(h.ID, h.Incarnation, division, after, limit)
	partition.AppendPage(w, &page)
	return nil
}

// Team returns a team with its clues.
func (n *Node) Team(ctx context.Context, h HuntRef, team fsm.TeamID, c Consistency) (*partition.Team, Freshness, error) {
	var out partition.Team
	fresh, err := n.askTeam(ctx, h, team, 0, c, query{
		hunt: h, what: askTeam, read: func(r *wire.Reader) { out = partition.ReadTeam(r) },
	})
	return &out, fresh, err
}

// askTeam asks the team's partition a question about it.
func (n *Node) askTeam(ctx context.Context, h HuntRef, team fsm.TeamID, generation uint32, c Consistency, q query) (Freshness, error) {
	p, err := n.partitionOf(ctx, h.ID, team)
	if err != nil {
		return 0, err
	}
	if q.args == nil {
		q.args = func(w *wire.Writer) {
			w.String(string(team))
			w.Uvarint(uint64(generation))
		}
	}
	var fresh Freshness
	err = n.gated(ctx, admit.Flow{Hunt: h.ID, Team: team, Partition: p}, func() (err error) {
		fresh, err = n.ask(ctx, p, c, q)
		return err
	})
	if fsm.KindOf(err) == fsm.NotFound {
		// A partition that was never asked to install the hunt says that there is
		// no such hunt; the caller was authorised for one that exists.
		err = fsm.Errorf(fsm.NotFound, "hunt %s has no team %s", h.ID, team)
	}
	return fresh, err
}

// CheckTeam asks the partition whether a team principal's generation holds.
func (n *Node) CheckTeam(ctx context.Context, p *Principal) error {
	_, err := n.askTeam(ctx, p.Hunt, p.Team, p.Generation, Default, query{hunt: p.Hunt, what: askGeneration})
	return err
}

// Submissions lists a team's history, newest first, below a submission's number
// (0: from the newest).
func (n *Node) Submissions(ctx context.Context, h HuntRef, team fsm.TeamID, below uint32, limit int, c Consistency) ([]partition.Submission, Freshness, error) {
	var out []partition.Submission
	fresh, err := n.askTeam(ctx, h, team, 0, c, query{
		hunt: h, what: askSubmissions,
		args: func(w *wire.Writer) {
			w.String(string(team))
			w.Uvarint(uint64(below))
			w.Uvarint(uint64(limit))
		},
		read: func(r *wire.Reader) { out = partition.ReadSubmissions(r) },
	})
	return out, fresh, err
}
