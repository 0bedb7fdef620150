//go:build !linux

package spool

// Holder finds the process that has claimed a file: on Linux alone.
func Holder(string) (pid int, held bool) { return 0, false }
