package cluster

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/fsm/partition"
	"cairn/fsm/wire"
)

// Whether the replicas of a partition have the same state is asked in three
// steps: its leader proposes a Checkpoint; every replica hashes its state behind
// that entry (hasher); who asked collects the hashes from the members of the
// group's configuration, voters or not, and compares them (judge).

const (
	// maxComparing is how many partitions a node compares at once.
	maxComparing = 64
	// answerReserve is left of a request's time to answer it, or a quarter of it if
	// that is less.
	answerReserve = time.Second
	// hashPatience is how long a replica that has no hash yet keeps who asks waiting.
	hashPatience = time.Second
	// unreachableFor is for how long a replica must not have answered to be missing.
	unreachableFor = 2 * time.Second
)

// Comparison is what the replicas of a partition had behind one entry.
type Comparison struct {
	Partition fsm.PartitionID
	Index     uint64        // of the entry
	Replicas  []ReplicaHash // members of the group, in order of node
	Err       error         // nothing was compared, because of this; the two above may be missing
}

// ReplicaHash is one replica's part in a Comparison.
type ReplicaHash struct {
	Node    fsm.NodeID
	Hash    string // SHA-256 of its state, in hex; empty: missing
	Differs bool   // from most of those that have one, or from any if most agree on none
	Missing string // why there is no hash
}

// Agree reports whether there are hashes, and all are equal. What is missing may
// be different all the same.
func (c *Comparison) Agree() bool {
	return c.Err == nil &&
		slices.ContainsFunc(c.Replicas, func(r ReplicaHash) bool { return r.Hash != "" }) && len(c.different()) == 0
}

func (c *Comparison) different() (nodes []fsm.NodeID) {
	for _, r := range c.Replicas {
		if r.Differs {
			nodes = append(nodes, r.Node)
		}
	}
	return nodes
}

// Checkpoint compares the replicas' states of the partitions named, or of all, in
// order of partition. It takes as long as ctx lets it wait for replicas that do
// not answer. Conflict: the cluster's feature level is too low, or NotFound: there
// is no such partition; then nothing was done. What fails of one partition is in
// its Comparison.
func (n *Node) Checkpoint(ctx context.Context, ids []fsm.PartitionID) ([]Comparison, error) {
	if err := n.speaks(ctx, controller.LevelCheckpoint, "checkpoints"); err != nil {
		return nil, err
	}
	st := n.control.state()
	for _, id := range ids {
		if _, ok := st.Partition(id); !ok {
			return nil, fsm.Errorf(fsm.NotFound, "there is no partition %d", id)
		}
	}
	if len(ids) == 0 {
		for _, row := range st.Partitions() {
			ids = append(ids, row.ID)
		}
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		left := time.Until(end)
		ctx, cancel = context.WithTimeout(ctx, left-min(answerReserve, left/4))
		defer cancel()
	}
	out := make([]Comparison, len(ids))
	places := make(chan struct{}, maxComparing)
	var all sync.WaitGroup
	for i, id := range ids {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			out[i] = n.compare(ctx, id)
		})
	}
	all.Wait()
	return out, nil
}

// compare asks one partition.
func (n *Node) compare(ctx context.Context, id fsm.PartitionID) Comparison {
	out := Comparison{Partition: id}
	mark, err := n.mark(ctx, id)
	if err != nil {
		out.Err = err
		return out
	}
	out.Index, out.Replicas = mark.Index, make([]ReplicaHash, len(mark.Members))
	var all sync.WaitGroup
	for i, member := range mark.Members {
		all.Go(func() { out.Replicas[i] = n.hashOf(ctx, id, member, mark.Index) })
	}
	all.Wait()
	slices.SortFunc(out.Replicas, func(a, b ReplicaHash) int { return cmp.Compare(a.Node, b.Node) })
	judge(out.Replicas)
	if nodes := out.different(); len(nodes) > 0 {
		n.conf.Events.Diverged()
		n.log.Error("replicas of a partition have different states", "partition", id, "index", out.Index, "different", nodes, "replicas", out.Replicas)
	}
	return out
}

// judge marks who differs. Whoever has what most have is right; where most agree
// on nothing, nobody can tell who is.
func judge(replicas []ReplicaHash) {
	count, have := map[string]int{}, 0
	for _, r := range replicas {
		if r.Hash != "" {
			count[r.Hash]++
			have++
		}
	}
	for i, r := range replicas {
		replicas[i].Differs = r.Hash != "" && count[r.Hash] <= have/2
	}
}

// mark is a checkpoint's entry, and who was in the group's configuration then.
type mark struct {
	Index   uint64        `json:"index"`
	Members []fsm.Replica `json:"members"`
}

// mark has a partition's leader propose a checkpoint. Proposing it twice does no
// harm: each entry is a checkpoint of its own.
func (n *Node) mark(ctx context.Context, p fsm.PartitionID) (out mark, err error) {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/2) // the rest is for the hashes
		defer cancel()
	}
	take := func(raw []byte) error { return json.Unmarshal(raw, &out) }
	err = n.router.toPartition(ctx, p, call{
		kind: kindCheckpoint,
		local: func(ctx context.Context) error {
			r := n.serving(p)
			if r == nil {
				return &fsm.Error{Kind: fsm.NotLeader}
			}
			raw, err := r.serveCheckpoint(ctx)
			if err != nil {
				return err
			}
			return take(raw)
		},
		decode: take,
	})
	return out, readError(err)
}

// serveCheckpoint proposes a checkpoint as the leader.
func (r *replica) serveCheckpoint(ctx context.Context) ([]byte, error) {
	if err := r.node.speaks(ctx, controller.LevelCheckpoint, "checkpoints"); err != nil {
		return nil, err
	}
	index, res, err := r.queue.DoAt(ctx, &partition.Checkpoint{})
	if err == nil && res.Err != nil {
		err = res.Err
	}
	if err != nil {
		return nil, err
	}
	_ = r.queue.Read(ctx) // with its entry the followers learn at once that the checkpoint's is committed
	conf, err := r.group.Configuration()
	if err != nil {
		return nil, err
	}
	out := mark{Index: index}
	for _, s := range conf.Servers {
		out.Members = append(out.Members, s.Replica)
	}
	return json.Marshal(out)
}

// hashOf asks one member until it has the hash, will never have it, has not
// answered for unreachableFor, or ctx ends.
func (n *Node) hashOf(ctx context.Context, p fsm.PartitionID, member fsm.Replica, index uint64) ReplicaHash {
	out := ReplicaHash{Node: member.Node}
	var w wire.Writer
	w.String(member.String())
	w.Uvarint(index)
	var silent time.Time // since when it has not answered
	for attempt := 0; ; attempt++ {
		var hash stateHash
		var state hashState
		take := func(raw []byte) error {
			r := wire.NewReader(raw)
			state = hashState(r.U8())
			copy(hash[:], r.Bytes(len(hash)))
			return r.Done()
		}
		err := n.router.try(ctx, groupOf(p), member.Node, call{
			kind: kindStateHash, body: w.B, decode: take,
			local: func(ctx context.Context) error {
				raw, err := n.serveStateHash(ctx, p, w.B)
				if err != nil {
					return err
				}
				return take(raw)
			},
		})
		switch {
		case err == nil && state == hashKnown:
			return ReplicaHash{Node: member.Node, Hash: hex.EncodeToString(hash[:])}
		case err == nil && state == hashNone:
			out.Missing = "it did not apply the entry itself: it got a snapshot, or had more checkpoints than it remembers"
			return out
		case err == nil:
			out.Missing, silent = "it has not applied and hashed the entry in time", time.Time{}
		default:
			if out.Missing = err.Error(); unresponsive(err) {
				out.Missing = "it does not answer"
			}
			if silent.IsZero() {
				silent = time.Now()
			}
		}
		if !silent.IsZero() && time.Since(silent) >= unreachableFor || !pause(ctx, attempt) {
			return out
		}
	}
}

// serveStateHash answers with what a replica here has of a checkpoint.
func (n *Node) serveStateHash(ctx context.Context, p fsm.PartitionID, body []byte) ([]byte, error) {
	rd := wire.NewReader(body)
	name, index := rd.String(2*fsm.MaxID), rd.Uvarint()
	if err := rd.Done(); err != nil {
		return nil, err
	}
	r := n.serving(p)
	if r == nil || r.group.Replica().String() != name {
		return nil, fsm.Errorf(fsm.NotFound, "replica %s of partition %d does not run here, or has just started", name, p)
	}
	ctx, cancel := context.WithTimeout(ctx, hashPatience)
	defer cancel()
	var hash stateHash
	state := hashPending
	if r.group.Wait(ctx, index) == nil {
		hash, state = r.machine.hashes.wait(ctx, index)
	}
	var w wire.Writer
	w.U8(uint8(state))
	w.Bytes(hash[:])
	return w.B, nil
}
