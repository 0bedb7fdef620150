package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"postern/cmd/control"
	"postern/config"
	"postern/config/strict"
	"postern/relay/peer"
	"postern/spool/disk"
)

// Kind says of what sort a failed start is.
type Kind uint8

// The kinds of failed starts.
const (
	Misconfigured Kind = iota // the configuration has to change
	Locked                    // another daemon has the spool or the state folder
	CannotCreate              // a folder, file or socket is missing or unusable
	NotAllowed                // owners, modes, privileges
	Taken                     // an address or a socket is in use
)

// StartError says in a sentence why a start failed, and what to do.
type StartError struct {
	Kind Kind
	Text string
	Hint string // may be empty
	Err  error
}

func (e *StartError) Error() string { return e.Text }

func (e *StartError) Unwrap() error { return e.Err }

// step is where a start failed.
type step uint8

const (
	configFailed step = iota
	spoolFailed
	stateFailed
	captureFailed
	archiveFailed
	controlFailed
	metricsFailed
	listenFailed
)

// startError makes the sentence for an error at one step.
func startError(at step, err error) error {
	e := &StartError{Kind: kindOf(at, err), Text: err.Error(), Err: err}
	var advised *peer.Advised
	switch {
	case at == spoolFailed || errors.As(err, &advised):
		// The sentence ends in what to do.
	case errors.Is(err, control.ErrTaken):
		e.Hint = "Stop that daemon first, or give this one another control.socket."
	case at == controlFailed && errors.Is(err, fs.ErrNotExist):
		e.Hint = "Its folder does not exist: create it for the user that runs postern, or correct control.socket."
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.Hint = "This machine does not have that address, or not yet: correct it, or start postern when the network is up."
	case e.Kind == Taken:
		e.Hint = "Another program listens there: stop it, or choose another address."
	case e.Kind == NotAllowed && at == listenFailed:
		e.Hint = "A port below 1024 needs CAP_NET_BIND_SERVICE, or a socket of systemd; a unix socket needs a folder that postern may write to."
	case e.Kind == NotAllowed:
		e.Hint = "Run postern as the user that owns it, or hand it over with chown."
	case e.Kind == CannotCreate:
		e.Hint = "Create its folder for the user that runs postern, or choose another place."
	}
	return e
}

// checkOwner refuses a configuration that somebody else can change, and folders
// that somebody else can exchange.
func checkOwner(cfg *config.Config) error {
	err := cfg.CheckOwner()
	if err == nil {
		_, err = exchangeable(cfg)
	}
	if err != nil {
		return &StartError{Kind: NotAllowed, Text: err.Error(), Err: err}
	}
	return nil
}

// exchangeable tells of a folder of this relay in whose place somebody else
// can put another, and of the key that names it. Who may use the spool itself,
// and each folder within the other, is judged by whoever opens it.
func exchangeable(cfg *config.Config) (key string, err error) {
	for _, f := range []struct{ key, path string }{
		{"spool.dir", cfg.Spool.Dir},
		{"state_dir", filepath.Join(cfg.StateDir, "oauth")}, // as one of those in it
	} {
		var unsafe *strict.Unsafe
		if err := strict.Above(f.path); errors.As(err, &unsafe) {
			return f.key, fmt.Errorf("%s can be exchanged: %w; `%s`", f.key, err, unsafe.Remedy)
		}
	}
	return "", nil
}

func kindOf(at step, err error) Kind {
	switch {
	case errors.Is(err, disk.ErrLocked), errors.Is(err, disk.ErrLockHeld):
		return Locked
	case errors.Is(err, disk.ErrNotOurs), errors.Is(err, disk.ErrOpenToOthers), errors.Is(err, fs.ErrPermission):
		return NotAllowed
	case at == spoolFailed, at == captureFailed, at == archiveFailed, at == controlFailed && !errors.Is(err, control.ErrTaken),
		errors.Is(err, fs.ErrNotExist):
		return CannotCreate
	case errors.Is(err, control.ErrTaken), errors.Is(err, peer.ErrTaken), errors.Is(err, syscall.EADDRINUSE), errors.Is(err, syscall.EADDRNOTAVAIL),
		at == metricsFailed:
		return Taken
	}
	return Misconfigured
}
