package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"postern/cmd/control"
	"postern/relay/peer"
	"postern/spool/disk"
)

func TestStartErrorsAreSentencesWithAKind(t *testing.T) {
	inUse := &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	denied := &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", syscall.EACCES)}
	for _, c := range []struct {
		name string
		at   step
		err  error
		kind Kind
		hint string
	}{
		{"locked spool", spoolFailed, &disk.StartError{Dir: "/s", Kind: disk.ErrLocked}, Locked, ""},
		{"missing spool", spoolFailed, &disk.StartError{Dir: "/s", Kind: disk.ErrMissing}, CannotCreate, ""},
		{"foreign spool", spoolFailed, &disk.StartError{Dir: "/s", Kind: disk.ErrNotOurs}, NotAllowed, ""},
		{"open spool", spoolFailed, &disk.StartError{Dir: "/s", Kind: disk.ErrOpenToOthers}, NotAllowed, ""},
		{"full disk", spoolFailed, &disk.StartError{Dir: "/s", Kind: disk.ErrDiskFull}, CannotCreate, ""},
		{"second daemon", controlFailed, fmt.Errorf("x: %w", control.ErrTaken), Taken, "another control.socket"},
		{"no folder for the socket", controlFailed, &fs.PathError{Op: "bind", Path: "/run/x", Err: syscall.ENOENT}, CannotCreate, "correct control.socket"},
		{"socket not allowed", controlFailed, &fs.PathError{Op: "bind", Path: "/run/x", Err: syscall.EACCES}, NotAllowed, "chown"},
		{"port in use", listenFailed, inUse, Taken, "choose another address"},
		{"address of another machine", listenFailed, &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)}, Taken, "does not have that address"},
		{"low port", listenFailed, denied, NotAllowed, "CAP_NET_BIND_SERVICE"},
		{"bad certificate", listenFailed, &peer.Advised{Err: errors.New("listener x: certificate: no PEM"), Remedy: "check cert_file"}, Misconfigured, ""},
		{"scrape port in use", metricsFailed, inUse, Taken, "choose another address"},
		{"no Maildir", captureFailed, &fs.PathError{Op: "mkdir", Path: "/m", Err: syscall.EROFS}, CannotCreate, "another place"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var e *StartError
			if err := startError(c.at, c.err); !errors.As(err, &e) || e.Kind != c.kind || !errors.Is(err, c.err) {
				t.Fatalf("%+v; want kind %d", e, c.kind)
			}
			if c.hint == "" && e.Hint != "" || !strings.Contains(e.Hint, c.hint) {
				t.Errorf("hint %q; want %q", e.Hint, c.hint)
			}
		})
	}
}
