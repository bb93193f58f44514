//go:build !invariants

package controller

// invariants makes Apply check the whole state after every change.
const invariants = false
