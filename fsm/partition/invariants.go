//go:build invariants

package partition

// invariants makes Apply check the whole state after every entry: for tests of
// the cluster, far too slow for anything else.
const invariants = true
