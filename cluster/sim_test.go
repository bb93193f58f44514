package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"cairn/fsm"
	"cairn/fsm/partition"
	"cairn/store"
)

// sim is a cluster of whole nodes, with real data directories, on a network in
// memory. It runs in a synctest bubble: elections take no time.
type sim struct {
	t     *testing.T
	net   *memNet
	nodes []*simNode
	told  Founded

	partitions int
	stored     func(*simNode) store.Options // nil: on the operating system's files
	tune       func(*simNode, *Config)      // changes a node's configuration; or nil
}

// simNode is one node and what survives its crash.
type simNode struct {
	name string
	data string
	dir  *store.Dir
	node *Node
	id   fsm.NodeID  // once it was started
	left atomic.Bool // Config.Left was called
	anew atomic.Bool // Config.Again was

	*machine // of a faultWorld
}

const simPartitions = 4

// newSim founds a cluster of n nodes and waits until it is at rest.
func newSim(t *testing.T, n int) *sim {
	t.Helper()
	return newSimOf(t, n, simPartitions)
}

// newSimOf is newSim with a number of partitions.
func newSimOf(t *testing.T, n, partitions int) *sim {
	t.Helper()
	return newSimTuned(t, n, partitions, nil)
}

// newSimTuned is newSimOf with nodes whose configuration tune may change, whenever
// they start.
func newSimTuned(t *testing.T, n, partitions int, tune func(*simNode, *Config)) *sim {
	t.Helper()
	s := &sim{t: t, partitions: partitions, net: newMemNet(), tune: tune}
	for i := range n {
		s.nodes = append(s.nodes, &simNode{name: fmt.Sprintf("n%d", i), data: filepath.Join(t.TempDir(), "data")})
		s.start(i)
	}
	s.settle()
	return s
}

// start starts node i: the first founds, the others join through it.
func (s *sim) start(i int) {
	s.t.Helper()
	if err := s.tryStart(i); err != nil {
		s.t.Fatalf("start %s: %v", s.nodes[i].name, err)
	}
}

func (s *sim) tryStart(i int) (err error) {
	sn := s.nodes[i]
	sn.node, sn.dir, err = s.open(i, sn)
	if err == nil {
		sn.id = sn.node.ID()
	}
	return err
}

// open opens a node on its data.
func (s *sim) open(i int, sn *simNode) (*Node, *store.Dir, error) {
	dir, err := s.openDir(sn)
	if err != nil {
		return nil, nil, err
	}
	conf := Config{
		Dir: dir, Listener: s.net.listen(sn.name), Dial: s.net.dialer(sn.name), Advertise: sn.name, HTTP: sn.name + ":80",
		Name: sn.name, Version: "test", Partitions: s.partitions, Logger: slog.New(slog.DiscardHandler),
		Fatal: func(err error) { s.t.Errorf("%s: fatal: %v", sn.name, err) },
		Left:  func() { sn.left.Store(true) },
		Again: func() { sn.anew.Store(true) },
	}
	if testing.Verbose() {
		conf.Logger = slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if i > 0 {
		conf.Join, conf.JoinToken = []string{s.nodes[0].name}, s.told.JoinToken
	}
	if s.tune != nil {
		s.tune(sn, &conf)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	node, err := Open(ctx, conf, func(f Founded) error { s.told = f; return nil })
	if err != nil {
		return nil, nil, errors.Join(err, dir.Close())
	}
	return node, dir, nil
}

func (s *sim) openDir(sn *simNode) (*store.Dir, error) {
	if s.stored != nil {
		return store.Open(sn.data, s.stored(sn))
	}
	return store.Open(sn.data, store.Options{
		OnFatal: func(err error) { s.t.Errorf("%s: disk: %v", sn.name, err) },
		NoSync:  true, // here no power is cut
		Segment: 1 << 20,
	})
}

// crash ends node i without handing anything over. (Its files see everything
// that was written: what a power cut takes is the store's tests' matter.)
func (s *sim) crash(i int) {
	s.t.Helper()
	sn := s.nodes[i]
	sn.node.stop()
	if err := sn.dir.Close(); err != nil {
		s.t.Error(err)
	}
	sn.node, sn.dir = nil, nil
}

func (s *sim) close() {
	for i, sn := range s.nodes {
		if sn.node != nil {
			s.crash(i)
		}
	}
	s.net.close()
}

// settle waits until every partition is as the table wishes.
func (s *sim) settle() {
	s.t.Helper()
	s.until("every partition is as wished", func() bool {
		for _, sn := range s.nodes {
			if sn.node == nil {
				continue
			}
			ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
			v, err := sn.node.View(ctx)
			cancel()
			if err != nil || len(v.Nodes) != len(s.nodes) {
				return false
			}
			for _, p := range v.Partitions {
				if p.State != "ok" || len(p.Members) != min(3, len(s.nodes)) {
					return false
				}
			}
		}
		return true
	})
}

// until polls a condition, in virtual time.
func (s *sim) until(what string, cond func() bool) {
	s.t.Helper()
	for range 1200 {
		if cond() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.t.Fatalf("within two minutes it did not come true that %s", what)
}

// live returns a running node, a different one at each call.
func (s *sim) live(i int) *Node {
	for {
		if n := s.nodes[i%len(s.nodes)].node; n != nil {
			return n
		}
		i++
	}
}

const simHunt = `{"id":"h","title":"H","clues":[
 {"id":"a","title":"A","points":5,"answers":["yes"],"attempts":{"limit":3}},
 {"id":"b","title":"B","points":7,"answers":["yes"],"unlock":{"solved":"a"}},
 {"id":"free","title":"F","points":9,"answers":["yes"]}]}`

// create makes the hunt and returns it with its teams t0..
func (s *sim) create(teams int) HuntRef {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	info, _, err := s.live(0).CreateHunt(ctx, []byte(simHunt))
	if err != nil {
		s.t.Fatal(err)
	}
	h := HuntRef{info.ID, info.Incarnation}
	for i := range teams {
		_, _, err := s.live(i).CreateTeam(ctx, &partition.CreateTeam{
			Hunt: h.ID, Incarnation: h.Incarnation, Team: team(i), Name: "T", Key: "create",
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return h
}

func team(i int) fsm.TeamID { return fsm.TeamID(fmt.Sprintf("t%d", i)) }

// submit sends one answer through node i.
func (s *sim) submit(i int, h HuntRef, t fsm.TeamID, clue, answer, key string) (*partition.Submission, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	return s.live(i).Submit(ctx, Submission{Hunt: h, Team: t, Clue: fsm.ClueID(clue), Answer: answer, Key: key})
}
