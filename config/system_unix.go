//go:build unix

package config

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"postern/config/strict"
)

// CheckOwner tells whether this process may act on the files that c was read
// from, and on those that may come to them: nobody but root and the user of this process can change it, or put
// another in its place in a folder above. What a configuration names is run
// (password_command), so whoever can change it can run commands as that user.
func (c *Config) CheckOwner() error {
	if c.Path == "" {
		return nil
	}
	var err error
	for _, path := range c.Files {
		if err == nil {
			err = strict.File(path)
		}
	}
	if err == nil && c.folder != "" {
		err = strict.Above(filepath.Join(c.folder, "any.toml"))
	}
	var unsafe *strict.Unsafe
	if errors.As(err, &unsafe) {
		who := "the user that runs postern"
		if os.Geteuid() == 0 {
			who = "root"
		}
		return fmt.Errorf("%w; whoever can do so could have %s run commands: `%s`", err, who, unsafe.Remedy)
	}
	return err
}

// checkSecretOwner refuses a secret of somebody who has nothing to do with
// this relay: who is neither root, nor the user that reads it, nor the owner
// of one of ours: the configuration that names it, and the spool, which tells
// root whose relay it is.
func checkSecretOwner(path string, ours ...string) error {
	if strings.HasPrefix(path, "/run/secrets/") {
		return nil
	}
	trusted := []int{0, os.Geteuid()}
	for _, path := range ours {
		if owner, err := ownerOf(path); err == nil {
			trusted = append(trusted, owner)
		}
	}
	uid, err := ownerOf(path)
	if err != nil {
		return err
	}
	if !slices.Contains(trusted, uid) {
		return fmt.Errorf("belongs to user %d, who could read and change it", uid)
	}
	err = strict.File(path, trusted...)
	var unsafe *strict.Unsafe
	if errors.As(err, &unsafe) {
		return fmt.Errorf("can be exchanged: %w; `%s`", err, unsafe.Remedy)
	}
	return err
}

func ownerOf(path string) (uid int, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return int(info.Sys().(*syscall.Stat_t).Uid), nil
}

// noWait opens a pipe whose other end nobody has.
const noWait = syscall.O_NONBLOCK

// keepDescriptors keeps every open file but the standard ones from programs
// that are run. Go's own are kept already; those that this process was started
// with, such as the sockets of a service manager, are not.
func keepDescriptors() {
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

// apart starts a command in a group of processes of its own, so that kill ends
// whatever it starts as well, unless that leaves the group as daemons do. At a
// terminal it stays in the group that may read from there.
func apart(cmd *exec.Cmd) (kill func()) {
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
