package cluster

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"cairn/cluster/group"
	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/fsm/wire"
)

// controllerGroup is the controller's group id; partition p is group p+1.
const controllerGroup uint32 = 0

func groupOf(p fsm.PartitionID) uint32 { return uint32(p) + 1 }

// controlMachine adapts the controller's machine to a group. The machine is
// replaced by Restore, so it stands behind a pointer.
type controlMachine struct {
	m       atomic.Pointer[controller.Machine]
	changed func() // called after every change, must not block
}

func newControlMachine(changed func()) *controlMachine {
	c := &controlMachine{changed: changed}
	c.m.Store(controller.New())
	return c
}

func (c *controlMachine) Apply(_ uint64, entry []byte) (any, error) {
	res, err := c.m.Load().Apply(entry)
	if res.Changed {
		c.changed()
	}
	return res, err
}

func (c *controlMachine) Freeze() io.WriterTo { return c.m.Load().State() }

func (c *controlMachine) Restore(r io.Reader) error {
	m, err := controller.Restore(r)
	if err != nil {
		return err
	}
	c.m.Store(m)
	c.changed()
	return nil
}

// control is this node's part in the controller group.
type control struct {
	node    *Node
	group   *group.Group
	machine *controlMachine
	nudge   chan struct{}

	syncMu sync.Mutex
	sync   *syncRound // the round that the next caller of catchUp joins
	asked  time.Time  // when the last round asked
}

// syncGap bounds how often this node asks: every question is an entry in the
// controller's log, and all who come within the gap share one.
const syncGap = 10 * time.Millisecond

// syncRound is one question to the controller's leader, shared by all who asked
// before it was sent.
type syncRound struct {
	done chan struct{}
	err  error
}

// state is this node's copy of the controller's state: maybe behind, see catchUp.
func (c *control) state() *controller.State { return c.machine.m.Load().State() }

// lead proposes a command as the controller's leader.
func (c *control) lead(cmd controller.Command) (uint64, controller.Result, error) {
	return c.leadEntry(controller.Encode(cmd))
}

func (c *control) leadEntry(entry []byte) (uint64, controller.Result, error) {
	index, out, err := c.group.Propose(entry)
	if err != nil {
		return 0, controller.Result{}, err
	}
	c.pokeNudge()
	return index, out.(controller.Result), nil
}

func (c *control) pokeNudge() {
	select {
	case c.nudge <- struct{}{}:
	default:
	}
}

// nudgeLoop follows every change with an empty entry. A follower learns that an
// entry is committed with the next append, which an idle leader sends only after
// commitTimeout; with the nudge every member has the change within a round trip.
func (c *control) nudgeLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.nudge:
			c.group.Propose(nil) // only for its append
		}
	}
}

// propose has the controller's leader, wherever it is, commit a command, and
// returns once this node has applied it too. Every command is safe to repeat, so
// retries go on until ctx ends; then the error is Unavailable if nothing was
// sent, OutcomeUnknown otherwise.
func (c *control) propose(ctx context.Context, cmd controller.Command) (controller.Result, error) {
	index, res, err := c.commit(ctx, cmd)
	if err != nil {
		return res, err
	}
	return res, c.group.Wait(ctx, index)
}

// commit is propose for a node that may not hear from the leader yet.
func (c *control) commit(ctx context.Context, cmd controller.Command) (index uint64, res controller.Result, err error) {
	entry := controller.Encode(cmd)
	err = c.node.router.toController(ctx, call{
		kind: kindControl,
		body: entry,
		local: func(context.Context) (err error) {
			index, res, err = c.leadEntry(entry)
			return err
		},
		decode: func(body []byte) error {
			r := wire.NewReader(body)
			index, res = r.Uvarint(), controller.ReadResult(r)
			return r.Done()
		},
	})
	if err == nil && res.Err != nil {
		err = res.Err
	}
	return index, res, err
}

// catchUp returns once this node's copy of the state includes everything that was
// acknowledged anywhere before the call. Callers share rounds: one that starts
// after them serves them all.
func (c *control) catchUp(ctx context.Context) error {
	c.syncMu.Lock()
	round := c.sync
	if round == nil {
		round = &syncRound{done: make(chan struct{})}
		c.sync = round
		go c.runSync(round)
	}
	c.syncMu.Unlock()
	select {
	case <-round.done:
		return round.err
	case <-ctx.Done():
		return fsm.Errorf(fsm.Unavailable, "the controller did not answer in time; nothing was done")
	}
}

// runSync asks once. It closes the round to newcomers before it asks: an answer
// proves nothing to who comes later.
func (c *control) runSync(round *syncRound) {
	ctx, cancel := context.WithTimeout(c.node.ctx, syncTimeout)
	defer cancel()
	c.syncMu.Lock()
	wait := time.Until(c.asked.Add(syncGap))
	c.syncMu.Unlock()
	if wait > 0 {
		time.Sleep(wait) // others join this round meanwhile
	}
	c.syncMu.Lock()
	c.sync, c.asked = nil, time.Now()
	c.syncMu.Unlock()
	var index uint64
	round.err = c.node.router.toController(ctx, call{
		kind:  kindControlSync,
		local: func(context.Context) (err error) { index, err = c.leadSync(); return err },
		decode: func(body []byte) error {
			r := wire.NewReader(body)
			index = r.Uvarint()
			return r.Done()
		},
	})
	if round.err == nil {
		round.err = c.group.Wait(ctx, index)
	}
	if errors.Is(round.err, context.DeadlineExceeded) || errors.Is(round.err, context.Canceled) {
		round.err = fsm.Errorf(fsm.Unavailable, "the controller did not answer in time; nothing was done")
	}
	close(round.done)
}

// leadSync commits an empty entry, proposed after the question arrived: its
// index is one that includes everything acknowledged before.
func (c *control) leadSync() (uint64, error) {
	index, _, err := c.group.Propose(nil)
	if err == nil {
		c.pokeNudge()
	}
	return index, err
}

// serveControl and serveControlSync answer other nodes, as the leader.
func (n *Node) serveControl(entry []byte) ([]byte, error) {
	if !n.control.group.Leads() {
		return nil, n.controllerElsewhere()
	}
	index, res, err := n.control.leadEntry(append([]byte(nil), entry...)) // the log keeps it
	if err != nil {
		return nil, err
	}
	var w wire.Writer
	w.Uvarint(index)
	controller.AppendResult(&w, &res)
	return w.B, nil
}

func (n *Node) serveControlSync() ([]byte, error) {
	if !n.control.group.Leads() {
		return nil, n.controllerElsewhere()
	}
	index, err := n.control.leadSync()
	var w wire.Writer
	w.Uvarint(index)
	return w.B, err
}
