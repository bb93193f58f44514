package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"cairn/cluster/group"
	"cairn/fsm"
	"cairn/fsm/partition"
	"cairn/fsm/wire"
)

// forwarder sends commands to the leaders of partitions on other nodes. A call
// carries everything that queued for its partition while the calls before it
// were under way, so calls grow with load as log entries do, and a lone command
// never waits.
//
// Two calls a lane: while the commands of one are being committed, those of the
// next wait in the leader's queue and become its next entry.
type forwarder struct {
	node *Node

	mu    sync.Mutex
	lanes map[lane]*convoy
}

// lane is a partition and the node that is believed to lead it.
type lane struct {
	to fsm.NodeID
	p  fsm.PartitionID
}

// convoy is what waits in a lane. Guarded by the forwarder's mutex.
type convoy struct {
	waiting []*passenger
	calls   int // under way
}

// passenger is one command on its way; done is closed when res and err are set.
type passenger struct {
	body []byte
	done chan struct{}
	res  partition.Result
	err  error
}

const (
	callsPerLane     = 2
	maxConvoy        = 1024      // commands in one call
	maxConvoyBytes   = 1 << 20   // of commands in one call
	maxWaiting       = 16384     // commands waiting in a lane; then Overloaded
	maxForwardedBody = 256 << 10 // bytes of one forwarded command
)

func newForwarder(n *Node) *forwarder { return &forwarder{node: n, lanes: map[lane]*convoy{}} }

// send brings one encoded command to a node and returns the result. Errors are
// those of link.Call, or the leader's for this command.
func (f *forwarder) send(ctx context.Context, to fsm.NodeID, p fsm.PartitionID, body []byte) (partition.Result, error) {
	ride := &passenger{body: body, done: make(chan struct{})}
	l := lane{to, p}
	f.mu.Lock()
	c := f.lanes[l]
	if c == nil {
		c = &convoy{}
		f.lanes[l] = c
	}
	if len(c.waiting) >= maxWaiting {
		f.mu.Unlock()
		return partition.Result{}, &fsm.Error{Kind: fsm.Overloaded, Msg: "too many commands wait for this partition's leader; try again", After: time.Second}
	}
	c.waiting = append(c.waiting, ride)
	drive := c.calls < callsPerLane
	if drive {
		c.calls++
	}
	f.mu.Unlock()
	if drive {
		go f.drive(l, c)
	}
	select {
	case <-ride.done:
		return ride.res, ride.err
	case <-ctx.Done():
		return partition.Result{}, fsm.Errorf(fsm.OutcomeUnknown, "no answer before the deadline; retry with the same key")
	}
}

// drive makes calls until nothing waits in the lane.
func (f *forwarder) drive(l lane, c *convoy) {
	for {
		f.mu.Lock()
		n, size := 0, 0
		for n < len(c.waiting) && n < maxConvoy && (n == 0 || size+len(c.waiting[n].body) <= maxConvoyBytes) {
			size += len(c.waiting[n].body)
			n++
		}
		riders := c.waiting[:n:n]
		c.waiting = c.waiting[n:]
		if n == 0 {
			c.calls--
			if c.calls == 0 {
				delete(f.lanes, l)
			}
		}
		f.mu.Unlock()
		if n == 0 {
			return
		}
		f.call(l, riders, size)
		for _, r := range riders {
			close(r.done)
		}
	}
}

// call sends the commands and hands out the results. An error of the call is
// everybody's: the router of each decides what to do.
func (f *forwarder) call(l lane, riders []*passenger, size int) {
	ctx, cancel := context.WithTimeout(f.node.ctx, attemptTimeout)
	defer cancel()
	w := wire.Writer{B: make([]byte, 0, size+4*len(riders)+8)}
	w.Uvarint(uint64(len(riders)))
	for _, r := range riders {
		w.Bytes(r.body)
	}
	body, err := f.node.link.Call(ctx, l.to, kindCommands, groupOf(l.p), w.B)
	if err == nil {
		err = readResults(body, riders)
	}
	if err != nil {
		for _, r := range riders {
			r.err = err
		}
	}
}

// readResults reads one result for each command, in order. A command that the
// leader could not even propose has its error in there as well.
func readResults(body []byte, riders []*passenger) error {
	rd := wire.NewReader(body)
	for _, r := range riders {
		r.res = partition.ReadResult(rd)
		if r.res.Err != nil {
			r.err = r.res.Err
		}
	}
	return rd.Done()
}

// serveCommands handles the commands of one call as the leader. All of them are
// in the queue before the first is waited for, so they share an entry.
func (r *replica) serveCommands(ctx context.Context, body []byte) ([]byte, error) {
	rd := wire.NewReader(body)
	n := rd.Int(maxConvoy)
	cmds := make([]partition.Command, 0, n)
	for range n {
		cmd, err := partition.DecodeCommand(rd.Bytes(maxForwardedBody))
		if err != nil {
			return nil, fsm.Errorf(fsm.Invalid, "a forwarded command cannot be read: %v", err)
		}
		cmds = append(cmds, cmd)
	}
	if err := rd.Done(); err != nil {
		return nil, err
	}
	if !r.group.Leads() {
		return nil, &fsm.Error{Kind: fsm.NotLeader, Msg: string(r.group.Leader().Node)}
	}
	rides := make([]group.Ride, len(cmds))
	errs := make([]error, len(cmds))
	for i, cmd := range cmds {
		ready, err := r.prepare(ctx, cmd)
		if err == nil {
			rides[i], err = r.queue.Start(ctx, ready)
		}
		errs[i] = err
	}
	var w wire.Writer
	for i, cmd := range cmds {
		var res partition.Result
		if errs[i] == nil {
			res, errs[i] = rides[i].Wait()
		}
		if errs[i] == nil && res.Err != nil && res.Err.Kind == fsm.Stale {
			res, errs[i] = r.lead(ctx, cmd) // matched under another version; again, by itself
		}
		if errs[i] != nil {
			res = partition.Result{Err: asError(errs[i])}
		}
		partition.AppendResult(&w, &res)
	}
	return w.B, nil
}

// asError is err as a value that travels between nodes.
func asError(err error) *fsm.Error {
	if e, ok := errors.AsType[*fsm.Error](err); ok {
		return e
	}
	return &fsm.Error{Kind: fsm.KindOf(err), Msg: err.Error()}
}
