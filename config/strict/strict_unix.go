//go:build unix

package strict

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// maxLinks is how many links are followed, as by the kernel.
const maxLinks = 40

// Above looks at every folder and link above path, and at path itself where it
// is a link. Each has to belong to root, to this user, or to one of trusted
// (user IDs), and each folder may be written to by its owner alone. Exceptions:
// a folder with the sticky bit, such as /tmp, in which nobody can exchange what
// belongs to another; a folder of a group of this user alone, or with the
// setgid bit and a group of this process, which is how Kubernetes gives a
// volume to a pod; and within a container the root of a volume, whatever its
// mode. The error is an *Unsafe. What cannot be looked at, or is not
// there, is left to whoever opens it.
func Above(path string, trusted ...int) error {
	_, err := walk(path, trusted)
	return err
}

// File is Above, and looks at what is there as well: it may be a link to a
// file of a trusted user that only its owner can write to.
func File(path string, trusted ...int) error {
	found, err := walk(path, trusted)
	if err != nil || found == "" {
		return err
	}
	info, err := os.Lstat(found)
	if err != nil {
		return nil
	}
	return judge(found, info, trusted, false)
}

// Folder is why this process makes no files in a folder that it has opened as
// path: it runs as root, the folder is root's, and somebody else may have led the
// path there, to have a file of root's made, such as one of cron. Files in a
// folder of another user give nobody more than that user has. The error is an
// *Unsafe.
func Folder(opened *os.Root, path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := opened.Stat(".")
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 0 {
		return nil
	}
	return Above(path)
}

// walk goes from the root to path and returns where that leads to; "" where
// something is missing.
func walk(path string, trusted []int) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", nil
	}
	at, rest, links := "/", strings.Split(strings.Trim(path, "/"), "/"), 0
	for {
		info, err := os.Lstat(at)
		if err != nil {
			return "", nil
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			if links++; links > maxLinks {
				return "", nil // the kernel does not get there either
			}
			if err := judge(at, info, trusted, false); err != nil {
				return "", err
			}
			target, err := os.Readlink(at)
			if err != nil {
				return "", nil
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(filepath.Dir(at), target)
			}
			at, rest = "/", append(strings.Split(strings.Trim(filepath.Clean(target), "/"), "/"), rest...)
			continue
		}
		for len(rest) > 0 && rest[0] == "" {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			return at, nil
		}
		if err := judge(at, info, trusted, true); err != nil {
			return "", err
		}
		at, rest = filepath.Join(at, rest[0]), rest[1:]
	}
}

// judge looks at one thing; above: it is a folder above what is asked for.
func judge(path string, info fs.FileInfo, trusted []int, above bool) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	uid := int(st.Uid)
	if uid != 0 && uid != os.Geteuid() && !slices.Contains(trusted, uid) {
		remedy := "chown root " + path
		if info.Mode()&fs.ModeSymlink != 0 {
			remedy = "chown -h root " + path
		}
		return &Unsafe{Path: path, Text: fmt.Sprintf("belongs to user %d, who could change what is read there", uid), Remedy: remedy}
	}
	mode := info.Mode()
	if mode&fs.ModeSymlink != 0 || above && (mode&fs.ModeSticky != 0 || volume(path, st)) {
		return nil
	}
	if mode.Perm()&0o022 == 0 || mode.Perm()&0o002 == 0 && (ownGroup(st.Gid) || above && mode&fs.ModeSetgid != 0 && inGroup(st.Gid)) {
		return nil
	}
	return &Unsafe{Path: path, Text: fmt.Sprintf("has mode %04o: others can change what is read there", mode.Perm()), Remedy: "chmod go-w " + path}
}

// ownGroup tells whether a group is that of this user alone, as systems make
// one for each user: it has the user's name. Root has none: whoever is in the
// group of root's is not root.
func ownGroup(gid uint32) bool {
	uid := os.Geteuid()
	if uid == 0 || int(gid) != os.Getegid() {
		return false
	}
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return false
	}
	g, err := user.LookupGroupId(strconv.Itoa(int(gid)))
	return err == nil && g.Name == u.Username
}

func inGroup(gid uint32) bool {
	groups, _ := os.Getgroups()
	return slices.Contains(append(groups, os.Getegid()), int(gid))
}

// firstPIDs is the PID namespace in which a machine starts, by the inode that
// the kernel gives to it (PROC_PID_INIT_INO of linux/proc_ns.h).
const firstPIDs = "pid:[4026531836]"

// volume tells whether the folder is the root of a volume of root's that a
// container engine has put into the container of this process. Kubernetes makes
// an emptyDir with mode 0777: who reaches it are the containers of its pod. On
// the machine itself no mount point is one. Containers are Linux: other systems
// have no such PID namespace.
func volume(path string, st *syscall.Stat_t) bool {
	pids, err := os.Readlink("/proc/self/ns/pid")
	if err != nil || pids == firstPIDs || st.Uid != 0 {
		return false
	}
	var above syscall.Stat_t
	return syscall.Stat(filepath.Dir(path), &above) == nil && above.Dev != st.Dev
}
