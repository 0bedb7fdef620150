//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// disk is a disk whose power can be cut: a file system in a file, behind a
// loop device. The file lies on an XFS of its own, which can clone it at one
// moment: the clone holds what the kernel had handed to the disk by then, and
// nothing that it still kept in memory. Whoever goes on with the clone comes
// back from a power cut.
type disk struct {
	dir     string // where the files are
	fs      string // ext4, xfs or btrfs
	options string // of the mount
}

func (d *disk) outer() string { return filepath.Join(d.dir, "outer") }
func (d *disk) image() string { return filepath.Join(d.outer(), "disk.img") }
func (d *disk) next() string  { return filepath.Join(d.outer(), "next.img") }
func (d *disk) mount() string { return filepath.Join(d.dir, "disk") }

// inOwnNamespace runs this program once more, in a mount namespace that takes
// its mounts with it when it ends.
func inOwnNamespace(ctx context.Context, args []string) (int, error) {
	if os.Geteuid() != 0 {
		return 1, fmt.Errorf("this needs root, to mount a disk of its own")
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	err = cmd.Run()
	if _, ended := err.(*exec.ExitError); ended {
		err = nil // it has said why
	}
	return cmd.ProcessState.ExitCode(), err
}

// inNamespace is set for a program that runs in a mount namespace of its own.
const inNamespace = "POSTERN_PROVE_NAMESPACE"

func command(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// make makes the disk and mounts it.
func (d *disk) make(ctx context.Context) error {
	for _, dir := range []string{d.outer(), d.mount()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	outer := filepath.Join(d.dir, "outer.img")
	if err := sparse(outer, 8<<30); err != nil {
		return err
	}
	if err := command(ctx, "mkfs.xfs", "-q", outer); err != nil {
		return err
	}
	if err := command(ctx, "mount", "-o", "loop", outer, d.outer()); err != nil {
		return err
	}
	if err := sparse(d.image(), 1<<30); err != nil {
		return err
	}
	if err := command(ctx, "mkfs."+d.fs, "-q", d.image()); err != nil {
		return err
	}
	return d.plugIn(ctx)
}

func sparse(path string, size int64) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return os.Truncate(path, size)
}

func (d *disk) plugIn(ctx context.Context) error {
	options := "loop"
	if d.options != "" {
		options += "," + d.options
	}
	return command(ctx, "mount", "-t", d.fs, "-o", options, d.image(), d.mount())
}

// cut is the moment of the power cut.
func (d *disk) cut() error {
	from, err := os.Open(d.image())
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(d.next(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer to.Close()
	return unix.IoctlFileClone(int(to.Fd()), int(from.Fd()))
}

// comeBack goes on with the disk as it was at the cut. Nobody uses it.
func (d *disk) comeBack(ctx context.Context) error {
	if err := command(ctx, "umount", d.mount()); err != nil {
		return err
	}
	if err := os.Rename(d.next(), d.image()); err != nil {
		return err
	}
	return d.plugIn(ctx)
}

// unplug takes the disk away; what is on it goes with its files.
func (d *disk) unplug() {
	for _, dir := range []string{d.mount(), d.outer()} {
		// Lazily: whoever still has a file open keeps it until it ends.
		_ = unix.Unmount(dir, unix.MNT_DETACH)
	}
}
