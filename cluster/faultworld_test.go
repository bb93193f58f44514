package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/cluster/faulttest"
	"cairn/cluster/hunt"
	"cairn/fsm"
	"cairn/fsm/partition"
	"cairn/store"
	"cairn/store/crashfs"
)

// faultWorld is a cluster on machines that can lose their power, under the workload of
// package faulttest. Everything of it is in one bubble.
type faultWorld struct {
	*churn
	log      *faulttest.Log
	root     string // of all directories
	elect    atomic.Int64
	stretch  time.Duration // how many times longer than usual faults last
	reassign time.Duration // see Config.ReassignAfter

	lives []*life // by node; nil: it does not run. Guarded by mu, as nodes is
	born  int     // lives so far
}

// life is one process of a node: from its start to its death.
type life struct {
	number int
	node   *Node
	ctx    context.Context // ends with it
	end    func()
}

// machine is what a node's process runs on.
type machine struct {
	disk *crashfs.FS
	skew atomic.Int64 // of its wall clock, in nanoseconds
	used atomic.Bool  // a process was started on it
	dead *atomic.Bool // the newest process; what it says afterwards counts no more
}

// newFaultWorld founds a cluster with the hunt and the teams of a workload, at rest.
func newFaultWorld(t *testing.T, nodes, partitions, teams int, reassign time.Duration, rng *rand.Rand) *faultWorld {
	t.Helper()
	w := &faultWorld{churn: newChurn(&sim{t: t, partitions: partitions, net: newMemNet()}, rng), root: scratch(t), stretch: 1, reassign: reassign}
	w.sim.stored, w.sim.tune = w.stored, w.tune
	for i := range nodes {
		w.add(i)
		if !w.start(i) {
			t.Fatalf("%s did not start", w.nodes[i].name)
		}
	}
	w.settle()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	info, _, err := w.live(0).CreateHunt(ctx, faulttest.Document(0))
	if err != nil {
		t.Fatal(err)
	}
	w.hunt = HuntRef{info.ID, info.Incarnation}
	for i := range teams {
		if _, _, err := w.live(i).CreateTeam(ctx, &partition.CreateTeam{
			Hunt: w.hunt.ID, Incarnation: w.hunt.Incarnation, Team: faulttest.TeamID(i), Name: "T", Key: "create",
		}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// scratch is a directory in memory, if there is one: the controller's log is synced
// in earnest.
func scratch(t *testing.T) string {
	t.Helper()
	path, err := os.MkdirTemp("/dev/shm", "cairn-fault")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(path) })
	return path
}

// reserve makes machines for nodes that may join, so that there are most of them.
func (w *faultWorld) reserve(most int) {
	for i := len(w.nodes); i < most; i++ {
		w.add(i)
	}
}

// add makes the machine of another node.
func (w *faultWorld) add(i int) {
	name := fmt.Sprintf("n%d", i)
	trash := filepath.Join(w.root, name+".trash")
	if err := os.Mkdir(trash, 0o700); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes = append(w.nodes, &simNode{name: name, data: filepath.Join(w.root, name), machine: &machine{disk: crashfs.New(trash), dead: &atomic.Bool{}}})
	w.lives = append(w.lives, nil)
}

// stored is the first that a new process asks for.
func (w *faultWorld) stored(sn *simNode) store.Options {
	sn.dead = &atomic.Bool{}
	return store.Options{FS: sn.disk, Segment: 64 << 10, OnFatal: w.wails(sn, "disk")}
}

// wails is told of what a process of a node cannot survive.
func (w *faultWorld) wails(sn *simNode, what string) func(error) {
	dead := sn.dead
	return func(err error) {
		if !dead.Load() {
			w.t.Errorf("%s: %s: %v", sn.name, what, err)
		}
	}
}

func (w *faultWorld) tune(sn *simNode, c *Config) {
	c.ReassignAfter = w.reassign
	c.Fatal = w.wails(sn, "fatal")
	if os.Getenv("CAIRN_SEED") == "" { // thousands of runs say too much
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Now = func() time.Time { return time.Now().Add(time.Duration(sn.skew.Load())) }
	c.Again = func() { w.t.Errorf("%s is to be opened again", sn.name) }
	c.Events.LeaderChanged = func(_ string, leads bool) {
		if leads {
			w.elect.Add(1)
		}
	}
}

// start starts a node. It may not find the cluster in time: then it stays down, and
// false is returned.
func (w *faultWorld) start(i int) bool {
	sn := w.nodes[i]
	sn.used.Store(true)
	n, dir, err := w.open(i, sn)
	if err != nil {
		return false
	}
	w.adopt(i, n, dir)
	if damage := n.replicas.damage(); len(damage) > 0 {
		w.t.Errorf("%s found its data damaged after a crash: %v", sn.name, damage)
	}
	return true
}

// adopt takes a process that was started into the world.
func (w *faultWorld) adopt(i int, n *Node, dir *store.Dir) {
	ctx, end := context.WithCancel(context.Background())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.born++
	w.lives[i] = &life{number: w.born, node: n, ctx: ctx, end: end}
	w.nodes[i].node, w.nodes[i].dir = n, dir
}

// die ends the processes of some nodes at one moment, by a crash or by a power cut.
func (w *faultWorld) die(rng *rand.Rand, which []int, power bool) {
	type body struct {
		sn *simNode
		n  *Node
		d  *store.Dir
	}
	var bodies []body
	w.mu.Lock()
	for _, i := range which {
		if l := w.lives[i]; l != nil {
			sn := w.nodes[i]
			bodies = append(bodies, body{sn, sn.node, sn.dir})
			sn.node, sn.dir, w.lives[i] = nil, nil, nil
			// In this order: what was told to anybody was on the disk.
			l.end()
			sn.dead.Store(true)
			w.net.kill(sn.name, power)
			if power {
				sn.disk.Cut()
			}
		}
	}
	w.mu.Unlock()
	tear, seed := rng.IntN(2) == 0, rng.Uint64()
	var all sync.WaitGroup
	for _, b := range bodies {
		all.Go(func() {
			b.n.stop()
			if err := b.d.Close(); err != nil {
				w.t.Errorf("%s: close: %v", b.sn.name, err)
			}
			if power {
				if _, err := b.sn.disk.Restore(tear, rand.New(rand.NewPCG(seed, 1))); err != nil {
					w.t.Errorf("%s: restore the disk: %v", b.sn.name, err)
				}
			}
		})
	}
	all.Wait()
}

// retire ends the process of a node that has left.
func (w *faultWorld) retire(i int) {
	w.mu.Lock()
	sn, l := w.nodes[i], w.lives[i]
	n, dir := sn.node, sn.dir
	if l == nil { // it died meanwhile
		w.mu.Unlock()
		return
	}
	sn.node, sn.dir, w.lives[i] = nil, nil, nil
	w.mu.Unlock()
	l.end()
	n.Close()
	if err := dir.Close(); err != nil {
		w.t.Error(err)
	}
}

// close ends everything.
func (w *faultWorld) close() {
	w.net.repair()
	w.die(w.rng, w.running(), false)
	w.net.close()
}

// alive returns a node's life; nil if it does not run.
func (w *faultWorld) alive(i int) *life {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lives[i]
}

// Nodes is how many there may be.
func (w *faultWorld) Nodes() int { return len(w.nodes) }

// ask runs a call on a node, as a client of its process. An answer that comes when the
// process is dead was never sent.
func (w *faultWorld) ask(ctx context.Context, i int, call func(context.Context, *Node) error) error {
	w.mu.Lock()
	l := w.lives[i]
	w.mu.Unlock()
	if l == nil {
		return fsm.Errorf(fsm.Unavailable, "no process listens there")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	err := call(ctx, l.node)
	if l.ctx.Err() != nil {
		return fsm.Errorf(fsm.OutcomeUnknown, "the process died")
	}
	return err
}

func (w *faultWorld) Submit(ctx context.Context, i int, team fsm.TeamID, clue fsm.ClueID, answer, key string) (out faulttest.Result, err error) {
	err = w.ask(ctx, i, func(ctx context.Context, n *Node) error {
		s, err := n.Submit(ctx, Submission{Hunt: w.hunt, Team: team, Clue: clue, Answer: answer, Key: key})
		if err == nil {
			out = result(s)
		}
		return err
	})
	return out, err
}

// result is a submission as its team is told of it.
func result(s *partition.Submission) faulttest.Result {
	return faulttest.Result{
		Number: int(s.Number), Key: s.Key, Clue: s.Clue, Verdict: s.Verdict.String(), At: s.At, Version: s.Version,
		Points: s.Points, Score: s.Score, Solves: int(s.Solves), Attempts: int(s.Attempts), Replayed: s.Replayed,
	}
}

func (w *faultWorld) Team(ctx context.Context, i int, team fsm.TeamID) (out faulttest.State, err error) {
	err = w.ask(ctx, i, func(ctx context.Context, n *Node) error {
		t, _, err := n.Team(ctx, w.hunt, team, Default)
		if err != nil {
			return err
		}
		out = faulttest.State{Score: t.Score, Solves: int(t.Solves)}
		for _, c := range t.Clues {
			out.Clues = append(out.Clues, faulttest.ClueState{ID: c.ID, Attempts: int(c.Attempts), Solved: c.SolvedAt != 0})
		}
		return nil
	})
	return out, err
}

func (w *faultWorld) Board(ctx context.Context, i int) (rows []faulttest.Row, err error) {
	err = w.ask(ctx, i, func(ctx context.Context, n *Node) error {
		page, _, err := n.Board(ctx, w.hunt, BoardQuery{Limit: maxPage - 1, Consistency: Strong})
		if err != nil {
			return err
		}
		for j, r := range page.Rows {
			rows = append(rows, faulttest.Row{Rank: page.Ranks[j], Team: r.Team, Score: r.Score, Solves: int(r.Solves), LastSolve: r.LastSolve})
		}
		return nil
	})
	return rows, err
}

func (w *faultWorld) Hunt(ctx context.Context, i int) (version uint64, number int, err error) {
	err = w.ask(ctx, i, func(ctx context.Context, n *Node) error {
		info, err := n.FreshHunt(ctx, w.hunt.ID)
		if err == nil {
			version, number = info.Version, documentOf(w.t, info)
		}
		return err
	})
	return version, number, err
}

func (w *faultWorld) Edit(ctx context.Context, i, number int, onto uint64) (version uint64, err error) {
	err = w.ask(ctx, i, func(ctx context.Context, n *Node) error {
		info, err := n.PutHunt(ctx, w.hunt.ID, onto, faulttest.Document(number))
		if err == nil {
			version = info.Version
		}
		return err
	})
	return version, err
}

func (w *faultWorld) Table(ctx context.Context, i int) (out faulttest.Table, err error) {
	err = w.ask(ctx, i, func(_ context.Context, n *Node) error {
		st := n.control.state()
		out = faulttest.Table{Life: w.lifeOf(n), Version: st.TableVersion()}
		for _, row := range st.Partitions() {
			out.Epochs = append(out.Epochs, row.Epoch)
		}
		return nil
	})
	return out, err
}

// lifeOf is the number of a process that runs.
func (w *faultWorld) lifeOf(n *Node) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.lives {
		if l != nil && l.node == n {
			return l.number
		}
	}
	return 0
}

func (w *faultWorld) History(ctx context.Context, i int, team fsm.TeamID) (out []faulttest.Result, err error) {
	err = w.ask(ctx, i, func(ctx context.Context, n *Node) error {
		for below := uint32(0); ; {
			page, _, err := n.Submissions(ctx, w.hunt, team, below, maxPage, Default)
			if err != nil {
				return err
			}
			for j := range page { // newest first
				r := result(&page[j])
				r.Answer, r.Replayed = page[j].Answer, false
				out = append([]faulttest.Result{r}, out...)
				below = page[j].Number
			}
			if len(page) < maxPage {
				return nil
			}
		}
	})
	return out, err
}

// documentOf is the number of a hunt's document.
func documentOf(t *testing.T, info *HuntInfo) int {
	doc, err := hunt.Parse(info.Document)
	if err != nil {
		t.Error(err)
		return -1
	}
	return faulttest.NumberOf(doc.Title)
}

// hashTries is how often replicas are compared before they are told to differ: one may
// be behind for a moment.
const hashTries = 100

// Hashes compares what the replicas' machines are, once they have applied the same.
func (w *faultWorld) Hashes(ctx context.Context, _ int) (out []faulttest.Hash, err error) {
	for try := range hashTries {
		out = w.hashes()
		if same(out) || !pause(ctx, try) {
			break
		}
	}
	return out, ctx.Err()
}

func (w *faultWorld) hashes() (out []faulttest.Hash) {
	for _, i := range w.running() {
		n := w.nodeAt(i)
		for _, r := range n.replicas.all() {
			var sum [32]byte
			r.machine.read(func(m *partition.Machine) { sum = m.Hash() })
			out = append(out, faulttest.Hash{Partition: int(r.id), Node: n.conf.Name, Sum: fmt.Sprintf("%x", sum[:8])})
		}
	}
	return out
}

func same(hashes []faulttest.Hash) bool {
	first := map[int]string{}
	for _, h := range hashes {
		if first[h.Partition] == "" {
			first[h.Partition] = h.Sum
		}
		if first[h.Partition] != h.Sum {
			return false
		}
	}
	return true
}
