package health

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cairn/fsm"
)

var start = time.Unix(1_000_000, 0)

// story plays heartbeats and looks of a few nodes, every 100 ms.
type story struct {
	d     *Detector
	now   time.Time
	down  map[fsm.NodeID]bool
	nodes []fsm.NodeID
	last  Verdict
	notes []string
}

func newStory(nodes ...fsm.NodeID) *story {
	return &story{d: New(Default(500*time.Millisecond, 5*time.Second), start), now: start, down: map[fsm.NodeID]bool{}, nodes: nodes}
}

// live lets time pass while those in talk send heartbeats; the log does what the
// verdicts say.
func (s *story) live(span time.Duration, talk ...fsm.NodeID) {
	for end := s.now.Add(span); s.now.Before(end); {
		s.now = s.now.Add(100 * time.Millisecond)
		if s.now.Sub(start)%(500*time.Millisecond) == 0 {
			for _, id := range talk {
				s.d.Heard(id, s.now)
			}
		}
		s.look()
	}
}

func (s *story) look() {
	var members []Member
	for _, id := range s.nodes {
		members = append(members, Member{id, s.down[id]})
	}
	v := s.d.Look(members, s.now)
	at := s.now.Sub(start)
	for _, id := range v.Down {
		s.down[id] = true
		s.notes = append(s.notes, fmt.Sprintf("%v %s down", at, id))
	}
	for _, id := range v.Up {
		s.down[id] = false
		s.notes = append(s.notes, fmt.Sprintf("%v %s up", at, id))
	}
	if fmt.Sprint(v.Suspects) != fmt.Sprint(s.last.Suspects) {
		s.notes = append(s.notes, fmt.Sprintf("%v suspects %v", at, v.Suspects))
	}
	s.last = v
}

func (s *story) want(t *testing.T, notes ...string) {
	t.Helper()
	if fmt.Sprint(s.notes) != fmt.Sprint(notes) {
		t.Errorf("got  %q\nwant %q", s.notes, notes)
	}
	s.notes = nil
}

func TestSilenceAndReturn(t *testing.T) {
	s := newStory("a", "b")
	s.live(10*time.Second, "a", "b")
	s.want(t)
	s.live(6*time.Second, "a")
	s.want(t, "11.5s suspects [b]", "15s b down", "15.1s suspects []")
	s.live(4*time.Second, "a", "b")
	s.want(t, "18.5s b up") // heard for 2 s since 16.5 s
	if got := s.d.State("b", s.now); got != Alive {
		t.Errorf("b is %v", got)
	}
}

// TestGrace: a new leader declares nobody dead who has not found it yet.
func TestGrace(t *testing.T) {
	s := newStory("a", "b")
	s.live(6400*time.Millisecond, "a")
	s.want(t)
	s.live(5*time.Second, "a")
	s.want(t, "6.5s suspects [b]", "10s b down", "10.1s suspects []")
}

// TestInherited: a node that was down when this leader began, and stays silent, is
// not up because its grace ends.
func TestInherited(t *testing.T) {
	s := newStory("a", "b")
	s.down["b"] = true
	s.live(30*time.Second, "a")
	s.want(t)
	s.live(4*time.Second, "a", "b")
	s.want(t, "32.5s b up")
}

// TestOwnPause: the leader was stopped, not everybody else.
func TestOwnPause(t *testing.T) {
	s := newStory("a", "b")
	s.live(10*time.Second, "a", "b")
	s.now = s.now.Add(time.Minute)
	s.live(time.Second) // its peers' heartbeats were lost too
	s.live(10*time.Second, "a", "b")
	s.want(t)
}

// TestFlapping: each time it must stay for longer before it counts as back, and
// a long quiet time is forgiven.
func TestFlapping(t *testing.T) {
	s := newStory("a", "b")
	s.live(10*time.Second, "a", "b")
	var took []time.Duration
	flap := func() {
		s.live(7*time.Second, "a")
		back := s.now
		for s.down["b"] {
			s.live(100*time.Millisecond, "a", "b")
		}
		took = append(took, s.now.Sub(back).Truncate(time.Second))
	}
	for range 8 {
		flap()
	}
	s.live(11*time.Minute, "a", "b")
	flap()
	if got := fmt.Sprint(took); got != "[2s 4s 8s 16s 32s 1m4s 2m0s 2m0s 2s]" {
		t.Errorf("it took %s to be back", got)
	}
}

// TestForgetsStrangers: a node that is no member leaves nothing behind.
func TestForgetsStrangers(t *testing.T) {
	s := newStory("a")
	s.live(time.Second, "a", "stranger")
	if len(s.d.nodes) != 1 {
		t.Errorf("the detector remembers %d nodes", len(s.d.nodes))
	}
}

// TestNeverDownWhileHeard: whatever the schedule, a node that sends heartbeats in
// time is never down or suspect, and one that is silent for long always is.
func TestNeverDownWhileHeard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStory("good", "dead", "odd")
		s.live(11*time.Second, "good", "odd")
		if !s.down["dead"] {
			t.Fatal("a node that was never heard is not down")
		}
		for range rapid.IntRange(1, 30).Draw(t, "spans") {
			span := time.Duration(rapid.IntRange(1, 80).Draw(t, "span")) * 100 * time.Millisecond
			talk := []fsm.NodeID{"good"}
			if rapid.Bool().Draw(t, "odd talks") {
				talk = append(talk, "odd")
			}
			before := s.now
			s.live(span, talk...)
			if len(talk) == 1 && span >= 6*time.Second && !s.down["odd"] {
				t.Fatalf("silent from %v for %v and not down", before.Sub(start), span)
			}
			if s.down["good"] || s.d.State("good", s.now) != Alive {
				t.Fatal("a node that was heard in time is down")
			}
		}
	})
}

// judge plays heartbeats with samples for a while and returns the slow ones.
func (s *story) judge(span time.Duration, samples map[fsm.NodeID]Sample) (slow []fsm.NodeID) {
	for end := s.now.Add(span); s.now.Before(end); {
		s.now = s.now.Add(500 * time.Millisecond)
		for id := range samples { // they come one by one
			slow = s.d.Judge(samples, []fsm.NodeID{id}, s.now)
		}
	}
	return slow
}

func TestSlow(t *testing.T) {
	ms := time.Millisecond
	good, disk, stopped := Sample{Sync: ms}, Sample{Sync: 200 * ms}, Sample{Sync: ms, Stall: 500 * ms}
	with := func(c Sample) map[fsm.NodeID]Sample { return map[fsm.NodeID]Sample{"a": good, "b": good, "c": c} }
	for _, tt := range []struct {
		name    string
		samples map[fsm.NodeID]Sample
		want    string
	}{
		{"all is well", with(good), "[]"},
		{"a slow disk", with(disk), "[c]"},
		{"a process that is stopped half the time", with(stopped), "[c]"},
		{"no commits", with(Sample{}), "[]"},
		{"a disk that all share", map[fsm.NodeID]Sample{"a": disk, "b": disk, "c": disk}, "[]"},
		{"a little slower than others", with(Sample{Sync: 30 * ms, Stall: 100 * ms}), "[]"},
	} {
		s := newStory("a", "b", "c")
		if got := fmt.Sprint(s.judge(5*time.Second, tt.samples)); got != tt.want {
			t.Errorf("%s: %s are slow, want %s", tt.name, got, tt.want)
		}
	}
	s := newStory("a", "b", "c")
	s.judge(time.Second, with(disk)) // one hiccup
	if slow := s.judge(time.Minute, with(good)); len(slow) > 0 {
		t.Errorf("%v after one hiccup", slow)
	}
	for lapse, calm := range []time.Duration{calmFor, 2 * calmFor, 4 * calmFor} {
		s.judge(5*time.Second, with(disk))
		if slow := s.judge(calm-time.Second, with(good)); len(slow) != 1 {
			t.Errorf("lapse %d: trusted again after less than %v", lapse, calm)
		}
		if slow := s.judge(2*time.Second, with(good)); len(slow) != 0 {
			t.Errorf("lapse %d: not trusted again after %v", lapse, calm)
		}
	}
}
