package blackbox

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

const (
	flips, flipsLong                   = 4, 200
	flipPartitions, flipPartitionsLong = 1, 2
	// flipTeams is how many teams there are, flipGuesses how many answers of
	// flipAnswer characters they give for each partition: enough that every group has
	// a snapshot.
	flipTeams, flipGuesses, flipAnswer = 100, 11_000, 1000
	// ballast is how many hunts make the controller's log worth a snapshot.
	ballast = 5
	// reportLag is longer than it takes until the cluster no longer shows what a
	// node reported before it was stopped.
	reportLag = 2500 * time.Millisecond
	// maxDeaths is how often a node may end itself after one flip before it has
	// found all that is wrong.
	maxDeaths = 3
)

// advice is what a message must hold to count as saying what to do.
var advice = regexp.MustCompile(`(?i)restore|move .* away|join .* again|use another|name an? `)

// TestBitFlips flips a bit of a random file of a stopped node, starts it, and
// asks everybody: never may there be a wrong answer. The node works as if nothing
// were, or is filled again by its peers, or says what to do and ends; then the
// bit is put back.
func TestBitFlips(t *testing.T) {
	besideAnother(t)
	c := start(t, 3, "--partitions", strconv.Itoa(form(flipPartitions, flipPartitionsLong)))
	rng := random(t)
	f := newFlipped(t, c, rng)
	n := form(flips, flipsLong)
	outcomes := map[string]int{}
	for i := range n {
		outcome := f.one(i)
		outcomes[outcome]++
		if t.Failed() {
			t.Fatalf("after flip %d, which was %s", i, outcome)
		}
	}
	t.Logf("%d flips: %v", n, outcomes)
	for i := range c.Nodes() {
		f.books.audit(t, c.at(i, c.AdminToken()), client.Default)
	}
}

// flipped is a cluster with a hunt that does not change, whose truth is known,
// and one that goes on.
type flipped struct {
	t     *testing.T
	c     *cluster
	rng   *rand.Rand
	truth map[string][]byte // answers by path
	live  []fsm.TeamID
	books *books // of the hunt that goes on
}

func newFlipped(t *testing.T, c *cluster, rng *rand.Rand) *flipped {
	t.Helper()
	f := &flipped{t: t, c: c, rng: rng, truth: map[string][]byte{}, books: newBooks("live")}
	still := quiz("still", 5)
	teams, _ := c.open(still, flipTeams)
	f.live, _ = c.open(quiz("live", 1), 8)
	for n, team := range teams {
		for k := range n % 5 {
			in := rest.NewSubmission{Clue: fsm.ClueID(fmt.Sprintf("c%d", k+2)), Answer: right}
			if _, err := c.admin().Submit(t.Context(), still.id(), team, in, fmt.Sprintf("solve%d", k)); err != nil {
				t.Fatal(err)
			}
		}
	}
	partitions := form(flipPartitions, flipPartitionsLong)
	n := partitions * flipGuesses
	c.guess(still.id(), guesses(t, teams, 0, n, flipAnswer), n, false)
	for n := range ballast {
		if _, _, err := c.admin().CreateHunt(t.Context(), heavy(n, rng).json()); err != nil {
			t.Fatal(err)
		}
	}
	c.awaitSnapshots(partitions)
	eventually(t, recoverWithin, "every node has a snapshot of the controller", func() error { return c.haveSnapshots("controller") })
	f.learn(still.id(), teams)
	return f
}

// heavy is a hunt of a few MiB that do not compress.
func heavy(n int, rng *rand.Rand) document {
	doc := quiz(fsm.HuntID(fmt.Sprintf("ballast%d", n)), 40)
	for _, clue := range doc["clues"].([]map[string]any) {
		prompt := make([]byte, 60<<10)
		for i := range prompt {
			prompt[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[rng.IntN(62)]
		}
		clue["prompt"] = string(prompt)
	}
	return doc
}

// learn asks for everything that will be asked again, before anything is wrong.
func (f *flipped) learn(hunt fsm.HuntID, teams []fsm.TeamID) {
	f.t.Helper()
	base := "/v1/hunts/" + string(hunt)
	paths := []string{base + "/leaderboard?page_size=1000", base + "/stats"}
	for _, team := range teams[:10] {
		paths = append(paths, base+"/teams/"+string(team), base+"/teams/"+string(team)+"/submissions?page_size=1000")
	}
	for _, path := range paths {
		status, _, body := f.c.get(0, strongly(path))
		if status != http.StatusOK {
			f.t.Fatalf("%s: %d %s", path, status, body)
		}
		f.truth[path] = body
	}
}

// strongly asks a board for everything acknowledged; what else there is gives
// that by default.
func strongly(path string) string {
	if strings.Contains(path, "/leaderboard?") {
		return path + "&consistency=strong"
	}
	return path
}

func stalely(path string) string {
	if strings.Contains(path, "?") {
		return path + "&consistency=stale"
	}
	return path + "?consistency=stale"
}

// one flips one bit and returns what came of it.
func (f *flipped) one(n int) string {
	f.t.Helper()
	victim := f.rng.IntN(f.c.Nodes())
	if f.rng.IntN(2) == 0 {
		f.c.Kill(victim)
	} else {
		f.c.Terminate(victim)
	}
	b := f.pick(f.c.Data(victim))
	what := fmt.Sprintf("flip %d: bit %d of byte %d of %s of %s", n, b.bit, b.offset, b.name, f.c.Name(victim))
	b.flip(f.t)
	begin, mark := time.Now(), f.c.logSize(victim)
	outcome := f.start(victim, b)
	for deaths := 0; !f.heal(victim, what); deaths++ {
		if deaths == maxDeaths {
			f.t.Fatalf("%s: the node has ended %d times", what, deaths)
		}
		outcome = f.start(victim, b)
	}
	if outcome == "works" && strings.Contains(f.c.logSince(victim, mark), "damaged") {
		outcome = "heals"
	}
	for i := range f.c.Nodes() {
		f.ask(i, slices.Sorted(maps.Keys(f.truth)), strongly, true)
	}
	f.askStale(victim)
	key := fmt.Sprintf("k%d", n)
	err := f.books.submit(f.t.Context(), f.c.at(victim, f.c.AdminToken()), f.live[n%len(f.live)], rest.NewSubmission{Clue: "c1", Answer: key}, key)
	if err != nil {
		f.t.Errorf("%s: a submission through the node: %v", what, err)
	}
	f.t.Logf("%s: %s after %.1f s", what, outcome, time.Since(begin).Seconds())
	return outcome
}

// start starts the node. If it refuses, its message must help; then the bit is
// put back and it must start.
func (f *flipped) start(victim int, b *bit) string {
	f.t.Helper()
	mark := f.c.logSize(victim)
	ctx, cancel := context.WithTimeout(f.t.Context(), startWithin)
	defer cancel()
	if f.c.Restart(ctx, victim) == nil {
		return "works"
	}
	if f.c.pid(victim) != 0 {
		f.t.Fatalf("%s neither serves nor ends; its log:\n%s", f.c.Name(victim), f.c.logSince(victim, mark))
	}
	if said := f.c.logSince(victim, mark); !strings.Contains(said, "cairn: ") || !advice.MatchString(said) {
		f.t.Errorf("%s of %s is damaged, and the node ends without a word that helps:\n%s", b.name, f.c.Name(victim), said)
	}
	b.flip(f.t)
	f.c.revive(victim)
	return "refuses"
}

// heal waits until the cluster is whole again, and has been for longer than a
// report of what was may be under way, and asks everybody meanwhile: an answer may
// be missing, but not wrong. It returns false if the node ends.
func (f *flipped) heal(victim int, what string) bool {
	f.t.Helper()
	paths := slices.Sorted(maps.Keys(f.truth))
	end, whole := time.Now().Add(settleWithin), time.Time{}
	for {
		if f.c.pid(victim) == 0 {
			return false
		}
		switch err := f.c.settled(); {
		case err != nil && time.Now().After(end):
			f.t.Fatalf("%s: %v", what, err)
		case err != nil:
			whole = time.Time{}
		case whole.IsZero():
			whole = time.Now()
		case time.Since(whole) > reportLag:
			return true
		}
		path := paths[f.rng.IntN(len(paths)):]
		for i := range f.c.Nodes() {
			f.ask(i, path[:1], strongly, false)
		}
		wait(f.t.Context(), form(pollEvery, 0)) // the short form leaves room for another test
	}
}

// ask compares answers of one node with the truth. Unless they must come, they
// may be refused.
func (f *flipped) ask(node int, paths []string, how func(string) string, must bool) {
	f.t.Helper()
	for _, path := range paths {
		status, _, body := f.c.get(node, how(path), "Cairn-Timeout", shortly.String())
		if status == http.StatusOK && !bytes.Equal(body, f.truth[path]) {
			f.t.Errorf("A WRONG ANSWER of %s to %s:\n%.2000s\nwant\n%.2000s", f.c.Name(node), how(path), body, f.truth[path])
		}
		if must && status != http.StatusOK {
			f.t.Errorf("%s answers %s with %d %s", f.c.Name(node), how(path), status, body)
		}
	}
}

// askStale reads what the node itself has. Nothing has changed for long, so
// once it is caught up there is nothing to lag behind.
func (f *flipped) askStale(node int) {
	f.t.Helper()
	for path, want := range f.truth {
		eventually(f.t, electWithin, f.c.Name(node)+" has the truth of its own", func() error {
			if status, _, body := f.c.get(node, stalely(path)); status != http.StatusOK || !bytes.Equal(body, want) {
				return fmt.Errorf("%s is answered %d %.2000s\nwant\n%.2000s", path, status, body, want)
			}
			return nil
		})
	}
}

// bit is one bit of one file.
type bit struct {
	path, name string
	offset     int64
	bit        int
}

// pick chooses a kind of file, a file of that kind, and a bit of it, so that a
// small file is hit as often as a large one.
func (f *flipped) pick(dir string) *bit {
	f.t.Helper()
	kinds := map[string][]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if info, err := d.Info(); err != nil || info.Size() == 0 {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		kind := digits.ReplaceAllString(rel, "N")
		kinds[kind] = append(kinds[kind], rel)
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(kinds))
	files := kinds[names[f.rng.IntN(len(names))]]
	name := files[f.rng.IntN(len(files))]
	info, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		f.t.Fatal(err)
	}
	return &bit{filepath.Join(dir, name), name, f.rng.Int64N(info.Size()), f.rng.IntN(8)}
}

var digits = regexp.MustCompile(`[0-9]+`)

// flip turns the bit over; twice puts it back.
func (b *bit) flip(t *testing.T) {
	t.Helper()
	file, err := os.OpenFile(b.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var one [1]byte
	if _, err := file.ReadAt(one[:], b.offset); err != nil {
		t.Fatal(err)
	}
	one[0] ^= 1 << b.bit
	if _, err := file.WriteAt(one[:], b.offset); err != nil {
		t.Fatal(err)
	}
}
