//go:build linux

package faulttest

import (
	"os"
	"path/filepath"
	"strconv"
	"time"

	"cairn/httpapi/faulttest/mutant"
)

// clockVariable names the file that tells a node how far its wall clock is off, in
// nanoseconds. It does not begin with CAIRN_: it is no setting of the program.
const clockVariable = "FAULTS_CLOCK"

// clockMutations make the wall clock of the whole program one that can be moved: all
// that asks for the time, the standard library's checks of certificates included, is
// told another. Time that was measured is not, as it is with a real clock that jumps:
// the monotonic clock goes on.
var clockMutations = []mutant.Mutation{
	{
		Name: "clock", File: mutant.Goroot + "src/time/time.go",
		Old: "	sec, nsec, mono := runtimeNow()\n	if mono == 0 {",
		New: `	sec, nsec, mono := runtimeNow()
	if skew := FaultSkew.Load(); skew != 0 {
		sec, nsec = sec+skew/1e9, nsec+int32(skew%1e9)
		if nsec < 0 {
			sec, nsec = sec-1, nsec+1e9
		} else if nsec >= 1e9 {
			sec, nsec = sec+1, nsec-1e9
		}
	}
	if mono == 0 {`,
	},
	{
		Name: "clock", File: mutant.Goroot + "src/time/faultskew.go", New: `package time

import "sync/atomic"

// FaultSkew is how far Now is off, in nanoseconds.
var FaultSkew atomic.Int64
`,
	},
	{
		Name: "clock", File: "faultclock.go", New: `package main

import (
	"os"
	"strconv"
	"time"
)

// The clock is moved as the file says, from before main on.
func init() {
	file := os.Getenv("` + clockVariable + `")
	move := func() {
		text, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		skew, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			panic(err)
		}
		time.FaultSkew.Store(skew)
	}
	move()
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			move()
		}
	}()
}
`,
	},
}

func (r *rig) clockFile(i int) string { return filepath.Join(r.dir, "clock-"+strconv.Itoa(i)) }

// setClock has a node's wall clock be off by so much, if it can be.
func (r *rig) setClock(i int, off time.Duration) {
	path := r.clockFile(i)
	err := os.WriteFile(path+".tmp", []byte(strconv.FormatInt(int64(off), 10)), 0o600)
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		r.t.Error(err)
	}
}
