package blackbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

// toRecover is what a node recovers from.
type toRecover struct {
	partitions int
	// load is how many submissions there are, answer how long each one is: enough
	// for a snapshot of every partition. tail is how many come after those.
	load, answer, tail int
	// teams share them. A replay has one line of each on its way, so this is also
	// what an entry of the log holds at most: with more, the log would need more
	// rounds until it is as long as it ever gets.
	teams int
	// slack is how much the disk may be above the plateau beside grace. A short log
	// is a few files, which come and go whole; plateau rounds must write more.
	slack int64
}

var (
	shortRecover = toRecover{partitions: 1, load: 12_000, answer: 1000, tail: 500, teams: 50, slack: 17 << 20}
	longRecover  = toRecover{partitions: 2, load: 100_000, answer: 160, tail: 2_000, teams: 100}
)

const (
	// recoverWithin bounds a node's way from its start to what the others have.
	recoverWithin = 60 * time.Second
	// plateau is how many rounds of repeats in a row may not add more than grace
	// to the most memory and disk that there was before; it must come within
	// maxRepeats rounds.
	plateau, maxRepeats = 3, 16
	grace               = 0.05
)

// TestRecover restarts a node after many submissions, and then sends the same
// ones over and over: what is known already must cost nothing.
func TestRecover(t *testing.T) {
	size := form(shortRecover, longRecover)
	load, tail := size.load, size.tail
	c := start(t, 3, "--partitions", strconv.Itoa(size.partitions))
	doc := quiz("recover", 1)
	teams, _ := c.open(doc, size.teams)
	many, more := guesses(t, teams, 0, load, size.answer), guesses(t, teams, load, load+tail, size.answer)
	begin := time.Now()
	c.guess(doc.id(), many, load, false)
	t.Logf("%d submissions in %.1f s", load, time.Since(begin).Seconds())
	c.awaitSnapshots(size.partitions)
	c.guess(doc.id(), more, tail, false)

	c.recovers(1)
	c.wantCounts(doc.id(), load+tail)

	used := [][]usage{c.usage()}
	for round := range maxRepeats {
		c.guess(doc.id(), many, load, true)
		used = append(used, c.usage())
		t.Logf("repeats %d: %v", round+1, used[len(used)-1])
		if flat(used, size.slack) {
			c.wantCounts(doc.id(), load+tail)
			return
		}
	}
	t.Errorf("%d rounds of %d repeats, and memory or disk still grow", maxRepeats, load)
}

// recovers kills a node and starts it while the others stand still: what it has
// then is from its own snapshots. When they go on it is level with them soon.
func (c *cluster) recovers(victim int) {
	t := c.t
	t.Helper()
	others := []int{(victim + 1) % 3, (victim + 2) % 3}
	want := c.applied(others[0])
	c.Kill(victim)
	for _, i := range others {
		c.pause(i)
	}
	begin := time.Now()
	c.revive(victim)
	t.Logf("serves again after %.2f s", time.Since(begin).Seconds())
	alone := c.applied(victim)
	for _, i := range others {
		c.resume(i)
	}
	for p, index := range want {
		if alone[p] == 0 || alone[p] >= index {
			t.Errorf("alone, the node has %s applied up to %v; it had snapshots, and %v in its log", p, alone[p], index)
		}
	}
	eventually(t, recoverWithin, "the restarted node has applied what the others had", func() error {
		now := c.applied(victim)
		for p, index := range want {
			if now[p] < index {
				return fmt.Errorf("it is at %v, they were at %v", now, want)
			}
		}
		return nil
	})
	t.Logf("had %v from snapshots, and %v after %.2f s", alone, want, time.Since(begin).Seconds())
}

// applied is how far a node has applied each partition's log, as its metrics say.
func (c *cluster) applied(i int) map[string]int {
	c.t.Helper()
	_, _, body := c.get(i, "/metrics")
	out := map[string]int{}
	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if partition, ok := strings.CutPrefix(name, "cairn_partition_applied_index{"); ok {
			index, err := strconv.ParseFloat(value, 64)
			if err != nil {
				c.t.Fatal(err)
			}
			out[strings.TrimSuffix(partition, "}")] = int(index)
		}
	}
	if len(out) == 0 {
		c.t.Fatalf("the metrics of %s tell no applied index", c.Name(i))
	}
	return out
}

// guesses writes wrong answers number from to number to, of some length each and
// dealt to the teams, into a file for "cairn replay", and returns its name.
func guesses(t *testing.T, teams []fsm.TeamID, from, to, length int) string {
	t.Helper()
	var b []byte
	for n := from; n < to; n++ {
		answer := fmt.Sprintf("guess %d ", n)
		b = append(rest.AppendBatchLine(b, &rest.BatchLine{
			Key: fmt.Sprintf("k%d", n), Team: teams[n%len(teams)], Clue: "c1", Answer: answer + strings.Repeat("x", length-len(answer)),
		}), '\n')
	}
	file := filepath.Join(t.TempDir(), "guesses.ndjson")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// guess replays a file of n wrong answers, none or all of which are known.
func (c *cluster) guess(hunt fsm.HuntID, file string, n int, known bool) {
	c.t.Helper()
	sum, replayed := c.replay(hunt, file), 0
	if known {
		replayed = n
	}
	if sum.Verdicts["incorrect"] != n || sum.Replayed < replayed || !known && sum.Replayed > sum.Resent {
		c.t.Fatalf("replay of %d guesses says %+v", n, sum)
	}
}

// awaitSnapshots waits until every node has a snapshot of every partition, and the
// register one of each.
func (c *cluster) awaitSnapshots(partitions int) {
	c.t.Helper()
	eventually(c.t, recoverWithin, "snapshots of all partitions", func() error {
		list, err := c.admin().Snapshots(c.t.Context())
		if err == nil && len(list.Snapshots) != partitions {
			err = fmt.Errorf("the register has %s", show(list.Snapshots))
		}
		for p := 0; p < partitions && err == nil; p++ {
			err = c.haveSnapshots(fmt.Sprintf("p%04d", p))
		}
		return err
	})
}

// haveSnapshots says which node has no snapshot of a group: each takes its own.
func (c *cluster) haveSnapshots(group string) error {
	for i := range c.Nodes() {
		files, err := filepath.Glob(filepath.Join(c.Data(i), "snapshots", group, "*.snap"))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("%s has none of %s (%v)", c.Name(i), group, err)
		}
	}
	return nil
}

// wantCounts compares the counts that every node tells.
func (c *cluster) wantCounts(hunt fsm.HuntID, incorrect int) {
	c.t.Helper()
	for i := range c.Nodes() {
		s, err := c.at(i, c.AdminToken()).Stats(c.t.Context(), hunt, client.Strong)
		if err != nil || s.Submissions["incorrect"] != incorrect {
			c.t.Errorf("%s counts %s (%v), want %d incorrect", c.Name(i), show(s), err, incorrect)
		}
	}
}

// usage is what a node takes, in bytes.
type usage struct{ memory, disk int64 }

func (u usage) String() string {
	return fmt.Sprintf("%.1f MB memory, %.1f MB disk", float64(u.memory)/1e6, float64(u.disk)/1e6)
}

// usage measures every node: its resident memory, and its data directory's blocks.
func (c *cluster) usage() []usage {
	c.t.Helper()
	out := make([]usage, c.Nodes())
	for i := range out {
		memory, err1 := resident(c.pid(i))
		disk, err2 := diskUsage(c.Data(i))
		if err := errors.Join(err1, err2); err != nil {
			c.t.Fatal(err)
		}
		out[i] = usage{memory, disk}
	}
	return out
}

func resident(pid int) (int64, error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err
	}
	for s := bufio.NewScanner(bytes.NewReader(status)); s.Scan(); {
		if kb, ok := strings.CutPrefix(s.Text(), "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(kb, "kB")), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("no VmRSS")
}

// diskUsage adds up files, which may come and go meanwhile.
func diskUsage(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total, err
}

// flat reports whether no node took more than grace, and slack on its disk, above
// its peak of before in any of the last plateau rounds. It is peaks that count: the
// log's files come and go whole, so what they take goes up and down by one of them
// all the time.
func flat(used [][]usage, slack int64) bool {
	if len(used) <= plateau {
		return false
	}
	before, since := used[:len(used)-plateau], used[len(used)-plateau:]
	for i := range used[0] {
		was, now := peak(before, i), peak(since, i)
		if exceeds(now.memory, was.memory) || exceeds(now.disk-slack, was.disk) {
			return false
		}
	}
	return true
}

// peak is the most that a node took in some rounds.
func peak(used [][]usage, node int) (most usage) {
	for _, round := range used {
		most.memory, most.disk = max(most.memory, round[node].memory), max(most.disk, round[node].disk)
	}
	return most
}

func exceeds(now, then int64) bool { return float64(now) > (1+grace)*float64(then) }
