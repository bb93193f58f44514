package health

import (
	"slices"
	"time"

	"cairn/fsm"
)

// State of a node as the detector sees it.
type State uint8

const (
	Alive State = iota
	Suspect
	Down
)

// String returns the API's word.
func (s State) String() string { return [...]string{"alive", "suspect", "down"}[s] }

// Config of a Detector. Every field must be set; Default does.
type Config struct {
	// Every is how often nodes send heartbeats.
	Every time.Duration
	// SuspectAfter and DownAfter are the silences that make a node suspect and
	// down: Every < SuspectAfter < DownAfter.
	SuspectAfter, DownAfter time.Duration
	// Grace is added to every silence that began before this leader did: nodes
	// must find it first.
	Grace time.Duration
	// UpAfter is how long a node that was down must be heard before it is up
	// again. It doubles with each time that it goes down, up to UpAfterMost, and
	// is forgotten after ForgetFlaps without.
	UpAfter, UpAfterMost, ForgetFlaps time.Duration
	// PauseAfter: looks that are further apart mean that this process was
	// stopped, and the time between them is nobody else's silence.
	PauseAfter time.Duration
}

// Default is what a node uses, for a heartbeat interval and a node timeout.
func Default(every, timeout time.Duration) Config {
	return Config{
		Every: every, SuspectAfter: min(3*every, timeout/2), DownAfter: timeout, Grace: timeout,
		UpAfter: 2 * time.Second, UpAfterMost: 2 * time.Minute, ForgetFlaps: 10 * time.Minute,
		PauseAfter: time.Second,
	}
}

// Detector follows the nodes of one cluster during one leadership.
type Detector struct {
	conf   Config
	began  time.Time
	looked time.Time
	nodes  map[fsm.NodeID]*node
}

// node is what is remembered of one.
type node struct {
	known bool      // whether there was a heartbeat
	heard time.Time // last heartbeat, or the end of the grace; a silence is counted from here
	since time.Time // since when it is heard without a silence of SuspectAfter
	down  bool      // as the log has it
	flaps int       // how often it went down of late
	fell  time.Time // when it did last
	bad   []time.Time
	slow  bool
	calm  time.Time // since when it is no worse than others
	lapse int       // how often it was slow of late
}

// New begins with everybody in grace.
func New(c Config, now time.Time) *Detector {
	return &Detector{conf: c, began: now, looked: now, nodes: map[fsm.NodeID]*node{}}
}

func (d *Detector) node(id fsm.NodeID) *node {
	n := d.nodes[id]
	if n == nil {
		n = &node{heard: d.began.Add(d.conf.Grace), since: d.began, calm: d.began}
		d.nodes[id] = n
	}
	return n
}

// Heard takes a heartbeat that arrived.
func (d *Detector) Heard(id fsm.NodeID, now time.Time) {
	n := d.node(id)
	if !n.known || now.Sub(n.heard) >= d.conf.SuspectAfter {
		n.since = now
	}
	n.known, n.heard = true, now
}

// Member is a node as the log has it.
type Member struct {
	ID   fsm.NodeID
	Down bool
}

// Verdict is what to do now.
type Verdict struct {
	// Down and Up are the nodes to record as such, in order of id.
	Down, Up []fsm.NodeID
	// Suspects are the silent nodes that the log has as up, in order of id.
	Suspects []fsm.NodeID
}

// Look judges the members, and forgets nodes that are none. Call it several times
// in each interval of heartbeats.
func (d *Detector) Look(members []Member, now time.Time) Verdict {
	d.excuse(now)
	known := map[fsm.NodeID]bool{}
	var v Verdict
	for _, m := range members {
		known[m.ID] = true
		n := d.node(m.ID)
		n.down = m.Down
		silence := now.Sub(n.heard)
		switch {
		case !m.Down && silence >= d.conf.DownAfter:
			v.Down = append(v.Down, m.ID)
			v.Suspects = append(v.Suspects, m.ID)
			d.fell(n, now)
		case !m.Down && silence >= d.conf.SuspectAfter:
			v.Suspects = append(v.Suspects, m.ID)
		case m.Down && d.back(n, now):
			v.Up = append(v.Up, m.ID)
		}
	}
	for id := range d.nodes {
		if !known[id] {
			delete(d.nodes, id)
		}
	}
	slices.Sort(v.Down)
	slices.Sort(v.Up)
	slices.Sort(v.Suspects)
	return v
}

// State tells what a node is at a moment, whatever the log has.
func (d *Detector) State(id fsm.NodeID, now time.Time) State {
	switch n := d.node(id); {
	case n.down || now.Sub(n.heard) >= d.conf.DownAfter:
		return Down
	case now.Sub(n.heard) >= d.conf.SuspectAfter:
		return Suspect
	default:
		return Alive
	}
}

// excuse takes a pause of this process itself off everybody's silence.
func (d *Detector) excuse(now time.Time) {
	pause := now.Sub(d.looked)
	d.looked = now
	if pause < d.conf.PauseAfter {
		return
	}
	for _, n := range d.nodes {
		if n.heard.Before(now) {
			n.heard = now
		}
	}
}

// fell counts one more fall, once: the log may take a while to say so.
func (d *Detector) fell(n *node, now time.Time) {
	if n.since.IsZero() {
		return
	}
	if now.Sub(n.fell) > d.conf.ForgetFlaps {
		n.flaps = 0
	}
	n.flaps++
	n.fell, n.since = now, time.Time{}
}

// back reports whether a node that is down has been heard for long enough.
func (d *Detector) back(n *node, now time.Time) bool {
	if !n.known || n.since.IsZero() || now.Sub(n.heard) >= d.conf.SuspectAfter {
		return false
	}
	need := d.conf.UpAfter
	for range n.flaps - 1 {
		if need = 2 * need; need >= d.conf.UpAfterMost {
			need = d.conf.UpAfterMost
			break
		}
	}
	return n.heard.Sub(n.since) >= need
}
