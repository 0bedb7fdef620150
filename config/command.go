package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// How long a password_command may take, and how long after its end it may
// keep its output open through a child.
const (
	commandTimeout = 30 * time.Second
	commandLinger  = time.Second
)

// inherited are the variables that a command gets. The rest of the environment
// is not its business: passwords of other upstreams, the sockets and
// credentials that a service manager hands over. A * stands for
// any end of a name.
var inherited = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_*", "KRB5*",
	// Without these, programs of Windows do not start.
	"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP",
	"USERPROFILE", "USERNAME", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA",
}

// commandEnv is the part of an environment that a command gets: what every
// command does, and what is named for it.
func commandEnv(environ, named []string) []string {
	env := []string{} // not nil, which would be everything
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if slices.Contains(named, name) || slices.ContainsFunc(inherited, func(want string) bool {
			prefix, isPrefix := strings.CutSuffix(want, "*")
			return isPrefix && strings.HasPrefix(name, prefix) || sameVariable(name, want)
		}) {
			env = append(env, entry)
		}
	}
	return env
}

// sameVariable compares names of variables as the system does.
func sameVariable(a, b string) bool {
	if runtime.GOOS == "windows" {
		return strings.EqualFold(a, b)
	}
	return a == b
}

// runSecretCommand runs a command and returns what it printed. named are the
// variables that it gets beside those of every command; it gets no open file
// of this process. Its standard error is dropped, because it can hold a secret.
func runSecretCommand(ctx context.Context, args, named []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = commandLinger
	cmd.Env = commandEnv(os.Environ(), named)
	keepDescriptors()
	out := &cappedBuffer{}
	cmd.Stdout = out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case out.full:
		return "", errors.New("printed more than " + FormatSize(maxSecret))
	case ctx.Err() != nil:
		return "", fmt.Errorf("did not end in time: %w", ctx.Err())
	case errors.As(err, &exit):
		return "", fmt.Errorf("failed: %s; run it by hand to see why", exit.ProcessState)
	case errors.Is(err, exec.ErrWaitDelay):
		return "", errors.New("left a child behind that keeps its output open")
	case err != nil:
		return "", fmt.Errorf("cannot be run: %w", err)
	}
	return out.kept.String(), nil
}

// cappedBuffer keeps up to maxSecret bytes and then refuses.
type cappedBuffer struct {
	kept bytes.Buffer // a field, not embedded: its ReadFrom knows no cap
	full bool
}

func (b *cappedBuffer) Write(p []byte) (int, error) {
	if b.kept.Len()+len(p) > maxSecret {
		b.full = true
		return 0, errors.New("too much output")
	}
	return b.kept.Write(p)
}
