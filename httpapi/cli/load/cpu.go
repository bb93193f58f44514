package load

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// clockTick is the unit of CPU times in /proc: USER_HZ, which is 100 on every
// architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// CPU is the time, user and system, that the processes have used so far. It
// reads /proc and so works on Linux only.
func CPU(pids []int) (time.Duration, error) {
	var total time.Duration
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
		}
		ticks, err := parseStat(stat)
		if err != nil {
			return 0, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
		}
		total += time.Duration(ticks) * clockTick
	}
	return total, nil
}

// Waited is the time that the processes' threads have been ready to run and were
// not running, so far: the kernel's run_delay (sched-stats, "Documentation/
// scheduler"). Threads that have ended are not counted.
func Waited(pids []int) (time.Duration, error) {
	var total time.Duration
	for _, pid := range pids {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			return 0, err
		}
		for _, file := range files {
			stat, err := os.ReadFile(file)
			if err != nil {
				continue // the thread has just ended
			}
			var ran, waited, slices int64
			if _, err := fmt.Sscan(string(stat), &ran, &waited, &slices); err != nil {
				return 0, fmt.Errorf("read %s: %w", file, err)
			}
			total += time.Duration(waited)
		}
	}
	return total, nil
}

// parseStat returns utime + stime of a line of /proc/PID/stat (proc_pid_stat(5),
// fields 14 and 15). The second field, the program's name, is in parentheses
// and may hold anything, so fields are counted from the last ")".
func parseStat(stat []byte) (int64, error) {
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return 0, fmt.Errorf("no program name in %q", stat)
	}
	fields := bytes.Fields(stat[i+1:]) // from field 3
	if len(fields) < 13 {
		return 0, fmt.Errorf("only %d fields after the program's name", len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return ticks, nil
}
