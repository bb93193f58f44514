//go:build linux

package faulttest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cairn/cluster/faulttest"
)

const (
	// players are the processes whose clients play. Teams have clients in two of them:
	// playersClients is no multiple of their number.
	players       = 3
	clients       = 18
	clientsOfTeam = 4
	// roundLasts is how long a team is played for, at least.
	roundLasts = 6 * time.Second
	movePause  = 100 * time.Millisecond
	// callTimeout is what a client waits, and nodeTimeout what the node is given: its
	// answer that it could not do it in time should arrive.
	callTimeout = 2 * time.Second
	nodeTimeout = 1700 * time.Millisecond
	// mostTeams is how many fit on one page of a board.
	mostTeams = 900
	// playVariable makes this program a player: it names the file with its part.
	playVariable = "FAULTS_PLAY"
)

// workloadOf is what is played for a time.
func workloadOf(seed uint64, lasts time.Duration) faulttest.Workload {
	w := faulttest.Workload{
		Seed: seed, Clients: clients, PerTeam: clientsOfTeam, Round: roundLasts, Rounds: 1,
		Pause: movePause, Timeout: callTimeout, Editors: 1,
	}
	sides := w.Teams()
	w.Round = max(roundLasts, lasts*time.Duration(sides)/mostTeams)
	w.Rounds = max(1, int((lasts+w.Round-1)/w.Round))
	return w
}

// part is what a player is told.
type part struct {
	Known    known              `json:"known"`
	Workload faulttest.Workload `json:"workload"`
	Count    int                `json:"count"`
	Begin    int64              `json:"begin"` // of the run, on the system's monotonic clock, in nanoseconds
	History  string             `json:"history"`
}

// monotonic is the clock that all processes share and nothing moves.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // it has always been there
	}
	return ts.Nano()
}

// playPart is the main function of a player.
func playPart(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var p part
	if err := json.Unmarshal(raw, &p); err != nil {
		return err
	}
	file, err := os.Create(p.History)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(file, 1<<16)
	log := faulttest.NewLog(time.Now().Add(-time.Duration(monotonic()-p.Begin)), out)
	r := &remote{known: p.Known, asked: nodeTimeout, http: &http.Client{Transport: &http.Transport{
		DialContext: (&net.Dialer{}).DialContext, MaxIdleConnsPerHost: clients, IdleConnTimeout: 30 * time.Second,
	}}}
	p.Workload.Run(context.Background(), r, log, p.Count)
	if _, err := log.Ops(); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return file.Close()
}

// play runs the players until they are through, and returns their errors.
func (r *rig) play(w faulttest.Workload, begin int64) (wait func() error) {
	done := make(chan error, players)
	for i := range players {
		first := i * w.Clients / players
		p := part{
			Known: r.known, Workload: w, Count: (i+1)*w.Clients/players - first, Begin: begin,
			History: historyFile(r.dir, i),
		}
		p.Workload.First = first
		path := filepath.Join(r.dir, "player-"+strconv.Itoa(i)+".json")
		raw, err := json.Marshal(p)
		if err == nil {
			err = os.WriteFile(path, raw, 0o600)
		}
		if err != nil {
			r.t.Fatal(err)
		}
		r.all.Go(func() { done <- r.player(i, path, w.For()) })
	}
	return func() error {
		var first error
		for range players {
			if err := <-done; err != nil && first == nil {
				first = err
			}
		}
		return first
	}
}

func historyFile(dir string, player int) string {
	return filepath.Join(dir, fmt.Sprintf("history-%d.ndjson", player))
}

// player runs one of them. It lives where its place is, and dies with this thread.
func (r *rig) player(i int, part string, lasts time.Duration) error {
	runtime.LockOSThread() // for good
	if enter := r.places[len(r.nodes)+i].Enter; enter != nil {
		if err := enter(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(r.ctx, lasts+healWithin)
	defer cancel()
	out, err := os.Create(filepath.Join(r.dir, "player-"+strconv.Itoa(i)+".log"))
	if err != nil {
		return err
	}
	defer out.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), playVariable+"="+part)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("player %d: %w, see %s", i, err, out.Name())
	}
	return nil
}

// histories reads what all players and the rig wrote down.
func (r *rig) histories() ([]faulttest.Op, error) {
	ops, err := r.log.Ops()
	if err != nil {
		return nil, err
	}
	for i := range players {
		file, err := os.Open(historyFile(r.dir, i))
		if err != nil {
			return nil, err
		}
		more, err := faulttest.ReadOps(file)
		file.Close()
		if err != nil {
			return nil, err
		}
		ops = append(ops, more...)
	}
	return ops, nil
}

func TestWorkloadsFitTheirTime(t *testing.T) {
	for _, lasts := range []time.Duration{time.Second, 30 * time.Second, 5 * time.Minute, 3 * time.Hour} {
		w := workloadOf(1, lasts)
		if w.For() < lasts || w.For() > lasts+w.Round || w.Teams() > mostTeams+w.Teams()/w.Rounds {
			t.Errorf("%v: %v of rounds of %v", lasts, w, w.Round)
		}
	}
}
