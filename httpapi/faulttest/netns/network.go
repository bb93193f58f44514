//go:build linux

package netns

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// MaxHosts of a network.
const MaxHosts = 100

// late is how many packets may be on the way of a link that delays; what comes
// beyond is dropped.
const late = 8192

// Link is what happens to packets from one host to another. The zero Link passes
// them all.
type Link struct {
	Drop      bool
	Loss      float64       // the share that is lost, 0 to 1
	Duplicate float64       // the share that comes twice
	Delay     time.Duration // of each, more or less
	Jitter    time.Duration // by so much, without overtaking
}

// Counts of packets.
type Counts struct{ Passed, Dropped, Delayed, Doubled uint64 }

// Network is hosts and the switch between them. Its methods may be called at the
// same time.
type Network struct {
	hosts []*Host
	pairs [][]*pair // by sender and receiver
	all   sync.WaitGroup
	end   chan struct{}
}

// pair is a directed pair of hosts.
type pair struct {
	to                                *os.File
	link                              atomic.Pointer[Link]
	passed, dropped, delayed, doubled atomic.Uint64
	line                              chan delayed
}

// delayed is a packet on its way.
type delayed struct {
	due    time.Time
	packet []byte
}

// New makes a network of n hosts whose links pass everything. The seed is of what
// is lost.
func New(n int, seed uint64) (*Network, error) {
	if n > MaxHosts {
		return nil, fmt.Errorf("a network has at most %d hosts", MaxHosts)
	}
	w := &Network{end: make(chan struct{})}
	for i := range n {
		h, err := newHost(netip.AddrFrom4([4]byte{10, 77, 0, byte(i + 1)}))
		if err != nil {
			w.Close()
			return nil, err
		}
		w.hosts = append(w.hosts, h)
	}
	for range n {
		row := make([]*pair, n)
		for to := range row {
			row[to] = &pair{to: w.hosts[to].tun, line: make(chan delayed, late)}
			row[to].link.Store(&Link{})
			w.all.Go(func() { row[to].deliver(w.end) })
		}
		w.pairs = append(w.pairs, row)
	}
	for i := range n {
		w.all.Go(func() { w.forward(i, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	return w, nil
}

// Host is one of the hosts.
func (w *Network) Host(i int) *Host { return w.hosts[i] }

// Set changes a link from now on.
func (w *Network) Set(from, to int, l Link) { w.pairs[from][to].link.Store(&l) }

// Counts are those of one link so far.
func (w *Network) Counts(from, to int) Counts {
	p := w.pairs[from][to]
	return Counts{p.passed.Load(), p.dropped.Load(), p.delayed.Load(), p.doubled.Load()}
}

// Total is the counts of all links.
func (w *Network) Total() (sum Counts) {
	for from := range w.hosts {
		for to := range w.hosts {
			c := w.Counts(from, to)
			sum.Passed, sum.Dropped = sum.Passed+c.Passed, sum.Dropped+c.Dropped
			sum.Delayed, sum.Doubled = sum.Delayed+c.Delayed, sum.Doubled+c.Doubled
		}
	}
	return sum
}

// Close ends the switch: the hosts' devices are gone, and whoever lives there is
// alone.
func (w *Network) Close() {
	close(w.end)
	for _, h := range w.hosts {
		h.close()
	}
	w.all.Wait()
}

// forward passes on what one host sends, until its device is closed.
func (w *Network) forward(from int, rng *rand.Rand) {
	buf := make([]byte, 1<<16)
	last := make([]time.Time, len(w.hosts)) // when the newest delayed packet is due
	for {
		n, err := w.hosts[from].tun.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			continue // a packet that could not be read is lost
		}
		to, ok := w.receiver(buf[:n])
		if !ok {
			continue
		}
		w.pairs[from][to].take(buf[:n], rng, &last[to])
	}
}

// receiver reads whom an IPv4 packet is for.
func (w *Network) receiver(packet []byte) (int, bool) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return 0, false // an IPv6 device announces itself to no one
	}
	at := int(packet[19]) - 1
	return at, [3]byte(packet[16:19]) == [3]byte{10, 77, 0} && at >= 0 && at < len(w.hosts)
}

// take does with a packet what the link says. last is for the link's sender alone.
func (p *pair) take(packet []byte, rng *rand.Rand, last *time.Time) {
	l := p.link.Load()
	if l.Drop || l.Loss > 0 && rng.Float64() < l.Loss {
		p.dropped.Add(1)
		return
	}
	copies := 1
	if l.Duplicate > 0 && rng.Float64() < l.Duplicate {
		copies = 2
		p.doubled.Add(1)
	}
	now := time.Now()
	due := now.Add(l.Delay)
	if l.Jitter > 0 {
		due = due.Add(time.Duration(rng.Int64N(int64(2*l.Jitter))) - l.Jitter)
	}
	if due.Before(*last) {
		due = *last // packets of a link keep their order, across changes of it too
	}
	for range copies {
		if !due.After(now) {
			p.write(packet)
			continue
		}
		*last = due
		select {
		case p.line <- delayed{due, append([]byte(nil), packet...)}:
			p.delayed.Add(1)
		default:
			p.dropped.Add(1)
		}
	}
}

// deliver passes on what was delayed.
func (p *pair) deliver(end <-chan struct{}) {
	for {
		select {
		case d := <-p.line:
			select {
			case <-time.After(time.Until(d.due)):
			case <-end:
				return
			}
			p.write(d.packet)
		case <-end:
			return
		}
	}
}

// write hands a packet to the receiver, whose kernel takes it or drops it.
func (p *pair) write(packet []byte) {
	if _, err := p.to.Write(packet); err != nil {
		p.dropped.Add(1)
		return
	}
	p.passed.Add(1)
}
