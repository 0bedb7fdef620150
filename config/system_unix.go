//go:build unix

package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
