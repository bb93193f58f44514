//go:build !linux

package journal

// writeThrough: elsewhere the flag may mean the drive's cache only.
const writeThrough = 0

func syncData(f File) error { return f.Sync() }
