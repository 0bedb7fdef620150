package control

import (
	"errors"
	"io/fs"
	"net"

	"postern/relay/peer"
)

// ErrTaken means that a daemon already answers at the control socket.
var ErrTaken = errors.New("another daemon answers there")

// Listen opens the control socket at path; see peer.ListenUnix. ErrTaken:
// somebody answers there. Whoever may be alive there is left alone, too.
func Listen(path string, mode fs.FileMode, group string) (net.Listener, error) {
	l, err := peer.ListenUnix(path, mode, group, "another control.socket")
	switch {
	case errors.Is(err, peer.ErrTaken) && errors.Unwrap(err) == nil:
		return nil, ErrTaken
	case err != nil:
		return nil, err // no typed nil
	}
	return l, nil
}
