package journal

import (
	"golang.org/x/sys/unix"
)

// writeThrough makes a write return when its data lasts: a call less than
// fdatasync after it.
const writeThrough = unix.O_DSYNC

func syncData(File) error { return nil }
