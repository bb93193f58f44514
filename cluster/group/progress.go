package group

import (
	"sync"
	"time"

	"cairn/fsm"
)

// Progress is what the transport learns from the messages that pass through it
// and hashicorp/raft does not tell: how far each follower's log matches the
// leader's, and, on a follower, how old its state may be.
type Progress struct {
	mu    sync.Mutex
	term  uint64 // of what peers tell
	peers map[string]Peer

	commit uint64   // leader's commit index in the newest append accepted
	sent   fsm.Time // leader's clock when it sent that append
}

// Peer is one follower as its leader sees it.
type Peer struct {
	Match    uint64    // index up to which its log equals the leader's
	Answered time.Time // when it last answered an append; zero: never
	Since    time.Time // since when it answers without a gap of more than contactGap
}

// contactGap is the silence after which a follower's contact counts as new.
const contactGap = 2 * time.Second

func newProgress() *Progress { return &Progress{peers: map[string]Peer{}} }

// answered notes that a follower answered an append of this replica's in a term.
func (p *Progress) answered(term uint64, replica string, now time.Time) {
	p.update(term, replica, func(peer *Peer) {
		if now.Sub(peer.Answered) > contactGap {
			peer.Since = now
		}
		peer.Answered = now
	})
}

// matched sets rather than raises the index: a follower's log may have been cut
// by a leader in between.
func (p *Progress) matched(term uint64, replica string, index uint64) {
	p.update(term, replica, func(peer *Peer) { peer.Match = index })
}

// update changes what is known of a follower, unless it is of a past term. What
// was known in a past term is forgotten: match indexes do not outlive it.
func (p *Progress) update(term uint64, replica string, change func(*Peer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if term < p.term {
		return
	}
	if term > p.term {
		p.term = term
		clear(p.peers)
	}
	peer := p.peers[replica]
	change(&peer)
	p.peers[replica] = peer
}

func (p *Progress) heard(commit uint64, sent fsm.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if sent > p.sent {
		p.commit, p.sent = commit, sent
	}
}

// Peer returns what is known of a follower in a term: nothing before it answered
// there.
func (p *Progress) Peer(term uint64, replica string) Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if term != p.term {
		return Peer{}
	}
	return p.peers[replica]
}

// asOf returns the leader's clock when it sent the newest append whose commits
// are all applied here, if applied has reached them; ok is false before the
// first append and while this replica lags.
func (p *Progress) asOf(applied uint64) (sent fsm.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent, p.sent != 0 && applied >= p.commit
}
