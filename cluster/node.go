package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"cairn/cluster/admit"
	"cairn/cluster/group"
	"cairn/cluster/link"
	"cairn/fsm"
	"cairn/store"
)

// Node is one running member of a cluster.
//
//	requests --> router --+--> replicas (partition groups led here) --> store
//	                      +--> link --> the leader's node
//	control (controller group) --> members, table, catalogue, tokens
//	keeper: what the state wishes of this node --> replicas started and dropped
//	reconciler: what the table wishes of groups led here --> one step at a time
//	reports: what this node knows --> the controller's leader
type Node struct {
	conf Config
	id   *identity
	log  *slog.Logger

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	link     *link.Link
	book     *book
	router   *router
	peers    peers
	forward  *forwarder
	gate     *admit.Gate
	control  *control
	replicas *replicas
	hunts    *huntCache
	reports  *reports
	watcher  *watcher
	failover *failover
	keys     atomic.Pointer[secrets]
	stopping atomic.Bool
	anew     sync.Once     // see succeeded
	caughtUp atomic.Bool   // the controller's state was current once since the start, see serving
	moved    chan struct{} // the controller's state changed; cap 1

	disk diskProbe

	handMu    sync.Mutex
	handedAny time.Time         // when this node last handed a group over, see awaitTransfer
	handed    map[uint32]handed // and each of them
}

// Founded is what founding a cluster yields: the only time the tokens are told.
type Founded struct {
	Cluster    string
	AdminToken string
	JoinToken  string
}

// Open starts a node. On an empty directory it founds a cluster, or joins one
// if Config.Join says so, retrying until ctx ends; otherwise it goes on as the
// member it was. tell is called with the tokens of a new cluster: if it fails or
// the process ends before it returns, the next start makes new tokens and tells
// them.
func Open(ctx context.Context, conf Config, tell func(Founded) error) (*Node, error) {
	conf = conf.WithDefaults()
	if err := conf.Validate(); err != nil {
		return nil, err
	}
	n := &Node{conf: conf, log: conf.Logger, moved: make(chan struct{}, 1), handed: map[uint32]handed{}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.start(ctx, tell); err != nil {
		n.stop()
		conf.Listener.Close() // the link's, once there is one
		return nil, err
	}
	return n, nil
}

func (n *Node) start(ctx context.Context, tell func(Founded) error) (err error) {
	if n.book, err = openBook(n.conf.Dir); err != nil {
		return fmt.Errorf("read the members' addresses: %w", err)
	}
	if n.id, err = n.establish(ctx); err != nil {
		return err
	}
	n.log = n.log.With("node", n.conf.Name)
	n.router, n.forward, n.hunts = newRouter(n), newForwarder(n), newHuntCache()
	n.gate, n.peers = admit.New(n.conf.Events.Refused), n.newPeers()
	n.reports, n.watcher, n.failover = newReports(n), &watcher{node: n}, newFailover(n)
	if n.replicas, err = newReplicas(n); err != nil {
		return err
	}
	if n.link, err = link.New(link.Config{
		Credentials: n.id.credentials(), Listener: n.conf.Listener, Dial: n.conf.Dial, Resolve: n.book.resolve,
		Handle: n.handle, HandleStream: n.handleStream, Join: n.handleJoin, Member: n.book.member,
		Events: n.linkEvents(),
	}); err != nil {
		return fmt.Errorf("open the node port: %w", err)
	}
	if err := n.openControl(ctx); err != nil {
		return err
	}
	n.goes(func() { // from here on others are answered
		if err := n.link.Serve(); err != nil {
			n.conf.Fatal(fmt.Errorf("the node port failed: %w", err))
		}
	})
	if err := n.replicas.openLocal(); err != nil {
		return err
	}
	n.failover.begin()
	n.goes(func() { n.control.nudgeLoop(n.ctx) })
	n.goes(n.keep)
	n.goes(n.reconcile)
	n.goes(n.place)
	n.goes(n.complete)
	n.goes(n.reports.send)
	n.goes(n.watcher.run)
	n.goes(func() { n.reports.stall.run(n.ctx) })
	n.goes(n.depart)
	if n.id.Founding {
		return n.found(ctx, tell)
	}
	return nil
}

// goes runs f as a goroutine that stop waits for.
func (n *Node) goes(f func()) {
	n.running.Add(1)
	go func() {
		defer n.running.Done()
		f()
	}()
}

// openControl opens this node's replica of the controller group.
func (n *Node) openControl(ctx context.Context) error {
	if n.id.Resuming > 0 {
		return errors.New("the recovery of the controller from this node's copy was not completed: run \"cairn operator raft recover --accept-loss\" on this directory again")
	}
	if err := n.finishRenewal(); err != nil {
		return err
	}
	if n.id.Renew > 0 {
		if err := n.renewController(ctx, errSucceeded); err != nil {
			return err
		}
	}
	st, snaps, err := n.openControlStorage()
	if errors.Is(err, store.ErrDamaged) {
		if err := n.renewController(ctx, err); err != nil {
			return err
		}
		st, snaps, err = n.openControlStorage()
	}
	if err != nil {
		return err
	}
	c := &control{node: n, machine: newControlMachine(n.pokeMoved), nudge: make(chan struct{}, 1)}
	c.group, err = group.Open(group.Config{
		ID: controllerGroup, Name: "controller", Replica: n.id.replica(), Machine: c.machine,
		Logs: st, Stable: st, Snapshots: snaps, Link: n.link, Unsent: link.ErrUnsent,
		Timing: n.conf.Timing, Now: n.conf.Now, Logger: n.log, Fatal: n.conf.Fatal, Succeeded: n.succeeded,
		OnLeader:     func(leads bool) { n.leaderChanged("controller", leads); n.pokeMoved() },
		SnapshotTook: func(d time.Duration) { n.conf.Events.SnapshotTook("controller", d) },
	})
	if err != nil {
		return err
	}
	n.control = c
	if n.id.Founding {
		return c.group.Bootstrap()
	}
	return nil
}

func (n *Node) openControlStorage() (*store.ControllerStore, *store.Snapshots, error) {
	st, err := n.conf.Dir.OpenController(n.id.replica().String())
	if err != nil {
		return nil, nil, fmt.Errorf("open the controller's log: %w", err)
	}
	snaps, err := n.conf.Dir.Snapshots("controller")
	if err != nil {
		return nil, nil, fmt.Errorf("open the controller's snapshots: %w", err)
	}
	return st, snaps, verifyStorage(st, snaps)
}

func (n *Node) leaderChanged(group string, leads bool) {
	n.log.Info("leadership changed", "group", group, "leads", leads)
	n.conf.Events.LeaderChanged(group, leads)
}

func (n *Node) pokeMoved() {
	select {
	case n.moved <- struct{}{}:
	default:
	}
}

// localGroup returns this node's replica of a group, nil if it has none.
func (n *Node) localGroup(g uint32) *group.Group {
	if g == controllerGroup {
		return n.control.group
	}
	if r := n.replicas.get(fsm.PartitionID(g - 1)); r != nil {
		return r.group
	}
	return nil
}

// ID is this node's identity, Cluster the cluster's.
func (n *Node) ID() fsm.NodeID  { return n.id.Node }
func (n *Node) Cluster() string { return n.id.Cluster }

// handoverTimeout bounds how long a stopping node waits for its leaderships to
// go elsewhere. What does not go is elected away, which takes a few seconds.
const handoverTimeout = 5 * time.Second

// Close hands leaderships over and stops. Requests under way end with what they
// got; the node's data is on disk.
func (n *Node) Close() error {
	n.stopping.Store(true)
	n.handOver(handoverTimeout)
	n.stop()
	return nil
}

// stop ends everything in reverse order of start.
func (n *Node) stop() {
	n.cancel()
	if n.replicas != nil {
		n.replicas.close()
	}
	if n.control != nil {
		n.control.group.Close()
	}
	if n.link != nil {
		n.link.Close()
		n.peers.Wait()
	}
	n.running.Wait()
}

func (n *Node) linkEvents() link.EventListener {
	return link.EventListener{
		DialFailed: func(node fsm.NodeID, err error) {
			n.log.Debug("a member cannot be reached", "member", node, "err", err)
		},
		Disconnected: func(node fsm.NodeID, err error) {
			n.log.Info("the connection to a member ended", "member", node, "err", err)
			n.failover.hungUp(node)
		},
		Hungup: n.failover.hungUp,
		Refused: func(remote string, err error) {
			level := slog.LevelWarn
			if errors.Is(err, io.EOF) { // it said nothing: somebody looked whether there is a port
				level = slog.LevelDebug
			}
			n.log.Log(n.ctx, level, "a connection was refused", "remote", remote, "err", err)
		},
		AcceptFailed: func(err error) { n.log.Error("the node port cannot accept", "err", err) },
	}
}

// handle answers a call from another node.
func (n *Node) handle(ctx context.Context, from fsm.NodeID, kind uint8, g uint32, body []byte) ([]byte, error) {
	if kind < uint8(group.KindEnd) {
		local := n.localGroup(g)
		if local == nil {
			return nil, fsm.Errorf(fsm.NotFound, "no replica of group %d is here", g)
		}
		return local.Serve(ctx, from, group.Kind(kind), body)
	}
	switch kind {
	case kindControl:
		return n.serveControl(body)
	case kindControlSync:
		return n.serveControlSync()
	case kindReport:
		return n.reports.receive(from, body)
	case kindView:
		return n.reports.serveView()
	case kindRenew:
		return n.serveRenew(ctx, from)
	case kindApplied:
		return n.serveApplied(ctx, body)
	case kindHello:
		return nil, nil
	case kindNominate:
		return nil, n.serveNominate(g, body)
	case kindStateHash:
		return n.serveStateHash(ctx, fsm.PartitionID(g-1), body)
	}
	r := n.serving(fsm.PartitionID(g - 1))
	if g == controllerGroup || r == nil {
		return nil, &fsm.Error{Kind: fsm.NotLeader} // no hint: not a replica of this group
	}
	switch kind {
	case kindCommands:
		return r.serveCommands(ctx, body)
	case kindQuery:
		return r.serveQuery(ctx, body)
	case kindEnsure:
		return r.serveEnsure(ctx, body)
	case kindConfig:
		return r.serveConfig()
	case kindCheckpoint:
		return r.serveCheckpoint(ctx)
	}
	return nil, fsm.Errorf(fsm.Invalid, "call of unknown kind %d: this node may be older than its caller", kind)
}

// handleStream takes a snapshot that a leader sends.
func (n *Node) handleStream(from fsm.NodeID, kind uint8, g uint32, c net.Conn) {
	local := n.localGroup(g)
	if local == nil || group.Kind(kind) != group.KindSnapshot {
		return
	}
	if err := local.ServeSnapshot(from, c); err != nil {
		n.log.Warn("receiving a snapshot failed", "group", local.Name(), "from", from, "err", err)
	}
}
