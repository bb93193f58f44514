package link

import (
	"io"
	"sync/atomic"
	"time"
)

// Silence is measured in beats and not with a clock: a process that was stopped
// for a minute misses its beats as well, and finds what arrived in the meantime
// before it finds the peer dead.
const (
	beat = time.Second
	// pingAfter so many silent beats the caller's side asks for a sign.
	pingAfter = 2
	// callerPatience is how many silent beats end the connection on the
	// dialling side: 5 to 6 seconds.
	callerPatience = 5
	// serverPatience is the same on the accepting side, which only listens:
	// a live caller pings well within it.
	serverPatience = 15
)

// pulse notes whether anything arrives on a connection, in whole frames or not.
type pulse struct{ beating atomic.Bool }

// reader returns r, watched.
func (p *pulse) reader(r io.Reader) io.Reader { return &pulseReader{r, p} }

type pulseReader struct {
	io.Reader
	pulse *pulse
}

func (r *pulseReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if n > 0 && !r.pulse.beating.Load() { // a store only once a beat
		r.pulse.beating.Store(true)
	}
	return n, err
}

// watch returns errSilent after so many silent beats, or errClosed when done is
// closed. From pingAfter on it calls ping, every beat.
func (p *pulse) watch(done <-chan struct{}, patience int, ping func()) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for silent := 0; silent < patience; {
		select {
		case <-done:
			return errClosed
		case <-tick.C:
		}
		silent++
		if p.beating.Swap(false) {
			silent = 0
		}
		if silent >= pingAfter {
			ping()
		}
	}
	return errSilent
}
