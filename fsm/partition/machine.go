package partition

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidwall/btree"

	"cairn/fsm"
)

// retryAfter is the advice that goes with Unavailable: the caller asked the
// wrong partition, and a newer table is on its way.
const retryAfter = 100 * time.Millisecond

// Machine is the state of one partition. It is not safe for concurrent use:
// Apply and Freeze exclude everything else, queries exclude only those two.
//
// Invariants, proved by check:
//
//  1. every team's slot lies in the partition's range;
//  2. times of a team's records never decrease, and none is later than the log time;
//  3. a key occurs once in a team, and a clue has at most one correct record in it;
//  4. score and solves of a team are the sums over its ranked correct records,
//     attempts on a clue the number of its incorrect ones;
//  5. every clue of the installed rules has one number in the game's dictionary,
//     and a number never changes its clue;
//  6. the overall board holds exactly the listed teams, each at its present key,
//     and the board of a division exactly those of them that are in it;
//  7. statistics and the newest event equal a recount over all records;
//  8. the installed incarnation is later than the deleted one;
//  9. what a Frozen reads is never written again.
type Machine struct {
	info  Info
	now   fsm.Time // log time
	gen   uint64   // counts freezes; a team of an older generation is cloned before it is written
	hunts *btree.Map[fsm.HuntID, *hunt]

	scratch []byte // of the record being made
}

// Info is what a partition knows of itself.
type Info struct {
	Initialised bool // Init was applied; the rest is zero before
	Partition   fsm.PartitionID
	Range       fsm.Range
	Epoch       uint64
}

// hunt is one hunt id's life here: at most one game, and what is gone for ever.
type hunt struct {
	deleted fsm.Incarnation // this incarnation and all before it; 0: none
	game    *game           // nil: nothing installed
}

// New returns the machine that the first entry of a log is applied to.
func New() *Machine {
	return &Machine{hunts: btree.NewMap[fsm.HuntID, *hunt](0)}
}

// Apply applies an entry and returns one Result for each command, in order.
//
// A command that breaks a rule is refused in its Result and changes nothing. An
// error is different: the entry is damaged or of a later release, nothing of it
// was applied or only a part, and this replica must stop.
func (m *Machine) Apply(entry []byte) ([]Result, error) {
	cmds, err := Decode(entry)
	if err != nil {
		return nil, fmt.Errorf("decoding an entry: %w", err)
	}
	results := make([]Result, len(cmds))
	for i := range cmds {
		m.now = max(m.now, cmds[i].Now)
		if results[i], err = m.apply(cmds[i].Command); err != nil {
			return nil, fmt.Errorf("applying command %d of %d: %w", i+1, len(cmds), err)
		}
	}
	if invariants {
		if err := m.check(); err != nil {
			panic(fmt.Sprintf("partition: broken invariant: %v", err))
		}
	}
	return results, nil
}

func (m *Machine) apply(c Command) (res Result, fatal error) {
	var err *fsm.Error
	if _, ok := c.(*Init); !ok && !m.info.Initialised {
		return Result{Err: m.unavailable()}, nil
	}
	switch c := c.(type) {
	case *Init:
		err = m.init(c)
	case *InstallHunt:
		err, fatal = m.install(c)
	case *DeleteHunt:
		err = m.delete(c)
	case *CreateTeam:
		res.Team, res.Created, err = m.createTeam(c)
	case *PatchTeam:
		res.Team, err = m.patchTeam(c)
	case *RotateToken:
		res.Team, err = m.rotateToken(c)
	case *Submit:
		res.Submission, err = m.submit(c)
	case *Checkpoint:
		res.Checkpoint = true
	default:
		panic(fmt.Sprintf("partition: no rule for %T", c))
	}
	res.Err = err
	return res, fatal
}

func (m *Machine) unavailable() *fsm.Error {
	e := fsm.Errorf(fsm.Unavailable, "this is not of this partition; nothing was done, send it again")
	e.After = retryAfter
	return e
}

func (m *Machine) init(c *Init) *fsm.Error {
	if m.info.Initialised {
		return fsm.Errorf(fsm.Conflict, "partition %d has its range already", m.info.Partition)
	}
	if c.Range.First > c.Range.Last {
		return fsm.Errorf(fsm.Invalid, "slots %d to %d are no range", c.Range.First, c.Range.Last)
	}
	m.info = Info{Initialised: true, Partition: c.Partition, Range: c.Range, Epoch: c.Epoch}
	return nil
}

// install carries an InstallHunt out. An incarnation that is newer than the
// installed one replaces it: the controller gives a hunt id its next life only
// after it has deleted the last.
func (m *Machine) install(c *InstallHunt) (refused *fsm.Error, fatal error) {
	if err := validLife(c.Hunt, c.Incarnation); err != nil {
		return err, nil
	}
	if c.Version == 0 {
		return fsm.Errorf(fsm.Invalid, "hunt %s: versions start at 1", c.Hunt), nil
	}
	h, _ := m.hunts.Get(c.Hunt)
	if h == nil {
		h = &hunt{}
	}
	g := h.game
	switch {
	case c.Incarnation <= h.deleted, g != nil && c.Incarnation < g.incarnation:
		return fsm.Errorf(fsm.Stale, "hunt %s: incarnation %d is gone", c.Hunt, c.Incarnation), nil
	case g != nil && c.Incarnation == g.incarnation && c.Version < g.version:
		return fsm.Errorf(fsm.Stale, "hunt %s: version %d is installed, %d is older", c.Hunt, g.version, c.Version), nil
	case g != nil && c.Incarnation == g.incarnation && c.Version == g.version:
		return nil, nil
	}
	rules, err := DecodeRules(c.Rules)
	if errors.Is(err, errRulesVersion) {
		return nil, err
	}
	if err != nil {
		return fsm.Errorf(fsm.Invalid, "hunt %s: %v", c.Hunt, err), nil
	}
	if g == nil || g.incarnation != c.Incarnation {
		g = newGame(c.Incarnation)
	}
	if err := g.install(c.Version, rules, bytes.Clone(c.Rules)); err != nil {
		return err, nil
	}
	h.game = g
	m.hunts.Set(fsm.HuntID(strings.Clone(string(c.Hunt))), h)
	return nil, nil
}

func (m *Machine) delete(c *DeleteHunt) *fsm.Error {
	if err := validLife(c.Hunt, c.Incarnation); err != nil {
		return err
	}
	h, _ := m.hunts.Get(c.Hunt)
	if h == nil {
		h = &hunt{}
		m.hunts.Set(fsm.HuntID(strings.Clone(string(c.Hunt))), h)
	}
	h.deleted = max(h.deleted, c.Incarnation)
	if h.game != nil && h.game.incarnation <= c.Incarnation {
		h.game = nil
	}
	return nil
}

func validLife(id fsm.HuntID, inc fsm.Incarnation) *fsm.Error {
	switch {
	case !fsm.ValidID(string(id)):
		return fsm.Errorf(fsm.Invalid, "%.64q is not the id of a hunt", id)
	case inc == 0:
		return fsm.Errorf(fsm.Invalid, "hunt %s: incarnations start at 1", id)
	}
	return nil
}

// enter finds the game of a command for one team: Unavailable if the team is
// not of this partition, Stale if the game is yet to be installed (then the
// leader installs it and proposes again), NotFound if it is gone.
func (m *Machine) enter(id fsm.HuntID, inc fsm.Incarnation, team fsm.TeamID) (*game, *fsm.Error) {
	if !m.holds(id, team) {
		return nil, m.unavailable()
	}
	h, _ := m.hunts.Get(id)
	if h == nil {
		h = &hunt{}
	}
	g := h.game
	switch {
	case inc <= h.deleted, g != nil && inc < g.incarnation:
		return nil, fsm.Errorf(fsm.NotFound, "hunt %s does not exist any more", id)
	case g == nil || inc > g.incarnation:
		return nil, fsm.Errorf(fsm.Stale, "hunt %s is not installed yet", id)
	}
	return g, nil
}

// holds reports whether a team's slot is of this partition. An id that is too
// long to be one is of none.
func (m *Machine) holds(hunt fsm.HuntID, team fsm.TeamID) bool {
	return m.info.Initialised && len(hunt) <= fsm.MaxID && len(team) <= fsm.MaxID &&
		m.info.Range.Contains(fsm.SlotOf(hunt, team))
}

// own returns t ready to be written: itself, or, when a Frozen may be reading
// it, its clone, which takes its place. The slices that only grow are shared:
// the frozen team ends where it ended.
func (m *Machine) own(g *game, t *team) *team {
	if t.gen == m.gen {
		return t
	}
	clone := *t
	clone.gen = m.gen
	g.teams.Set(clone.id, &clone)
	return &clone
}
