//go:build unix

package main

import "golang.org/x/sys/unix"

// hideTyping has a terminal not show what is typed, until show is called.
func hideTyping(fd int) (show func(), err error) {
	was, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	quiet := *was
	quiet.Lflag &^= unix.ECHO
	return func() { _ = unix.IoctlSetTermios(fd, setTermios, was) }, unix.IoctlSetTermios(fd, setTermios, &quiet)
}
