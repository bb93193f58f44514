//go:build !linux

package local

import "syscall"

// attributes puts a child into a process group of its own, so that Ctrl-C on
// the terminal reaches only this process. Without a parent-death signal, a
// SIGKILL of this process leaves the children running.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
