//go:build race

package placement

// raced: the detector makes everything ten times slower, and nothing here runs
// beside anything else.
const raced = true
