// Package breaker keeps calls away from nodes that do not answer, and brings them
// back. A call that fails, or answers that stay away, make a node doubted: it is
// asked whether its process answers at all, beside the calls that go on. Only if
// that fails too the breaker opens: calls under way end, whose callers then ask
// somebody else, and new ones are refused before they are sent. An open breaker
// asks again and again, and closes with the first answer: no caller's request is
// the trial.
//
//	closed --a call fails, or silence--> doubted --no answer--> open
//	   ^                                    |                     |
//	   +------------- answer ---------------+------ answer -------+
//
// A node whose process answers is thereby never cut off, however slow one of its
// partitions is: for that there are deadlines.
package breaker

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"cairn/fsm"
)

const (
	// Silence is how long calls may be under way without any being answered
	// until the node is doubted.
	Silence = 500 * time.Millisecond
	// ProbeTimeout is how long a doubted node has to answer.
	ProbeTimeout = 500 * time.Millisecond
	// Pauses between the questions of an open breaker, doubling.
	pauseMin = 100 * time.Millisecond
	pauseMax = 2 * time.Second
	// weight of the newest answer in what a node's answers take on average.
	weight = 0.1
)

// ErrOpen is the error of a call that was not sent.
var ErrOpen = fsm.Errorf(fsm.Unavailable, "that node does not answer at the moment; nothing was sent")

// Config of a Set. Probe is required.
type Config struct {
	// Probe asks whether a node's process answers, until ctx ends.
	Probe func(ctx context.Context, node fsm.NodeID) error
	// Failed reports whether a call's error says that the node may be gone,
	// rather than that it refused. Default: every error does.
	Failed func(error) bool
	// Member reports whether a node is still one: of others nothing is kept.
	// Default: all are.
	Member func(node fsm.NodeID) bool
	// Opened and Closed are told; they must not block. Default: nobody is.
	Opened, Closed func(node fsm.NodeID)
}

func (c Config) withDefaults() Config {
	if c.Failed == nil {
		c.Failed = func(error) bool { return true }
	}
	if c.Member == nil {
		c.Member = func(fsm.NodeID) bool { return true }
	}
	if c.Opened == nil {
		c.Opened = func(fsm.NodeID) {}
	}
	if c.Closed == nil {
		c.Closed = func(fsm.NodeID) {}
	}
	return c
}

// Set has a breaker for each node that was called. All methods may be called at
// the same time.
type Set struct {
	conf  Config
	ctx   context.Context
	tasks sync.WaitGroup // probes

	mu     sync.Mutex
	nodes  map[fsm.NodeID]*node
	closed bool
}

type state uint8

const (
	shut    state = iota // calls go through
	doubted              // and the node is being asked
	open                 // no calls; the node is asked every now and then
)

// node is what is known of one. Guarded by the Set's mutex.
type node struct {
	id       fsm.NodeID
	state    state
	flights  map[*flight]struct{}
	answered time.Time     // last; zero: never
	quiet    time.Time     // since when nothing is answered while calls are under way
	took     time.Duration // an answer, on average
	watch    *time.Timer   // for silence; nil: nothing is under way
}

// flight is a call under way.
type flight struct{ cut context.CancelFunc }

// New returns a Set whose breakers are closed. It ends with ctx; Wait waits for
// what it left.
func New(ctx context.Context, conf Config) *Set {
	s := &Set{conf: conf.withDefaults(), ctx: ctx, nodes: map[fsm.NodeID]*node{}}
	context.AfterFunc(ctx, s.stop)
	return s
}

func (s *Set) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, n := range s.nodes {
		n.rest()
	}
}

// Wait returns when ctx has ended and no probe is under way.
func (s *Set) Wait() {
	<-s.ctx.Done()
	s.stop() // no probe begins after this
	s.tasks.Wait()
}

// Do makes a call to a node that may take until limit. Its context ends early if
// the breaker opens; what became of it is then as unknown as after a timeout.
// The error is ErrOpen, with nothing sent, or call's.
func (s *Set) Do(ctx context.Context, to fsm.NodeID, limit time.Duration, call func(context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	f := &flight{cut: cancel}
	n, begun, err := s.begin(to, f)
	if err != nil {
		return err
	}
	err = call(within)
	s.end(n, f, begun, s.outcome(ctx, err))
	return err
}

func (s *Set) begin(to fsm.NodeID, f *flight) (*node, time.Time, error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[to]
	if n == nil {
		n = &node{id: to, flights: map[*flight]struct{}{}}
		s.nodes[to] = n
	}
	if n.state == open {
		return nil, now, ErrOpen
	}
	if len(n.flights) == 0 {
		n.quiet = now
	}
	n.flights[f] = struct{}{}
	if n.watch == nil && !s.closed {
		n.watch = time.AfterFunc(Silence, func() { s.listen(n) })
	}
	return n, now, nil
}

func (s *Set) end(n *node, f *flight, begun time.Time, out outcome) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(n.flights, f)
	switch out {
	case failed:
		s.doubt(n)
	case answered:
		n.answered, n.quiet = now, now
		n.took += time.Duration(weight * float64(now.Sub(begun)-n.took))
	}
}

// outcome is what a call says about the node.
type outcome uint8

const (
	nothing  outcome = iota // the caller gave up
	answered                // done, or refused
	failed
)

func (s *Set) outcome(ctx context.Context, err error) outcome {
	switch {
	case err == nil || !s.conf.Failed(err):
		return answered
	case ctx.Err() != nil:
		return nothing
	}
	return failed
}

// listen doubts a node that has answered nothing for Silence while calls are under
// way.
func (s *Set) listen(n *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.rest()
	if s.closed || len(n.flights) == 0 {
		return
	}
	wait := Silence - time.Since(n.quiet)
	if wait <= 0 {
		s.doubt(n)
		wait = Silence
	}
	n.watch = time.AfterFunc(wait, func() { s.listen(n) })
}

// rest ends the watch. The caller holds mu.
func (n *node) rest() {
	if n.watch != nil {
		n.watch.Stop()
		n.watch = nil
	}
}

// doubt has a node asked, unless that is being done. The caller holds mu.
func (s *Set) doubt(n *node) {
	if n.state != shut || s.closed {
		return
	}
	n.state = doubted
	s.tasks.Go(func() { s.probe(n) })
}

// probe asks until the node answers, or is no member any more.
func (s *Set) probe(n *node) {
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		asked := time.Now()
		ctx, cancel := context.WithTimeout(s.ctx, ProbeTimeout)
		err := s.conf.Probe(ctx, n.id)
		cancel()
		if s.ctx.Err() != nil {
			return
		}
		if err == nil {
			s.close(n)
			return
		}
		if !s.open(n, asked) {
			return
		}
		if !s.conf.Member(n.id) {
			s.forget(n)
			return
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-s.ctx.Done():
			return
		}
	}
}

// open opens a breaker, unless a call was answered since the node was asked: then
// only the question was lost, and it closes. It reports whether it is open.
func (s *Set) open(n *node, asked time.Time) bool {
	s.mu.Lock()
	if n.answered.After(asked) {
		s.mu.Unlock()
		s.close(n)
		return false
	}
	was := n.state
	n.state = open
	for f := range n.flights {
		f.cut()
	}
	s.mu.Unlock()
	if was != open {
		s.conf.Opened(n.id)
	}
	return true
}

func (s *Set) close(n *node) {
	s.mu.Lock()
	was := n.state
	n.state = shut
	s.mu.Unlock()
	if was == open {
		s.conf.Closed(n.id)
	}
}

func (s *Set) forget(n *node) {
	s.mu.Lock()
	n.rest()
	delete(s.nodes, n.id)
	s.mu.Unlock()
	s.conf.Closed(n.id)
}

// Open reports whether calls to a node are refused.
func (s *Set) Open(id fsm.NodeID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[id]
	return n != nil && n.state == open
}

// Count is how many breakers are open.
func (s *Set) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	for _, n := range s.nodes {
		if n.state == open {
			count++
		}
	}
	return count
}

// Less reports whether a call to a would likely be answered sooner than one to b:
// by how many are under way, times what an answer takes; and if that does not
// tell, by how many. A node whose breaker is not closed comes last.
func (s *Set) Less(a, b fsm.NodeID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, y := s.load(a), s.load(b)
	if x.state != y.state {
		return x.state < y.state
	}
	if x.cost != y.cost {
		return x.cost < y.cost
	}
	return x.under < y.under
}

type load struct {
	state state
	cost  time.Duration
	under int
}

func (s *Set) load(id fsm.NodeID) load {
	n := s.nodes[id]
	if n == nil {
		return load{}
	}
	return load{n.state, time.Duration(len(n.flights)+1) * n.took, len(n.flights)}
}
