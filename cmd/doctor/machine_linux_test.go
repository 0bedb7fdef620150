package doctor

import (
	"strings"
	"testing"
)

// An ext4 that takes no more writes is found by its device; another one with the
// word in its name is not.
func TestStopped(t *testing.T) {
	const mounts = `28 1 254:0 / / rw,relatime - ext4 /dev/vda rw
63 43 7:0 / /var/spool rw,relatime shared:1 - ext4 /dev/loop0 rw,abort,emergency_ro
64 43 7:1 / /mnt/emergency_ro rw - ext4 /dev/emergency_ro rw,errors=remount-ro
65 43 7:2 / /mnt/off rw - ext4 /dev/loop2 rw,shutdown

short 7:3
`
	for minor, want := range []bool{true, false, true, false} {
		if got := stoppedIn(strings.NewReader(mounts), 7, uint32(minor)); got != want {
			t.Errorf("7:%d: %v", minor, got)
		}
	}
	if stoppedIn(strings.NewReader(mounts), 254, 0) {
		t.Error("254:0")
	}
}
