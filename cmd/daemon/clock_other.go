//go:build !linux

package daemon

import "time"

// uptime is how long the program has run, by a clock that nobody sets.
func uptime() time.Duration { return time.Since(started) }

var started = time.Now()
