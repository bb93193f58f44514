package crashfs

import "golang.org/x/sys/unix"

// throughOf is the part of flags that asks for writing through.
func throughOf(flag int) int { return flag & unix.O_DSYNC }
