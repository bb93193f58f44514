package store

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"

	"cairn/store/boltcheck"
)

// lockWait is how long bbolt waits for its lock on a file. Nobody else has it
// while LOCK is ours, unless a process that did not take LOCK does.
const lockWait = time.Second

// checkBolt verifies the structure of a bbolt file, byte by byte: bbolt itself
// trusts what it maps, falls back to the older of its two meta pages without a
// word, and dies of a bad page in a goroutine of its own.
func checkBolt(path string) error {
	err := boltcheck.File(path)
	if bad, ok := errors.AsType[*boltcheck.Finding](err); ok {
		return damagedf("file "+path, "%v", bad)
	}
	return err
}

// guard runs fn and turns a panic of bbolt, or a fault of the memory that bbolt
// maps its file to, into an error.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("bbolt panicked: %v", p)
		}
	}()
	err = fn()
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return errClosed
	}
	return err
}
