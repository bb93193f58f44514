package local

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// CPUs are those that this process may run on, in order.
func CPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("ask for this process's CPUs: %w", err)
	}
	var cpus []int
	for i := 0; len(cpus) < set.Count(); i++ {
		if set.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	return cpus, nil
}

// Pin has every thread of this process, and those to come, run on some CPUs only.
func Pin(cpus []int) error {
	// Threads begin on their maker's CPUs: after a round that finds none that was
	// not pinned, none can come any more.
	pinned := map[int]bool{}
	for news := true; news; {
		news = false
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list this process's threads: %w", err)
		}
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil || pinned[id] {
				continue
			}
			if err := pinThread(id, cpus); err != nil && err != unix.ESRCH { //nolint:errorlint // it is a bare errno
				return fmt.Errorf("run on CPUs %v: %w", cpus, err)
			}
			pinned[id], news = true, true
		}
	}
	return nil
}

// pinThread has a thread, 0 for the caller's, run on some CPUs only.
func pinThread(id int, cpus []int) error {
	var set unix.CPUSet
	for _, c := range cpus {
		set.Set(c)
	}
	return unix.SchedSetaffinity(id, &set)
}
