package journal

import (
	"os"

	"golang.org/x/sys/unix"
)

// writeThrough makes a write return when its data lasts: a call less than
// fdatasync after it.
const writeThrough = unix.O_DSYNC

func syncData(*os.File) error { return nil }
