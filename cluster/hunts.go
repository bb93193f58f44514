package cluster

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/fsm/controller"
	"cairn/fsm/partition"
)

// compiled is one version of a hunt, ready to judge with.
type compiled struct {
	entry    controller.Hunt
	json     []byte // the document
	document *hunt.Document
	matcher  *hunt.Matcher
	rules    []byte // partition.Rules, encoded
}

// huntCache keeps compiled hunts: compiling costs milliseconds, and every
// submission needs one.
type huntCache struct {
	mu    sync.Mutex
	hunts map[fsm.Incarnation]*compiled // the newest version asked for
}

// maxCompiled bounds the cache; beyond it an arbitrary hunt is compiled again
// when it is asked for.
const maxCompiled = 256

func newHuntCache() *huntCache { return &huntCache{hunts: map[fsm.Incarnation]*compiled{}} }

func (c *huntCache) get(st *controller.State, h controller.Hunt) (*compiled, error) {
	c.mu.Lock()
	have := c.hunts[h.Incarnation]
	c.mu.Unlock()
	if have != nil && have.entry.Version == h.Version {
		return have, nil
	}
	made, err := compile(st, h)
	if err != nil {
		return nil, fmt.Errorf("compile version %d of hunt %s: %w", h.Version, h.ID, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.hunts[h.Incarnation]; have != nil && have.entry.Version > h.Version {
		return made, nil // an older state asked; keep the newer
	}
	for inc := range c.hunts {
		if len(c.hunts) < maxCompiled {
			break
		}
		delete(c.hunts, inc)
	}
	c.hunts[h.Incarnation] = made
	return made, nil
}

func compile(st *controller.State, h controller.Hunt) (*compiled, error) {
	stored, ok := st.Document(h.Hash)
	if !ok {
		return nil, errors.New("its document is not in the catalogue")
	}
	raw, err := inflate(stored)
	if err != nil {
		return nil, err
	}
	doc, err := hunt.Parse(raw)
	if err != nil {
		return nil, err
	}
	state, ok := hunt.ParseState(h.State)
	if !ok {
		return nil, fmt.Errorf("unknown state %q", h.State)
	}
	rules, err := doc.Rules(state)
	if err != nil {
		return nil, err
	}
	return &compiled{entry: h, json: raw, document: doc, matcher: hunt.NewMatcher(doc), rules: rules.Encode()}, nil
}

func (c *compiled) info() *HuntInfo { return &HuntInfo{Hunt: c.entry, Document: c.json} }

// maxInflated bounds a document read from the catalogue.
const maxInflated = 20 << 20

func deflate(raw []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(raw); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}

func inflate(stored []byte) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(stored)), maxInflated+1))
	if err == nil && len(raw) > maxInflated {
		err = fmt.Errorf("a document of more than %d bytes", maxInflated)
	}
	return raw, err
}

// upload puts a document into the catalogue's store, chunk by chunk, and returns
// its hash. Chunks that are there already (an earlier try) are sent again, which
// changes nothing.
func (n *Node) upload(ctx context.Context, raw []byte) ([32]byte, error) {
	stored, err := deflate(raw)
	if err != nil {
		return [32]byte{}, err
	}
	hash := sha256.Sum256(stored)
	if _, ok := n.control.state().Document(hash); ok {
		return hash, nil
	}
	for off := 0; off < len(stored); {
		end := min(off+controller.MaxChunk, len(stored))
		_, err := n.control.propose(ctx, &controller.PutChunk{Hash: hash, Total: len(stored), Off: off, Data: stored[off:end]})
		if err != nil {
			return hash, err
		}
		off = end
	}
	return hash, nil
}

// hunt returns the compiled present version of a hunt. A hunt that the local
// catalogue lacks, or has only in an older incarnation than inc (0: any), is
// asked of the controller before NotFound is answered.
func (n *Node) hunt(ctx context.Context, id fsm.HuntID, inc fsm.Incarnation) (*compiled, error) {
	for synced := false; ; synced = true {
		st := n.control.state()
		h, ok := st.Hunt(id)
		if ok && (inc == 0 || h.Incarnation == inc) {
			return n.hunts.get(st, h)
		}
		if synced || ok && h.Incarnation > inc {
			return nil, fsm.Errorf(fsm.NotFound, "no hunt %s", id)
		}
		if err := n.control.catchUp(ctx); err != nil {
			return nil, err
		}
	}
}

// allPartitions runs f for every partition at once and returns the first error.
func (n *Node) allPartitions(ctx context.Context, f func(p fsm.PartitionID) error) error {
	st, err := n.table(ctx)
	if err != nil {
		return err
	}
	rows := st.Partitions()
	errs := make([]error, len(rows))
	var all sync.WaitGroup
	for i, row := range rows {
		all.Go(func() { errs[i] = f(row.ID) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// install brings the present version of a hunt into this partition, as its
// leader, unless it is there.
func (r *replica) install(ctx context.Context, c *compiled) error {
	if r.installed(c.entry.ID, c.entry.Incarnation) >= c.entry.Version {
		return nil
	}
	select {
	case r.installing <- struct{}{}:
		defer func() { <-r.installing }()
	case <-ctx.Done(): // while whoever installs it waits for a quorum
		return &fsm.Error{Kind: fsm.Unavailable, Msg: "the hunt's present version is not in this partition yet; nothing was done", After: time.Second}
	}
	if r.installed(c.entry.ID, c.entry.Incarnation) >= c.entry.Version {
		return nil
	}
	res, err := r.queue.Do(ctx, &partition.InstallHunt{
		Hunt: c.entry.ID, Incarnation: c.entry.Incarnation, Version: c.entry.Version, Rules: c.rules,
	})
	if err != nil {
		return err
	}
	if res.Err != nil && res.Err.Kind != fsm.Stale { // Stale: a newer version is there already
		return res.Err
	}
	return nil
}

// installed is the version of a hunt in this partition; 0: none of this incarnation.
func (r *replica) installed(id fsm.HuntID, inc fsm.Incarnation) (version uint64) {
	r.machine.read(func(m *partition.Machine) {
		if in, ok := m.Installed(id); ok && in.Incarnation == inc && !in.Deleted {
			version = in.Version
		}
	})
	return version
}
