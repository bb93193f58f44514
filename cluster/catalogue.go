package cluster

import (
	"context"
	"errors"
	"time"

	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/fsm/partition"
	"cairn/fsm/wire"
)

// CreateHunt puts a hunt into the catalogue. Partitions learn of it when they
// are first asked about it.
func (n *Node) CreateHunt(ctx context.Context, document []byte) (*HuntInfo, bool, error) {
	doc, err := hunt.Parse(document)
	if err != nil {
		return nil, false, err
	}
	if err := checkRules(doc); err != nil {
		return nil, false, err
	}
	hash, err := n.upload(ctx, doc.JSON())
	if err != nil {
		return nil, false, err
	}
	res, err := n.control.propose(ctx, &controller.CreateHunt{Now: n.now(), Hunt: doc.ID, Hash: hash, State: doc.State})
	if err != nil {
		return nil, false, err
	}
	c, err := n.hunt(ctx, doc.ID, res.Hunt.Incarnation)
	if err != nil {
		return nil, false, err
	}
	return c.info(), res.Created, nil
}

// checkRules refuses, when a hunt is posted, what no partition could install.
func checkRules(doc *hunt.Document) error {
	_, err := doc.Rules(partition.Open)
	return err
}

// now is the time by this node's wall clock.
func (n *Node) now() fsm.Time { return fsm.TimeOf(n.conf.Now()) }

// Hunt returns a hunt of the catalogue.
func (n *Node) Hunt(ctx context.Context, id fsm.HuntID) (*HuntInfo, error) {
	c, err := n.hunt(ctx, id, 0)
	if err != nil {
		return nil, err
	}
	return c.info(), nil
}

// FreshHunt returns a hunt as of now: Hunt may answer from a copy that is behind.
func (n *Node) FreshHunt(ctx context.Context, id fsm.HuntID) (*HuntInfo, error) {
	if err := n.control.catchUp(ctx); err != nil {
		return nil, err
	}
	return n.Hunt(ctx, id)
}

// Hunts returns the whole catalogue, by id, as of now.
func (n *Node) Hunts(ctx context.Context) ([]HuntInfo, error) {
	if err := n.control.catchUp(ctx); err != nil {
		return nil, err
	}
	st := n.control.state()
	var out []HuntInfo
	for _, h := range st.Hunts() {
		c, err := n.hunts.get(st, h)
		if err != nil {
			return nil, err
		}
		out = append(out, *c.info())
	}
	return out, nil
}

// PutHunt replaces a hunt's document and returns when every partition judges
// under the new version.
func (n *Node) PutHunt(ctx context.Context, id fsm.HuntID, ifVersion uint64, document []byte) (*HuntInfo, error) {
	doc, err := hunt.Parse(document)
	if err != nil {
		return nil, err
	}
	if doc.ID != id {
		return nil, fsm.Errorf(fsm.Invalid, "the document's id is %s: a hunt's id cannot change", doc.ID)
	}
	if err := checkRules(doc); err != nil {
		return nil, err
	}
	hash, err := n.upload(ctx, doc.JSON())
	if err != nil {
		return nil, err
	}
	res, err := n.control.propose(ctx, &controller.PutHunt{Now: n.now(), Hunt: id, IfVersion: ifVersion, Hash: hash})
	if err != nil {
		// A first try whose answer was lost may have done it.
		if h, ok := n.control.state().Hunt(id); !ok || fsm.KindOf(err) != fsm.PreconditionFailed ||
			h.Version != ifVersion+1 || h.Hash != hash {
			return nil, err
		}
	}
	if res.Hunt == nil {
		h, _ := n.control.state().Hunt(id)
		res.Hunt = &h
	}
	return n.ensured(ctx, *res.Hunt)
}

// SetHuntState turns the organiser's switch and returns when every partition
// has applied it.
func (n *Node) SetHuntState(ctx context.Context, id fsm.HuntID, state, reason string) (*HuntInfo, error) {
	if _, ok := hunt.ParseState(state); !ok {
		return nil, fsm.Errorf(fsm.Invalid, "state %q is not one of draft, open, paused, closed", state)
	}
	if _, err := n.hunt(ctx, id, 0); err != nil {
		return nil, err
	}
	res, err := n.control.propose(ctx, &controller.SetHuntState{Now: n.now(), Hunt: id, State: state, Reason: reason})
	if err != nil {
		return nil, err
	}
	return n.ensured(ctx, *res.Hunt)
}

// ensured returns a hunt once every partition has applied its version.
func (n *Node) ensured(ctx context.Context, h controller.Hunt) (*HuntInfo, error) {
	if err := n.ensure(ctx, h, false); err != nil {
		return nil, err
	}
	c, err := n.hunt(ctx, h.ID, h.Incarnation)
	if err != nil {
		return nil, err
	}
	return c.info(), nil
}

// DeleteHunt removes a hunt with all team state and returns when it is gone
// from every partition.
func (n *Node) DeleteHunt(ctx context.Context, id fsm.HuntID) error {
	c, err := n.hunt(ctx, id, 0)
	if err != nil {
		return err
	}
	// The incarnation makes a retry safe: it never deletes the id's next life.
	res, err := n.control.propose(ctx, &controller.DeleteHunt{Now: n.now(), Hunt: id, Incarnation: c.entry.Incarnation})
	if err != nil {
		return err
	}
	return n.ensure(ctx, *res.Hunt, true)
}

// ensure asks every partition to apply a hunt's version, or its deletion, and
// returns when all have. If one cannot confirm by the deadline the error is
// OutcomeUnknown: the change is committed, and the partition's leader will find
// it in the catalogue and complete it by itself, see complete.
func (n *Node) ensure(ctx context.Context, h controller.Hunt, deleted bool) error {
	var w wire.Writer
	w.String(string(h.ID))
	w.Uvarint(uint64(h.Incarnation))
	w.Uvarint(h.Version)
	w.Bool(deleted)
	err := n.allPartitions(ctx, func(p fsm.PartitionID) error {
		return n.router.toPartition(ctx, p, call{
			kind: kindEnsure, body: w.B,
			local: func(ctx context.Context) error {
				r := n.serving(p)
				if r == nil {
					return &fsm.Error{Kind: fsm.NotLeader}
				}
				_, err := r.serveEnsure(ctx, w.B)
				return err
			},
			decode: func([]byte) error { return nil },
		})
	})
	if k := fsm.KindOf(err); err != nil && (k == fsm.Unavailable || k == fsm.OutcomeUnknown || k == fsm.Overloaded) {
		return fsm.Errorf(fsm.OutcomeUnknown, "the change is accepted, but not every partition could confirm it in time; "+
			"it completes by itself, and repeating the request waits for it")
	}
	return err
}

// serveEnsure applies a hunt's version, or deletion, as the partition's leader.
func (r *replica) serveEnsure(ctx context.Context, body []byte) ([]byte, error) {
	rd := wire.NewReader(body)
	id, inc := fsm.HuntID(rd.String(fsm.MaxID)), fsm.Incarnation(rd.Uvarint())
	version, deleted := rd.Uvarint(), rd.Bool()
	if err := rd.Done(); err != nil {
		return nil, err
	}
	if !r.group.Leads() {
		return nil, &fsm.Error{Kind: fsm.NotLeader, Msg: string(r.group.Leader().Node)}
	}
	if deleted {
		return nil, r.delete(ctx, id, inc)
	}
	for {
		c, err := r.node.hunt(ctx, id, inc)
		if err != nil {
			return nil, err
		}
		if c.entry.Version < version { // this node's catalogue is behind
			if err := r.node.control.catchUp(ctx); err != nil {
				return nil, err
			}
			continue
		}
		if r.installed(id, inc) >= version {
			// It is in this state, but is this the leader's? Ride the log once.
			return nil, r.queue.Read(ctx)
		}
		return nil, r.install(ctx, c)
	}
}

func (r *replica) delete(ctx context.Context, id fsm.HuntID, inc fsm.Incarnation) error {
	res, err := r.queue.Do(ctx, &partition.DeleteHunt{Hunt: id, Incarnation: inc})
	if err == nil && res.Err != nil {
		err = res.Err
	}
	return err
}

const completeEvery = 2 * time.Second

// complete finishes changes that a request could not see through: the leader of
// each partition brings the hunts it has to the catalogue's version, and the
// controller's leader forgets a deleted hunt once no partition has it.
func (n *Node) complete() {
	tick := time.NewTicker(completeEvery)
	defer tick.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
		st := n.control.state()
		for _, r := range n.replicas.all() {
			if r.group.Leads() {
				r.completeHunts(st)
			}
		}
		if n.control.group.Leads() {
			for _, h := range st.Deleted() {
				n.forgetDeleted(h)
			}
		}
	}
}

func (r *replica) completeHunts(st *controller.State) {
	ctx, cancel := context.WithTimeout(r.node.ctx, attemptTimeout)
	defer cancel()
	for _, h := range st.Hunts() {
		v := r.installed(h.ID, h.Incarnation)
		if v == 0 || v >= h.Version { // never asked for here, or as it should be
			continue
		}
		c, err := r.node.hunts.get(st, h)
		if err == nil {
			err = r.install(ctx, c)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			r.node.log.Warn("installing a hunt's new version failed, trying again", "hunt", h.ID, "partition", r.id, "err", err)
		}
	}
	for _, h := range st.Deleted() {
		if r.installed(h.ID, h.Incarnation) != 0 {
			if err := r.delete(ctx, h.ID, h.Incarnation); err != nil {
				r.node.log.Warn("deleting a hunt failed, trying again", "hunt", h.ID, "partition", r.id, "err", err)
			}
		}
	}
}

func (n *Node) forgetDeleted(h controller.Hunt) {
	ctx, cancel := context.WithTimeout(n.ctx, attemptTimeout)
	defer cancel()
	if n.ensure(ctx, h, true) == nil {
		n.control.propose(ctx, &controller.ForgetDeleted{Incarnation: h.Incarnation}) // tried again with the next tick
	}
}
