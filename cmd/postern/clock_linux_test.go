package main

import (
	bytesof "encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setEnv has the user as whom a program is to run whose clock can be set.
const setEnv = "POSTERN_TEST_CLOCK"

// clockOf stands between a daemon and the kernel for one question: how long the
// machine has run. To a program that watches its clock, a machine that has run
// longer than it did looks like a clock that was set back.
type clockOf struct {
	ahead atomic.Int64 // nanoseconds that are added to the answer
	asked atomic.Int64 // how often was asked
}

// settable makes daemons of h run as a user without rights, 65534 where we are
// root, with such a clock. A kernel that can't is no failure: nil.
func (h *harness) settable() *clockOf {
	h.t.Helper()
	if !notifies() {
		return nil
	}
	c := &clockOf{}
	h.wrap = func(cmd *exec.Cmd) {
		ours, theirs, err := socketPair()
		if err == nil {
			err = os.Chmod(filepath.Join(h.dir, "notify"), 0o777)
		}
		if err != nil {
			h.t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, setEnv+"="+strconv.Itoa(h.user()))
		cmd.Args = append([]string{os.Args[0], cmd.Path}, cmd.Args[1:]...)
		cmd.Path, cmd.ExtraFiles = os.Args[0], []*os.File{theirs}
		ended := make(chan struct{})
		h.t.Cleanup(func() { h.kill(); ours.Close(); theirs.Close(); <-ended })
		go func() {
			defer close(ended)
			c.answer(ours)
		}()
	}
	return c
}

// user is as whom a daemon runs that is to have no special rights.
func (h *harness) user() int {
	if os.Getuid() != 0 {
		return os.Getuid()
	}
	return 65534
}

// give gives what lies in the harness's folder to a user who runs the daemon.
func (h *harness) give(uid int, names ...string) {
	h.t.Helper()
	program, err := binary()
	for _, dir := range []string{filepath.Dir(program), h.dir} {
		if err == nil {
			err = os.Chmod(dir, 0o755)
		}
	}
	for _, name := range names {
		if err == nil {
			err = filepath.Walk(filepath.Join(h.dir, name), func(path string, _ os.FileInfo, err error) error {
				if err != nil {
					return err
				}
				return os.Lchown(path, uid, uid)
			})
		}
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// notifies tells whether this kernel lets a process answer for it (seccomp(2),
// SECCOMP_RET_USER_NOTIF).
func notifies() bool {
	action := uint32(unix.SECCOMP_RET_USER_NOTIF)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return errno == 0
}

func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	file := os.NewFile(uintptr(fds[0]), "")
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return nil, nil, err
	}
	return c.(*net.UnixConn), os.NewFile(uintptr(fds[1]), ""), nil
}

// beSet carries out what settable has prepared. It returns only where this
// process is not meant.
func beSet() {
	uid, err := strconv.Atoi(os.Getenv(setEnv))
	if err != nil {
		return
	}
	os.Unsetenv(setEnv)
	runtime.LockOSThread()
	fd, err := installClock()
	if err == nil {
		err = unix.Sendmsg(3, []byte{0}, unix.UnixRights(fd), nil, 0)
	}
	unix.Close(fd)
	unix.Close(3)
	if err == nil && uid != os.Getuid() {
		if err = syscall.Setgroups(nil); err == nil {
			err = syscall.Setgid(uid)
		}
		if err == nil {
			err = syscall.Setuid(uid)
		}
	}
	if err == nil {
		err = syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "a clock that can be set:", err)
	os.Exit(1)
}

// installClock has clock_gettime(CLOCK_BOOTTIME) of this thread, and of what it
// executes, answered by whoever has the descriptor.
func installClock() (int, error) {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	is := func(k uint32, otherwise uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jf: otherwise}
	}
	program := []unix.SockFilter{
		load(0), is(unix.SYS_CLOCK_GETTIME, 3), // struct seccomp_data: the number of the call
		load(16), is(unix.CLOCK_BOOTTIME, 1), // and the lower half of its first argument
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, err
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// question is struct seccomp_notif of the kernel, and reply is seccomp_notif_resp.
type question struct {
	id       uint64
	pid      uint32
	flags    uint32
	number   int32
	arch     uint32
	from     uint64
	argument [6]uint64
}

type reply struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// answer answers until the daemon has ended.
func (c *clockOf) answer(from *net.UnixConn) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := from.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return
	}
	defer unix.Close(fds[0])
	for {
		poll := []unix.PollFd{{Fd: int32(fds[0]), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err == unix.EINTR {
			continue
		} else if err != nil || poll[0].Revents&unix.POLLIN == 0 {
			return
		}
		var q question
		if ioctl(fds[0], unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&q)) != 0 {
			continue // whoever asked is gone
		}
		r := reply{id: q.id, errno: -int32(c.tell(&q))}
		ioctl(fds[0], unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
	}
}

// tell writes how long the machine has run to where it was asked for.
func (c *clockOf) tell(q *question) syscall.Errno {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return syscall.EINVAL
	}
	t = unix.NsecToTimespec(t.Nano() + c.ahead.Load())
	var b [16]byte
	bytesof.NativeEndian.PutUint64(b[:8], uint64(t.Sec))
	bytesof.NativeEndian.PutUint64(b[8:], uint64(t.Nsec))
	local := unix.Iovec{Base: &b[0]}
	local.SetLen(len(b))
	_, err := unix.ProcessVMWritev(int(q.pid), []unix.Iovec{local}, []unix.RemoteIovec{{Base: uintptr(q.argument[1]), Len: len(b)}}, 0)
	if err != nil {
		return syscall.EFAULT
	}
	c.asked.Add(1)
	return 0
}

func ioctl(fd int, what uintptr, p unsafe.Pointer) syscall.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), what, uintptr(p))
	return errno
}

// set moves the clock of the machine back, as the daemon sees it.
func (c *clockOf) set(t *testing.T, back time.Duration) {
	t.Helper()
	was := c.asked.Load()
	eventually(t, "the daemon asks for its clock", func() bool { return c.asked.Load() > was })
	c.ahead.Add(int64(back))
}
