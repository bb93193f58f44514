package httpapi

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"cairn/fsm"
)

// bucket is the naive twin of a rateLimit's key: credit that drips in, in
// nanoseconds, of which each request takes an interval.
type bucket struct{ credit, last time.Duration }

func (b *bucket) take(now, interval time.Duration) bool {
	b.credit = min(RateWindow, b.credit+now-b.last)
	b.last = now
	if b.credit < interval {
		return false
	}
	b.credit -= interval
	return true
}

// TestRateTwin: decisions and what is left are those of a bucket that drips, for
// bursts, steady senders and silence.
func TestRateTwin(t *testing.T) {
	rates := []int{1, 2, 4, 5, 8, 10, 20, 25, 40, 50}
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 0))
		rate := rates[rng.IntN(len(rates))]
		l := newRateLimit("x", rate)
		interval := time.Second / time.Duration(rate)
		twins := map[uint64]*bucket{}
		now := time.Duration(0)
		refused := 0
		for range 5000 {
			if rng.IntN(4) > 0 {
				now += time.Duration(rng.ExpFloat64() * float64(interval) / 8)
			}
			if rng.IntN(2000) == 0 {
				now += time.Duration(rng.Int64N(int64(2 * RateWindow)))
			}
			key := rng.Uint64N(3)
			if twins[key] == nil {
				twins[key] = &bucket{credit: RateWindow, last: now}
			}
			got, want := l.take(key, now), twins[key].take(now, interval)
			if got.ok != want || got.ok && got.left != int(twins[key].credit/interval) {
				t.Fatalf("seed %d: %+v, the bucket says %v with %v left", seed, got, want, twins[key].credit)
			}
			if !got.ok {
				refused++
				if early := now + got.after - 1; twins[key].credit+early-now >= interval || twins[key].credit+got.after < interval {
					t.Fatalf("seed %d: told to wait %v with %v of %v", seed, got.after, twins[key].credit, interval)
				}
			}
		}
		if refused < 100 || refused > 4900 {
			t.Errorf("seed %d: %d of 5000 were refused, which tries little", seed, refused)
		}
	}
}

// TestRateAfter: who waits as long as it was told is taken.
func TestRateAfter(t *testing.T) {
	l := newRateLimit("x", 10)
	now := time.Minute
	for range l.quota {
		if s := l.take(1, now); !s.ok {
			t.Fatalf("refused within the quota: %+v", s)
		}
	}
	for range 20 {
		s := l.take(1, now)
		if s.ok || s.left != 0 || s.after <= 0 {
			t.Fatalf("beyond the quota: %+v", s)
		}
		now += s.after
		if s = l.take(1, now); !s.ok {
			t.Fatalf("refused after it waited: %+v", s)
		}
	}
}

// TestRateMemory: however many senders there are, no more than maxBuckets are
// remembered, and the latest of them are.
func TestRateMemory(t *testing.T) {
	l := newRateLimit("x", 1)
	for range l.quota {
		l.take(0, 0) // its quota is used up, and it goes on trying
	}
	for key := range uint64(4 * maxBuckets) {
		l.take(key+1, 0)
		if n := len(l.now) + len(l.old); n > maxBuckets {
			t.Fatalf("%d keys are remembered", n)
		}
		if s := l.take(key+1, 0); s.left != l.quota-2 {
			t.Fatalf("key %d was forgotten at once", key)
		}
	}
	if _, kept := l.old[1]; kept {
		t.Error("the oldest key is remembered")
	}
}

// TestRateGenerations: who has used up its quota gets none anew because others came.
func TestRateGenerations(t *testing.T) {
	l := newRateLimit("x", 1)
	for range l.quota {
		l.take(0, 0)
	}
	for key := uint64(1); len(l.old) == 0; key++ {
		l.take(key, 0)
	}
	if _, young := l.now[0]; young {
		t.Fatal("its generation is not the older one: this test shows nothing")
	}
	if s := l.take(0, 0); s.ok {
		t.Errorf("its quota is there again: %+v", s)
	}
	now := 2 * l.interval
	if s := l.take(0, now); !s.ok || s.left != 1 {
		t.Errorf("after two intervals: %+v, want one left", s)
	}
	if s := l.take(0, now); !s.ok || s.left != 0 {
		t.Errorf("once more: %+v", s)
	}
}

// TestRateUnknownSender: while tokens cannot be checked nobody's quota is used.
func TestRateUnknownSender(t *testing.T) {
	l := newLimits(Limits{Address: 1}, func(string) {})
	count := func(authErr error) (http.Header, error) {
		c := &call{r: httptest.NewRequest("GET", "/v1/hunts", nil), w: &response{ResponseWriter: httptest.NewRecorder()}}
		err := l.count(c, authErr)
		return c.w.Header(), err
	}
	for range 10 * l.address.quota {
		if h, err := count(fsm.Errorf(fsm.Unavailable, "no leader")); err != nil || len(h) > 0 {
			t.Fatalf("%v, %v", err, h)
		}
	}
	for range l.address.quota {
		if _, err := count(fsm.Errorf(fsm.Unauthenticated, "no such token")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := count(fsm.Errorf(fsm.Unauthenticated, "no such token")); fsm.KindOf(err) != fsm.RateLimited {
		t.Errorf("one guess more than the quota: %v", err)
	}
}

// TestClientAddr: only proxies are believed about whom they forward for.
func TestClientAddr(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		remote    string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:5", nil, "192.0.2.1"},
		{"192.0.2.1:5", []string{"198.51.100.7"}, "192.0.2.1"},
		{"10.1.1.1:5", nil, "10.1.1.1"},
		{"10.1.1.1:5", []string{"198.51.100.7"}, "198.51.100.7"},
		{"10.1.1.1:5", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		{"10.1.1.1:5", []string{"203.0.113.9", "198.51.100.7, 10.2.2.2"}, "198.51.100.7"},
		{"10.1.1.1:5", []string{"198.51.100.7, nonsense"}, "10.1.1.1"},
		{"10.1.1.1:5", []string{"10.9.9.9"}, "10.9.9.9"},
		{"[::ffff:10.1.1.1]:5", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		{"[fd00::1]:5", []string{"2001:db8::1%eth0"}, "2001:db8::1"},
		{"@", []string{"198.51.100.7"}, "invalid IP"},
	} {
		if got := clientAddr(c.remote, c.forwarded, proxies); got.String() != c.want {
			t.Errorf("%s forwarded %q: %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}

// TestNetwork: a household is one sender, two are two.
func TestNetwork(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
	} {
		if same := network(netip.MustParseAddr(c.a)) == network(netip.MustParseAddr(c.b)); same != c.same {
			t.Errorf("%s and %s are one sender: %v", c.a, c.b, same)
		}
	}
}

func BenchmarkRateLimit(b *testing.B) {
	l := newRateLimit("x", MaxRate)
	tokens := make([]string, 1000)
	for i := range tokens {
		tokens[i] = fmt.Sprintf("Bearer cairn_t_%060d", i)
	}
	b.ReportAllocs()
	for i := range b.N {
		l.header(l.take(l.keyOf(tokens[i%len(tokens)]), time.Duration(i)))
	}
}
