// Package local runs a real cluster of child processes on loopback.
package local
