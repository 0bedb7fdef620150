//go:build unix

package admin

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
)

func chgrp(path, group string) error {
	g, err := user.LookupGroup(group)
	if err != nil {
		return fmt.Errorf("the group %q does not exist", group)
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return err
	}
	if err := os.Chown(path, -1, gid); err != nil {
		return fmt.Errorf("give the socket to the group %q: %w", group, err)
	}
	return nil
}
