//go:build unix

package command

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// KeepDescriptors keeps every open file but the standard ones from programs
// that are run. Go's own are kept already; those that this process was started
// with, such as the sockets of a service manager, are not.
func KeepDescriptors() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// Apart has cmd, which was made with a context and is not started yet, begin in
// a group of processes of its own, so that kill, and the end of the context, end
// whatever it starts as well, unless that leaves the group as daemons do. At a
// terminal it stays in the group that may read from there, and kill does nothing.
func Apart(cmd *exec.Cmd) (kill func()) {
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR|syscall.O_NOCTTY, 0); err == nil {
		tty.Close()
		return func() {}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	kill = func() {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	}
	cmd.Cancel = func() error {
		kill()
		return os.ErrProcessDone // the group is gone, and Wait says how it ended
	}
	return kill
}
