package faulttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"cairn/fsm"
)

// Cluster is what a workload asks: one node, once, so that nothing hides what it
// answers. Errors carry an *fsm.Error, as those of the Go client do; a node that
// cannot be reached is Unavailable if nothing was sent. Implementations are called by
// many goroutines.
type Cluster interface {
	// Nodes is how many there may be; those that do not run are asked as well.
	Nodes() int
	// Submit sends one answer.
	Submit(ctx context.Context, node int, team fsm.TeamID, clue fsm.ClueID, answer, key string) (Result, error)
	// Team is a default read.
	Team(ctx context.Context, node int, team fsm.TeamID) (State, error)
	// Board is a strong board, whole.
	Board(ctx context.Context, node int) ([]Row, error)
	// Hunt is a default read of the hunt, and Edit a change of it that is made only
	// on top of a version.
	Hunt(ctx context.Context, node int) (version uint64, number int, err error)
	Edit(ctx context.Context, node, number int, onto uint64) (version uint64, err error)
	// Table is the node's own copy.
	Table(ctx context.Context, node int) (Table, error)
	// History is everything that a team submitted, oldest first, by a default read.
	History(ctx context.Context, node int, team fsm.TeamID) ([]Result, error)
	// Hashes are those of all replicas' states, each partition's at one entry of its
	// log. None if the cluster cannot tell.
	Hashes(ctx context.Context, node int) ([]Hash, error)
}

// Workload is what is asked of a cluster. Every client plays for one team at a
// time, some of them for the same one; teams change, so that no history grows too
// long to be judged.
type Workload struct {
	Seed    uint64
	First   int           // number of the first client: those of one run differ
	Clients int           // who play
	PerTeam int           // clients of a team at a time
	Rounds  int           // teams that a client plays for, one after the other
	Round   time.Duration // and for how long
	Pause   time.Duration // of a client between two moves, on average
	Timeout time.Duration // of a call
	Editors int           // clients that edit the hunt: 0 or 1 of a run
}

// part is what the clients of one Run share: the number of the newest document that
// one of them knows of.
type part struct{ number atomic.Int64 }

func (p *part) learn(number int) {
	for {
		if old := p.number.Load(); int64(number) <= old || p.number.CompareAndSwap(old, int64(number)) {
			return
		}
	}
}

// Teams is how many teams play.
func (w Workload) Teams() int { return w.sides() * w.Rounds }

// sides is how many teams play at the same time.
func (w Workload) sides() int { return (w.Clients + w.PerTeam - 1) / w.PerTeam }

// For is how long the workload takes.
func (w Workload) For() time.Duration { return time.Duration(w.Rounds) * w.Round }

// Run plays until the last round is over or ctx ends, and returns when no call is
// under way. The clients of several processes each run a part: clients of First to
// First+n of the same Workload.
func (w Workload) Run(ctx context.Context, c Cluster, log *Log, n int) {
	ctx, cancel := context.WithTimeout(ctx, w.For())
	defer cancel()
	var all sync.WaitGroup
	p := &part{}
	for i := w.First; i < min(w.First+n, w.Clients); i++ {
		all.Go(func() { newClient(w, p, c, log, i).play(ctx) })
	}
	if w.First == 0 {
		for i := range w.Editors {
			all.Go(func() { newClient(w, p, c, log, w.Clients+i).edit(ctx) })
		}
		all.Go(func() { newClient(w, p, c, log, w.Clients+w.Editors).observe(ctx) })
	}
	all.Wait()
}

// client is one who plays, edits, or looks on.
type client struct {
	Workload
	*part
	cluster Cluster
	log     *Log
	id      int
	rng     *rand.Rand
	begin   time.Duration
}

func newClient(w Workload, p *part, c Cluster, log *Log, id int) *client {
	return &client{Workload: w, part: p, cluster: c, log: log, id: id, rng: rand.New(rand.NewPCG(w.Seed, uint64(id))), begin: log.Now()}
}

// wait pauses between half and one and a half of d; false when ctx ends.
func (c *client) wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d/2 + time.Duration(c.rng.Int64N(int64(d)))):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func (c *client) play(ctx context.Context) {
	for n := 0; c.wait(ctx, c.Pause); n++ {
		round := min(int((c.log.Now()-c.begin)/c.Round), c.Rounds-1)
		team := TeamID(round*c.sides() + c.id/c.PerTeam)
		switch r := c.rng.IntN(100); {
		case r < 3:
			c.call(Op{Kind: ReadBoard, Node: c.node()}, c.board)
		case r < 5:
			c.readHunt()
		case r < 28:
			c.call(Op{Kind: ReadTeam, Node: c.node(), Team: team}, c.team)
		default:
			c.submit(team, n)
		}
	}
}

func (c *client) node() int { return c.rng.IntN(c.cluster.Nodes()) }

// submit sends one answer one to five times, through several nodes: again after it
// did not hear of the first one, again though it did, and twice at once.
func (c *client) submit(team fsm.TeamID, n int) {
	clue := c.rng.IntN(clues)
	op := Op{
		Kind: Submit, Team: team, Clue: clueIDs[clue], Key: fmt.Sprintf("c%d-%d", c.id, n),
		Answer: guess(c.rng, clue, int(c.number.Load())),
	}
	copies := 1
	if c.rng.IntN(5) == 0 {
		copies = 1 + c.rng.IntN(5)
	}
	if copies > 1 && c.rng.IntN(2) == 0 { // the first two at once
		var both sync.WaitGroup
		for _, node := range []int{c.node(), c.node()} {
			both.Go(func() { c.attempt(op, node) })
		}
		both.Wait()
		copies -= 2
	}
	for ; copies > 0; copies-- {
		if c.attempt(op, c.node()) == Unknown && copies == 1 && c.rng.IntN(3) > 0 {
			copies++ // as a user would
		}
	}
}

func (c *client) attempt(op Op, node int) Outcome {
	op.Node = node
	return c.call(op, func(ctx context.Context, op *Op) error {
		r, err := c.cluster.Submit(ctx, op.Node, op.Team, op.Clue, op.Answer, op.Key)
		if err == nil {
			op.Result = &r
		}
		return err
	})
}

func (c *client) team(ctx context.Context, op *Op) error {
	s, err := c.cluster.Team(ctx, op.Node, op.Team)
	op.State = &s
	return err
}

func (c *client) board(ctx context.Context, op *Op) (err error) {
	op.Board, err = c.cluster.Board(ctx, op.Node)
	return err
}

// call makes one call, writes it down, and returns its outcome.
func (c *client) call(op Op, do func(context.Context, *Op) error) Outcome {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout) // what has begun is seen through
	defer cancel()
	op.Client, op.Call = c.id, c.log.Now()
	err := do(ctx, &op)
	op.Return = c.log.Now()
	if op.Outcome, op.Code = OutcomeOf(err); err != nil {
		op.Text, op.State = err.Error(), nil
	}
	c.log.Add(op)
	return op.Outcome
}

// editEvery is the mean time between two edits of the document.
const editEvery = 4 * time.Second

// readHunt returns the hunt's version, 0 if it is not told.
func (c *client) readHunt() (version uint64) {
	c.call(Op{Kind: ReadHunt, Node: c.node()}, func(ctx context.Context, op *Op) (err error) {
		op.Version, op.Number, err = c.cluster.Hunt(ctx, op.Node)
		if err == nil {
			version = op.Version
			c.learn(op.Number)
		}
		return err
	})
	return version
}

// edit changes the hunt, again and again.
func (c *client) edit(ctx context.Context) {
	for number := 1; c.wait(ctx, editEvery); {
		onto := c.readHunt()
		if onto == 0 {
			continue
		}
		// A document is tried once: who reads it knows that this call made it.
		op := Op{Kind: Edit, Node: c.node(), Number: number}
		number++
		c.call(op, func(ctx context.Context, op *Op) (err error) {
			op.Version, err = c.cluster.Edit(ctx, op.Node, op.Number, onto)
			if err == nil {
				c.learn(op.Number)
			}
			return err
		})
	}
}

// observe looks at every node's table.
func (c *client) observe(ctx context.Context) {
	for c.wait(ctx, time.Second/2) {
		for node := range c.cluster.Nodes() {
			c.call(Op{Kind: ReadTable, Node: node}, func(ctx context.Context, op *Op) error {
				t, err := c.cluster.Table(ctx, op.Node)
				if err == nil {
					op.Table = &t
				}
				return err
			})
		}
	}
}

// Audit reads, through each of some nodes, everything that the checkers compare
// with what clients were told. It tries until ctx ends; what could not be read is
// missing from the history, which Check does not forgive.
func (w Workload) Audit(ctx context.Context, cluster Cluster, log *Log, nodes []int) {
	c := newClient(w, &part{}, cluster, log, w.Clients+w.Editors+1)
	var all sync.WaitGroup
	for _, node := range nodes {
		all.Go(func() {
			for team := range w.Teams() {
				c.insist(ctx, Op{Kind: History, Node: node, Team: TeamID(team)}, func(ctx context.Context, op *Op) (err error) {
					op.Results, err = cluster.History(ctx, op.Node, op.Team)
					return err
				})
			}
			c.insist(ctx, Op{Kind: FinalBoard, Node: node}, c.board)
		})
	}
	all.Wait()
	c.insist(ctx, Op{Kind: Hashes, Node: slices.Min(nodes)}, func(ctx context.Context, op *Op) (err error) {
		op.Hashes, err = cluster.Hashes(ctx, op.Node)
		return err
	})
}

// insist calls until it succeeds; only then it is written down.
func (c *client) insist(ctx context.Context, op Op, do func(context.Context, *Op) error) {
	op.Client = c.id
	for {
		op.Call = c.log.Now()
		call, cancel := context.WithTimeout(ctx, c.Timeout)
		err := do(call, &op)
		cancel()
		if err == nil {
			op.Return, op.Outcome = c.log.Now(), OK
			c.log.Add(op)
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			op.Return, op.Outcome, op.Text = c.log.Now(), Unknown, op.Text+err.Error()
			c.log.Add(op)
			return
		}
	}
}

// String is the workload on one line, for reports.
func (w Workload) String() string {
	return strconv.Itoa(w.Clients) + " clients, " + strconv.Itoa(w.Teams()) + " teams, " + w.For().String()
}
