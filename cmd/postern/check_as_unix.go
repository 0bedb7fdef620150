//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"postern/config"
)

// serviceUser is who will run the relay, where root asks: the owner of the
// spool; "" where that is root or not known, and for everybody else.
func (a *app) serviceUser() string {
	place, err := config.Locate(a.config)
	if os.Geteuid() != 0 || err != nil {
		return ""
	}
	info, err := os.Stat(place.SpoolDir)
	if err != nil {
		return ""
	}
	owner := info.Sys().(*syscall.Stat_t)
	if owner.Uid == 0 {
		return ""
	}
	if u, err := user.LookupId(strconv.Itoa(int(owner.Uid))); err == nil {
		return u.Username
	}
	return fmt.Sprintf("%d:%d", owner.Uid, owner.Gid)
}

// checkAs runs the check in a process that has taken the user and the groups,
// so that the kernel answers and nobody has to work out what it would.
func (a *app) checkAs(ctx context.Context, name string) error {
	who, err := identity(name)
	if err != nil {
		return &failure{code: exitData, text: err.Error()}
	}
	if os.Geteuid() != 0 {
		if int(who.Uid) != os.Geteuid() {
			return &failure{code: exitNoPerm, text: "only root can look with the rights of another user", hint: "run `sudo postern check --as " + name + "`"}
		}
		who = nil
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{"check", "--seen-as", name}
	if a.config != "" {
		args = append(args, "--config", a.config)
	}
	if a.json {
		args = append(args, "--json")
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = a.stdout, a.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return errReported{exit.ExitCode()}
	case err != nil:
		return &failure{code: exitNoPerm, text: fmt.Sprintf("%s cannot be run as %s: %v", program, name, err),
			hint: "Install it where that user may run it, or use --file-only."}
	}
	return nil
}

// identity finds a user with its groups, or takes numbers: "65532:0".
func identity(name string) (*syscall.Credential, error) {
	uid, gid, numbers := strings.Cut(name, ":")
	if numbers {
		u, err := strconv.ParseUint(uid, 10, 32)
		g, err2 := strconv.ParseUint(gid, 10, 32)
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("%q is not UID:GID", name)
		}
		return &syscall.Credential{Uid: uint32(u), Gid: uint32(g)}, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("there is no user %q on this machine", name)
		}
	}
	who, err := identity(u.Uid + ":" + u.Gid)
	if err != nil {
		return nil, err
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("the groups of %s: %w", name, err)
	}
	for _, g := range groups {
		if n, err := strconv.ParseUint(g, 10, 32); err == nil {
			who.Groups = append(who.Groups, uint32(n))
		}
	}
	return who, nil
}
