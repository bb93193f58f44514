//go:build !linux

package local

import "errors"

var errCPUs = errors.New("processes can be kept to CPUs only on Linux")

// CPUs are those that this process may run on, in order.
func CPUs() ([]int, error) { return nil, errCPUs }

// Pin has every thread of this process, and those to come, run on some CPUs only.
func Pin([]int) error { return errCPUs }

func pinThread(int, []int) error { return errCPUs }
