package peer

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// errRefused: nobody listens at a socket any more.
const errRefused = windows.WSAECONNREFUSED

// permit has no modes to set here; the access list of the folder counts.
func permit(_ *os.Root, _ string, _ fs.FileMode, group string) error {
	if group != "" {
		return errors.New("groups of sockets are not known on Windows: remove the key")
	}
	return nil
}

func isPrivate(info fs.FileInfo) bool { return info.IsDir() }
