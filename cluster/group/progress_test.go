package group

import (
	"testing"
	"time"
)

// TestProgressOfTerm: what followers answered counts in the term they answered in,
// and not a moment longer or shorter: a leader that forgot the first answer of its
// term would call that follower behind until the next append, a second later.
func TestProgressOfTerm(t *testing.T) {
	p := newProgress()
	start := time.Unix(100, 0)
	p.answered(3, "a", start)
	p.matched(3, "a", 7)
	if got := p.Peer(3, "a"); got != (Peer{Match: 7, Answered: start, Since: start}) {
		t.Errorf("in its term: %+v", got)
	}
	if got := p.Peer(4, "a"); got != (Peer{}) {
		t.Errorf("of a term in which nobody answered yet: %+v", got)
	}
	p.matched(4, "b", 9)
	p.matched(3, "b", 5) // an answer that took long
	p.matched(3, "a", 8)
	if a, b := p.Peer(4, "a"), p.Peer(4, "b"); a.Match != 0 || b.Match != 9 {
		t.Errorf("after the next term began: a %d, b %d; want nothing of the last one", a.Match, b.Match)
	}
	p.matched(4, "b", 2)
	if got := p.Peer(4, "b").Match; got != 2 {
		t.Errorf("a log that was cut back matches to %d, want 2", got)
	}
}

func TestProgressContact(t *testing.T) {
	p := newProgress()
	start := time.Unix(100, 0)
	for _, c := range []struct{ at, since time.Duration }{
		{0, 0},
		{contactGap, 0},                      // no gap
		{2*contactGap + 1, 2*contactGap + 1}, // a gap
		{3 * contactGap, 2*contactGap + 1},
	} {
		p.answered(1, "a", start.Add(c.at))
		if got := p.Peer(1, "a"); !got.Answered.Equal(start.Add(c.at)) || !got.Since.Equal(start.Add(c.since)) {
			t.Errorf("an answer after %v: %+v, want contact since %v", c.at, got, c.since)
		}
	}
}
