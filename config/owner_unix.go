//go:build unix

package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
)

// CheckOwner tells whether this process may act on the file that c was read
// from. What a configuration names is run (password_command), so as root only
// a file of root's counts: whoever owns another could have root run commands.
func (c *Config) CheckOwner() error {
	if c.Path == "" || os.Geteuid() != 0 {
		return nil
	}
	uid, err := ownerOf(c.Path)
	if err != nil {
		return err
	}
	if uid != 0 {
		return fmt.Errorf("%s belongs to user %d, who could have root run commands; give it to root with chown, or run postern as a user of its own", c.Path, uid)
	}
	return nil
}

// checkSecretOwner refuses a secret of somebody who has nothing to do with
// this relay: who is neither root, nor the user that reads it, nor the owner
// of one of ours: the configuration that names it, and the spool, which tells
// root whose relay it is.
func checkSecretOwner(path string, ours ...string) error {
	if strings.HasPrefix(path, "/run/secrets/") {
		return nil
	}
	uid, err := ownerOf(path)
	if err != nil {
		return err
	}
	trusted := []int{0, os.Geteuid()}
	for _, path := range ours {
		if owner, err := ownerOf(path); err == nil {
			trusted = append(trusted, owner)
		}
	}
	if !slices.Contains(trusted, uid) {
		return fmt.Errorf("belongs to user %d, who could read and change it", uid)
	}
	return nil
}

func ownerOf(path string) (uid int, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return int(info.Sys().(*syscall.Stat_t).Uid), nil
}
