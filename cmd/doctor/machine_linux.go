package doctor

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// kinds are file systems by their magic number (statfs(2)).
var kinds = map[uint32]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
	unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay",
	unix.NFS_SUPER_MAGIC: "nfs", unix.SMB_SUPER_MAGIC: "cifs", unix.SMB2_SUPER_MAGIC: "cifs", unix.CIFS_SUPER_MAGIC: "cifs",
	unix.V9FS_MAGIC: "9p", unix.FUSE_SUPER_MAGIC: "fuse", unix.F2FS_SUPER_MAGIC: "f2fs",
	0x2fc12fc1: "zfs", unix.REISERFS_SUPER_MAGIC: "reiserfs", unix.MSDOS_SUPER_MAGIC: "vfat",
}

func lookAtDisk(dir string) fileSystem {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fileSystem{Err: err}
	}
	kind := kinds[uint32(st.Type)]
	if kind == "" {
		kind = "a file system of type 0x" + strconv.FormatUint(uint64(uint32(st.Type)), 16)
	}
	return fileSystem{
		Kind: kind, ReadOnly: st.Flags&unix.ST_RDONLY != 0 || kind == "ext4" && stopped(dir),
		Free: int64(st.Bavail) * int64(st.Bsize), Total: int64(st.Blocks) * int64(st.Bsize),
		FreeInodes: int64(st.Ffree), Inodes: int64(st.Files),
	}
}

// maxMounts bounds what is read of the list of mounts, in bytes.
const maxMounts = 4 << 20

// stopped tells whether ext4 takes no more writes after an error, or was shut
// down. Since Linux 6.15 statfs(2) does not say so, and the options of the mount
// do.
func stopped(dir string) bool {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return false
	}
	list, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	defer list.Close()
	return stoppedIn(io.LimitReader(list, maxMounts), unix.Major(st.Dev), unix.Minor(st.Dev))
}

// stoppedIn finds a device in the list of mounts (proc_pid_mountinfo(5)): its
// number is the third field, its options are the last.
func stoppedIn(mounts io.Reader, major, minor uint32) bool {
	device := fmt.Sprintf("%d:%d", major, minor)
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 7 || fields[2] != device {
			continue
		}
		options := strings.Split(fields[len(fields)-1], ",")
		if slices.Contains(options, "emergency_ro") || slices.Contains(options, "shutdown") {
			return true
		}
	}
	return false
}

// lookAtClock asks adjtimex(2), which changes nothing when it is asked for
// nothing.
func lookAtClock() clockState {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return clockState{}
	}
	return clockState{Known: true, Synced: state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0}
}

func userOfProcess(pid int) (int, bool) {
	info, err := os.Stat("/proc/" + strconv.Itoa(pid))
	if err != nil {
		return -1, false
	}
	uid, _ := ownersOf(info)
	return uid, uid >= 0
}

func dataSync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
