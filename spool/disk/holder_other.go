//go:build !linux

package disk

// Holder finds the process that has claimed a file: on Linux alone.
func Holder(string) (pid int, held bool) { return 0, false }
