//go:build !invariants

package partition

const invariants = false
