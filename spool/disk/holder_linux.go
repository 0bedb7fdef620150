package disk

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Holder finds the process that has claimed a file. Unlike trying to claim it,
// looking into /proc/locks gets in nobody's way. On other systems nothing is
// found.
func Holder(file string) (pid int, held bool) {
	info, err := os.Stat(file)
	if err != nil {
		return 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0, false
	}
	defer locks.Close()
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 4711 08:01:131073 0 EOF
		f := strings.Fields(lines.Text())
		if len(f) < 6 || f[1] != "FLOCK" || !strings.HasSuffix(f[5], ":"+strconv.FormatUint(st.Ino, 10)) {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil {
			return pid, true
		}
	}
	return 0, false
}
