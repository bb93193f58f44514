//go:build linux

package faulttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cairn/cluster/faulttest"
	"cairn/httpapi/cli/local"
	"cairn/httpapi/client"
	"cairn/httpapi/faulttest/netns"
)

const (
	nodes      = 5
	partitions = 8
	// startWithin bounds the founding, healWithin the way back to a whole cluster
	// once nothing is wrong any more.
	startWithin = 2 * time.Minute
	healWithin  = 2 * time.Minute
	pollEvery   = 20 * time.Millisecond
	// superviseEvery is how often is looked for nodes that should run, and restartAfter
	// how long one is left that ended by itself.
	superviseEvery = 100 * time.Millisecond
	restartAfter   = 500 * time.Millisecond
)

// flags make the cluster notice and move within the time of a fault.
var flags = []string{
	"--partitions", strconv.Itoa(partitions), "--team-rate", "0", "--staff-rate", "0", "--address-rate", "0",
	"--node-timeout", "2s", "--reassign-after", "3s",
}

// rig is a cluster that can be hurt.
type rig struct {
	*local.Cluster
	known known
	t     *testing.T
	dir   string
	log   *faulttest.Log
	has   need
	nodes []*member // those that there may be
	http  *http.Client
	count counts
	meter leaderMeter
	links links
	disks []*disk // none without

	worthless bool // nobody needs the run's files: it found nothing

	sick  *sickness    // of decay
	liar  []int        // of failThenCut
	newer map[int]bool // of changeProgram

	network *netns.Network // nil: none
	places  []local.Place  // of nodes and then of players
	ctx     context.Context
	stop    context.CancelFunc
	all     sync.WaitGroup
}

// member is a node, as its supervisor knows it.
type member struct {
	out bool // it is no member of the cluster now; of churn

	mu     sync.Mutex
	want   bool // it should run
	ran    bool // it was started, and nobody has ended it since
	lives  int
	deaths []string // it ended by itself
}

// newRig starts a cluster for a run and ends it with the test.
func newRig(t *testing.T, p *plan, dir string, log *faulttest.Log) *rig {
	t.Helper()
	r := &rig{t: t, dir: dir, log: log, has: available(p), known: known{Lives: filepath.Join(dir, "lives")}, newer: map[int]bool{}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	for _, d := range []string{r.known.Lives, filepath.Join(dir, "nodes")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	most := nodes + p.spares()
	t.Cleanup(r.end)
	r.settleDown(most, p)
	if r.has&disks != 0 {
		r.mountDisks(most, p.seed)
	}
	binary := builds.program(t, r.has&p.needs)
	for i := range most {
		r.nodes = append(r.nodes, &member{want: i < nodes, out: i >= nodes})
		r.known.URLs = append(r.known.URLs, "http://"+r.places[i].HTTP)
		r.setClock(i, 0)
	}
	for i := range nodes {
		r.born(i)
	}
	ctx, cancel := context.WithTimeout(r.ctx, startWithin)
	defer cancel()
	var err error
	r.Cluster, err = local.Start(ctx, local.Config{
		Binary: binary, Dir: filepath.Join(dir, "nodes"), Nodes: nodes, Flags: flags, HTTP: r.http,
		Place: func(i int) local.Place { return r.places[i] },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.known.Admin = r.AdminToken()
	for i := range r.nodes {
		r.all.Go(func() { r.supervise(i) })
	}
	r.all.Go(r.measure)
	r.eventually(startWithin, "the cluster settles", r.whole)
	return r
}

// settleDown finds a place for each node and player: a namespace, or loopback.
func (r *rig) settleDown(most int, p *plan) {
	dial := (&net.Dialer{}).DialContext
	if r.has&network != 0 {
		w, err := netns.New(most+players+1, p.seed)
		if err != nil {
			r.t.Fatal(err)
		}
		r.network, dial = w, w.Host(most+players).Dial
		r.links.network = w
	}
	for i := range most + players {
		var place local.Place
		if r.network != nil {
			h := r.network.Host(i)
			place = local.Place{HTTP: h.Addr.String() + ":8080", Cluster: h.Addr.String() + ":7400", Enter: h.Enter}
		} else {
			place = local.Place{HTTP: freePort(r.t), Cluster: freePort(r.t)}
		}
		place.Env = []string{clockVariable + "=" + r.clockFile(i), faulttest.MutantVariable + "=" + p.mutant}
		r.places = append(r.places, place)
	}
	r.http = &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 16, IdleConnTimeout: 5 * time.Second}}
}

// freePort is a loopback address that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// end stops everything, the nodes last.
func (r *rig) end() {
	r.stop()
	r.all.Wait()
	if r.Cluster != nil {
		for i := range r.Nodes() {
			r.signal(i, syscall.SIGCONT)
		}
		if r.t.Failed() {
			r.KillAll() // what they would still do must not hide what they did
		}
		r.Stop()
	}
	for _, d := range r.disks {
		if err := d.unmount(); err != nil {
			r.t.Error(err)
		}
	}
	r.http.CloseIdleConnections()
	if r.network != nil {
		r.network.Close()
	}
	if r.worthless && !r.t.Failed() {
		if err := os.RemoveAll(r.dir); err != nil {
			r.t.Error(err)
		}
	}
}

// say tells what happens, with the run's time.
func (r *rig) say(format string, args ...any) {
	r.t.Logf("%7.1fs "+format, append([]any{r.log.Now().Seconds()}, args...)...)
}

// born counts a node's start, before it.
func (r *rig) born(i int) {
	r.nodes[i].lives++
	path := lifeFile(r.known.Lives, i)
	err := os.WriteFile(path+".tmp", []byte(strconv.Itoa(r.nodes[i].lives)), 0o600)
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		r.t.Error(err)
	}
}

// supervise starts a node again that should run and does not.
func (r *rig) supervise(i int) {
	m := r.nodes[i]
	for wait(r.ctx, superviseEvery) {
		m.mu.Lock()
		switch {
		case !m.want:
		case r.PID(i) != 0:
			m.ran = true
		case m.ran: // and has ended
			m.ran = false
			m.deaths = append(m.deaths, fmt.Sprintf("%s ended by itself: %v", r.Name(i), r.Ended(r.ctx, i)))
			r.say("%s", m.deaths[len(m.deaths)-1])
			wait(r.ctx, restartAfter)
		default:
			r.born(i)
			if err := r.Launch(i); err != nil {
				r.t.Error(err)
			}
			m.ran = true
		}
		m.mu.Unlock()
	}
}

// expect says that a node runs and should, or that it is about to end by itself and
// may.
func (m *member) expect(running bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.want, m.ran = running, running
}

// down ends nodes at once, with SIGKILL, and keeps them down.
func (r *rig) down(list ...int) {
	var all sync.WaitGroup
	for _, i := range list {
		all.Go(func() {
			r.nodes[i].mu.Lock()
			defer r.nodes[i].mu.Unlock()
			r.nodes[i].want, r.nodes[i].ran = false, false
			r.Kill(i)
		})
	}
	all.Wait()
	r.count.add("killed", len(list))
}

// up lets nodes run again, unless they have left meanwhile.
func (r *rig) up(list ...int) {
	for _, i := range list {
		r.nodes[i].mu.Lock()
		r.nodes[i].want = !r.nodes[i].out
		r.nodes[i].mu.Unlock()
	}
}

// restart ends a node by SIGTERM; its supervisor starts it again.
func (r *rig) restart(i int) {
	r.nodes[i].mu.Lock()
	defer r.nodes[i].mu.Unlock()
	r.nodes[i].ran = false
	r.Terminate(i)
	r.count.add("restarted", 1)
}

// wanted are the nodes that should run.
func (r *rig) wanted() (list []int) {
	for i, m := range r.nodes {
		m.mu.Lock()
		if m.want {
			list = append(list, i)
		}
		m.mu.Unlock()
	}
	return list
}

// signal reaches a node that runs.
func (r *rig) signal(i int, sig syscall.Signal) {
	if pid := r.PID(i); pid != 0 {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			r.t.Errorf("%v to %s: %v", sig, r.Name(i), err)
		}
	}
}

// admin is a client of some nodes with the admin's token that does not try for long.
func (r *rig) admin(attempts int, list ...int) *client.Client {
	cl := &client.Client{Token: r.known.Admin, HTTP: r.http, Timeout: time.Second, Attempts: attempts}
	for _, i := range list {
		cl.Addrs = append(cl.Addrs, r.known.URLs[i])
	}
	return cl
}

// whole says what is not as it should be once nothing is wrong any more.
func (r *rig) whole() error {
	ctx, cancel := context.WithTimeout(r.ctx, 3*time.Second)
	defer cancel()
	want := r.wanted()
	for _, i := range want {
		if checks, err := r.admin(1, i).Ready(ctx); err != nil {
			return fmt.Errorf("%s: %w: %s", r.Name(i), err, checks)
		}
	}
	parts, err := r.admin(1, want...).Partitions(ctx)
	if err != nil {
		return err
	}
	for _, p := range parts.Partitions {
		voters := 0
		for _, m := range p.Replicas {
			if m.Role == "voter" && m.CaughtUp {
				voters++
			}
		}
		if p.State != "ok" || voters != 3 {
			return fmt.Errorf("partition %d is %s and has %d caught-up voters", p.ID, p.State, voters)
		}
	}
	return nil
}

// eventually polls check until it returns nil, and ends the test with its last error
// if it does not in time.
func (r *rig) eventually(within time.Duration, what string, check func() error) {
	r.t.Helper()
	if err := r.poll(within, check); err != nil {
		r.t.Fatalf("%s: not within %v: %v", what, within, err)
	}
}

func (r *rig) poll(within time.Duration, check func() error) error {
	for end := time.Now().Add(within); ; {
		err := check()
		if err == nil || time.Now().After(end) || r.ctx.Err() != nil {
			return err
		}
		wait(r.ctx, 5*pollEvery)
	}
}

// wait returns after d, or false when ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// counts are what was done to the rig, by name.
type counts struct {
	mu sync.Mutex
	m  map[string]int
}

func (c *counts) add(what string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]int{}
	}
	c.m[what] += n
}

func (c *counts) of(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[what]
}
