package main

import (
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is by how much timers of the relay may be late. While a sync
// runs, the runtime's monitor thread looks every 20 µs whether somebody else
// needs the processor that waits for it: with the 50 µs of slack that every
// thread begins with it wakes 13,000 times a second, which is a sixth of the
// CPU that accepting a message costs (docs/performance.md).
const timerSlack = 300 * time.Microsecond

// slackened marks the second start.
const slackened = "POSTERN_TIMER_SLACK"

// slacken gives the relay its timer slack. The monitor thread is there before
// main, and only a thread itself may change its own: so it is set here and the
// program started over, in the same process. Where that can't be, it goes on
// as it is.
//
// With one processor nothing else runs until the monitor has taken it from the
// sync, and haste pays.
func slacken() {
	if os.Getenv(slackened) != "" {
		os.Unsetenv(slackened)
		return
	}
	if !slices.Contains(os.Args[1:], "serve") || runtime.GOMAXPROCS(0) == 1 {
		return
	}
	runtime.LockOSThread() // execve keeps the slack of the thread that calls it
	defer runtime.UnlockOSThread()
	old, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	path, perr := os.Executable()
	if err != nil || perr != nil || time.Duration(old) >= timerSlack {
		return
	}
	if unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) != nil {
		return
	}
	_ = syscall.Exec(path, os.Args, append(os.Environ(), slackened+"=set")) // returns only where it failed
}
