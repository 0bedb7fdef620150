package strict

import (
	"os"
	"path/filepath"
	"syscall"
)

// firstPIDs is the PID namespace in which a machine starts, by the inode that
// the kernel gives to it (PROC_PID_INIT_INO of linux/proc_ns.h).
const firstPIDs = "pid:[4026531836]"

// volume tells whether the folder is the root of a volume of root's that a
// container engine has put into the container of this process. Kubernetes makes
// an emptyDir with mode 0777: who reaches it are the containers of its pod. On
// the machine itself no mount point is one.
func volume(path string, st *syscall.Stat_t) bool {
	pids, err := os.Readlink("/proc/self/ns/pid")
	if err != nil || pids == firstPIDs || st.Uid != 0 {
		return false
	}
	var above syscall.Stat_t
	return syscall.Stat(filepath.Dir(path), &above) == nil && above.Dev != st.Dev
}
