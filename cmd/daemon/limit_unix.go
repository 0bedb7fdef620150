//go:build unix

package daemon

import (
	"math"

	"golang.org/x/sys/unix"
)

// descriptorLimit is how many files this process may have open; 0: not known,
// or as many as it likes. The runtime has raised the soft limit to the hard
// one at the start.
func descriptorLimit() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || uint64(l.Cur) > math.MaxInt32 {
		return 0
	}
	return int(l.Cur)
}
