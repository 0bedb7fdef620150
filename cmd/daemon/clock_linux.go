package daemon

import (
	"time"

	"golang.org/x/sys/unix"
)

// uptime is how long the machine has run; what it slept counts.
func uptime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Since(started)
	}
	return time.Duration(t.Nano())
}

var started = time.Now()
