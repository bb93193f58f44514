//go:build !linux

package journal

import "os"

// writeThrough: elsewhere the flag may mean the drive's cache only.
const writeThrough = 0

func syncData(f *os.File) error { return f.Sync() }
