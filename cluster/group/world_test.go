package group

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cairn/fsm"
	"cairn/fsm/wire"
)

var errUnsent = errors.New("nothing was sent")

var discard = slog.New(slog.DiscardHandler)

// world is a network of nodes in memory. All its blocking is on channels and
// timers, so it works inside a synctest bubble.
type world struct {
	mu    sync.Mutex
	nodes map[fsm.NodeID]*Transport
	cut   map[[2]fsm.NodeID]bool // directed
	delay time.Duration          // of every message
	fast  map[fsm.NodeID]func(raft.RPC)

	appends, largest int // messages with entries, and the bytes of the largest
}

func newWorld() *world {
	return &world{
		nodes: map[fsm.NodeID]*Transport{}, cut: map[[2]fsm.NodeID]bool{}, delay: time.Millisecond,
		fast: map[fsm.NodeID]func(raft.RPC){},
	}
}

// end is one node's Link.
type end struct {
	w    *world
	self fsm.NodeID
}

func (w *world) isolate(n fsm.NodeID, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for other := range w.nodes {
		w.cut[[2]fsm.NodeID{n, other}], w.cut[[2]fsm.NodeID{other, n}] = cut, cut
	}
}

func (w *world) reach(from, to fsm.NodeID) (*Transport, func(raft.RPC)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut[[2]fsm.NodeID{from, to}] {
		return nil, nil
	}
	return w.nodes[to], w.fast[to]
}

func (e *end) Call(ctx context.Context, to fsm.NodeID, kind uint8, _ uint32, body []byte) ([]byte, error) {
	time.Sleep(e.w.delay)
	peer, fast := e.w.reach(e.self, to)
	e.w.count(Kind(kind), body)
	if peer == nil {
		return nil, fmt.Errorf("%w: no way from %s to %s", errUnsent, e.self, to)
	}
	answer, err := serveFast(peer, fast, Kind(kind), body)
	if answer == nil && err == nil {
		answer, err = peer.Serve(ctx, e.self, Kind(kind), body)
	}
	time.Sleep(e.w.delay)
	if back, _ := e.w.reach(to, e.self); back == nil {
		return nil, errors.New("the answer was lost")
	}
	return answer, err
}

// count takes a message into the counts.
func (w *world) count(kind Kind, body []byte) {
	r := wire.NewReader(body)
	if e := readEnvelope(r); kind != KindAppend || len(readAppend(r, e).Entries) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.appends++
	w.largest = max(w.largest, len(body))
}

// serveFast handles a heartbeat as raft's own transport does: on the
// connection's goroutine, beside the main loop. Only the negative control of the
// directed test sets it up.
func serveFast(peer *Transport, fast func(raft.RPC), kind Kind, body []byte) ([]byte, error) {
	if fast == nil || kind != KindAppend {
		return nil, nil
	}
	r := wire.NewReader(body)
	e := readEnvelope(r)
	q := readAppend(r, e)
	if q.PrevLogEntry != 0 || len(q.Entries) != 0 || q.LeaderCommitIndex != 0 {
		return nil, nil
	}
	answer := make(chan raft.RPCResponse, 1)
	fast(raft.RPC{Command: q, RespChan: answer})
	var a raft.RPCResponse
	select {
	case a = <-answer:
	case <-peer.ctx.Done(): // raft answers nothing once it stops
		return nil, peer.ctx.Err()
	}
	if a.Error != nil {
		return nil, a.Error
	}
	var w wire.Writer
	peer.envelope(raft.ServerAddress(e.from)).append(&w)
	appendAppendResponse(&w, a.Response.(*raft.AppendEntriesResponse))
	return w.B, nil
}

func (e *end) Stream(_ context.Context, to fsm.NodeID, kind uint8, _ uint32) (net.Conn, error) {
	peer, _ := e.w.reach(e.self, to)
	if peer == nil || Kind(kind) != KindSnapshot {
		return nil, errUnsent
	}
	near, far := net.Pipe()
	go peer.ServeSnapshot(e.self, far)
	return near, nil
}

// counter is a machine that adds up what it is given.
type counter struct {
	mu  sync.Mutex
	sum uint64
	n   int
}

func (c *counter) Apply(_ uint64, entry []byte) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(entry) < 8 { // what follows a number is ballast
		return nil, errors.New("not a number")
	}
	c.sum += binary.LittleEndian.Uint64(entry)
	c.n++
	return c.sum, nil
}

type frozenCounter [16]byte

func (f frozenCounter) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(f[:])
	return int64(n), err
}

func (c *counter) Freeze() io.WriterTo {
	c.mu.Lock()
	defer c.mu.Unlock()
	var f frozenCounter
	binary.LittleEndian.PutUint64(f[:], c.sum)
	binary.LittleEndian.PutUint64(f[8:], uint64(c.n))
	return f
}

func (c *counter) Restore(r io.Reader) error {
	var f frozenCounter
	if _, err := io.ReadFull(r, f[:]); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum, c.n = binary.LittleEndian.Uint64(f[:]), int(binary.LittleEndian.Uint64(f[8:]))
	return nil
}

func (c *counter) total() (sum uint64, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sum, c.n
}

func number(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

// member is a node's replica in a test.
type member struct {
	node  fsm.NodeID
	group *Group
	sums  *counter
	logs  *raft.InmemCommitTrackingStore // offers what Open must not use
	snaps *raft.InmemSnapshotStore
}

// start opens a replica with the given storage.
func (w *world) start(t *testing.T, m *member) {
	t.Helper()
	w.startAs(t, m, fsm.Replica{Node: m.node, Incarnation: 1})
}

func (w *world) startAs(t *testing.T, m *member, name fsm.Replica) {
	t.Helper()
	var err error
	m.group, err = Open(Config{
		ID: 1, Name: "g", Replica: name, Machine: m.sums,
		Logs: m.logs, Stable: m.logs, Snapshots: m.snaps, Link: &end{w, m.node}, Unsent: errUnsent,
		Logger: discard, Fatal: func(err error) { t.Errorf("fatal: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[m.node] = m.group.trans
}

func newMember(n int) *member {
	return &member{
		node: fsm.NodeID(fmt.Sprintf("n%d", n)), sums: &counter{},
		logs: raft.NewInmemCommitTrackingStore(), snaps: raft.NewInmemSnapshotStore(),
	}
}

// three starts a group of three voters: the first bootstraps and adds the others.
func (w *world) three(t *testing.T) []*member {
	t.Helper()
	all := []*member{newMember(0), newMember(1), newMember(2)}
	for _, m := range all {
		w.start(t, m)
	}
	if err := all[0].group.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return all[0].group.Leads() })
	for _, m := range all[1:] {
		if err := all[0].group.AddVoter(m.group.Replica(), 0); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// until polls a condition in virtual time.
func until(t *testing.T, cond func() bool) {
	t.Helper()
	for range 6000 {
		if cond() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the condition did not come true within a minute")
}

func closeAll(t *testing.T, all []*member) {
	t.Helper()
	for _, m := range all {
		if err := m.group.Close(); err != nil {
			t.Error(err)
		}
	}
}

func leaderOf(all []*member, not *member) *member {
	for _, m := range all {
		if m != not && m.group.Leads() {
			return m
		}
	}
	return nil
}
