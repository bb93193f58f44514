package httpapi

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"cairn/fsm"
)

// Limits are how many requests a second this node takes, on average over
// RateWindow: from one token, or from one address with no valid token. Zero means
// any number. What is beyond is RateLimited, before anything is done for it. Other
// nodes count for themselves. The lines of a stream are not counted.
type Limits struct {
	// Team is for each token of a team.
	Team int
	// Staff is for each token of an organizer or admin.
	Staff int
	// Address is for all requests from an IPv4 address, or an IPv6 /64, that carry
	// no valid token. With a token the address does not count: a whole hunt may sit
	// behind one.
	Address int
	// Proxies are whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
}

// RateWindow is over how long a rate is averaged: that much of it may come at once.
const RateWindow = 5 * time.Second

const (
	// MaxRate bounds a limit, in requests a second.
	MaxRate = 1_000_000
	// maxBuckets is how many tokens, or addresses, are remembered; beyond it those
	// that were not seen for longest are forgotten, and begin anew.
	maxBuckets = 1 << 16
	// maxForwarded is how many addresses of an X-Forwarded-For are looked at, from
	// the last.
	maxForwarded = 16
)

// limits are the rate limits of a node.
type limits struct {
	team, staff, address *rateLimit // nil: none
	proxies              []netip.Prefix
	refused              func(reason string)
}

func newLimits(l Limits, refused func(string)) limits {
	return limits{
		team: newRateLimit("team", l.Team), staff: newRateLimit("staff", l.Staff), address: newRateLimit("address", l.Address),
		proxies: l.Proxies, refused: refused,
	}
}

// count counts a request whose token was looked at, with the outcome. The error is
// RateLimited.
func (l *limits) count(c *call, authErr error) error {
	limit, key := l.address, uint64(0)
	switch {
	case authErr != nil && fsm.KindOf(authErr) != fsm.Unauthenticated:
		return nil // it is not known whose it is
	case authErr != nil || c.who == nil:
		if limit == nil {
			return nil
		}
		key = limit.keyOf(network(clientAddr(c.r.RemoteAddr, c.r.Header["X-Forwarded-For"], l.proxies)))
	default:
		if limit = l.staff; c.who.Role == roleTeam {
			limit = l.team
		}
		if limit == nil {
			return nil
		}
		key = limit.keyOf(c.r.Header.Get("Authorization"))
	}
	state := limit.take(key, time.Since(limit.start))
	h := c.w.Header()
	h["Ratelimit-Policy"] = limit.policy
	h["Ratelimit"] = []string{limit.header(state)}
	if state.ok {
		return nil
	}
	l.refused("rate")
	return &fsm.Error{Kind: fsm.RateLimited, Msg: limit.message, After: state.after}
}

// rateLimit is the generic cell rate algorithm (ITU-T I.371): of each key it is
// remembered when everything it sent so far would have been sent at the rate. It
// may run ahead of the clock by the window. Two generations of keys, the older
// dropped when the younger is full, bound the memory.
type rateLimit struct {
	quota    int           // requests of a window
	interval time.Duration // of two requests at the rate
	name     string
	policy   []string // a header's value
	message  string
	start    time.Time // what times are counted from
	seed     maphash.Seed

	mu       sync.Mutex
	now, old map[uint64]time.Duration
}

// newRateLimit returns a limit of so many requests a second; nil for none.
func newRateLimit(name string, rate int) *rateLimit {
	if rate <= 0 {
		return nil
	}
	seconds := int(RateWindow / time.Second)
	quota := rate * seconds
	return &rateLimit{
		quota: quota, interval: RateWindow / time.Duration(quota), name: name,
		policy:  []string{fmt.Sprintf("%q;q=%d;w=%d", name, quota, seconds)},
		message: fmt.Sprintf("more than %d requests a second for %d seconds; nothing was done, try again later", rate, seconds),
		start:   time.Now(), seed: maphash.MakeSeed(),
		now: map[uint64]time.Duration{}, old: map[uint64]time.Duration{},
	}
}

// keyOf is a key of a token or address, which is not kept itself.
func (l *rateLimit) keyOf(s string) uint64 { return maphash.String(l.seed, s) }

// rateState is what a key has left.
type rateState struct {
	ok    bool
	left  int           // requests that may come at once
	after time.Duration // until all of the quota is there again; if not ok, until one is
}

// take counts a request of a key at a time.
func (l *rateLimit) take(key uint64, now time.Duration) rateState {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, known := l.now[key]
	if !known {
		until = l.old[key] // or zero, which is long ago
	}
	ahead := max(until-now, 0)
	next := ahead + l.interval
	if next > RateWindow {
		return rateState{after: next - RateWindow}
	}
	if !known && len(l.now) >= maxBuckets/2 {
		l.now, l.old = map[uint64]time.Duration{}, l.now
	}
	l.now[key] = now + next
	return rateState{ok: true, left: int((RateWindow - next) / l.interval), after: next}
}

// header is a RateLimit field: draft-ietf-httpapi-ratelimit-headers-11.
func (l *rateLimit) header(s rateState) string {
	b := make([]byte, 0, 40)
	b = append(b, '"')
	b = append(b, l.name...)
	b = append(b, `";r=`...)
	b = strconv.AppendInt(b, int64(s.left), 10)
	b = append(b, `;t=`...)
	b = strconv.AppendInt(b, int64((s.after+time.Second-1)/time.Second), 10)
	return string(b)
}

// clientAddr is who sent a request: the peer of its connection, unless that is a
// proxy; then the last of whom the proxies say it was forwarded for that is none.
func clientAddr(remote string, forwarded []string, proxies []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{} // not of TCP: all of these count as one
	}
	addr := peer.Addr().Unmap()
	rest := strings.Join(forwarded, ",")
	for range maxForwarded {
		if !trusted(addr, proxies) || rest == "" {
			break
		}
		i := strings.LastIndexByte(rest, ',')
		last := strings.TrimSpace(rest[i+1:])
		rest = rest[:max(i, 0)]
		next, err := netip.ParseAddr(last)
		if err != nil {
			break // the proxy that wrote this is the last one that is known
		}
		addr = next.Unmap().WithZone("")
	}
	return addr
}

func trusted(addr netip.Addr, proxies []netip.Prefix) bool {
	for _, p := range proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// network is what counts as one sender: an IPv4 address, or an IPv6 /64, which is
// what one household gets.
func network(addr netip.Addr) string {
	if addr.Is6() {
		p, _ := addr.Prefix(64) // no error: it has 128 bits
		addr = p.Addr()
	}
	b, _ := addr.MarshalBinary() // never fails
	return string(b)
}
