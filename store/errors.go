package store

import (
	"errors"
	"fmt"
)

// ErrDamaged says that what is on disk is not what was written there. Whatever
// returned it must not be used; its message names the file and the finding.
var ErrDamaged = errors.New("damaged on disk")

// ErrLocked says that another process has the data directory open.
var ErrLocked = errors.New("the data directory is in use")

// ErrForeign says that a directory holds something else than Cairn's data, or
// data of a later format.
var ErrForeign = errors.New("not a data directory this program can use")

// damagedf makes an ErrDamaged about what, which is a file or a part of one.
func damagedf(what, format string, args ...any) error {
	return fmt.Errorf("%s is %w: %s", what, ErrDamaged, fmt.Sprintf(format, args...))
}

// errNotFound is what a raft.StableStore must answer for a missing key: raft
// compares the text and takes any other error for a broken disk.
var errNotFound = errors.New("not found")
