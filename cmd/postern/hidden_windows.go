package main

import "golang.org/x/sys/windows"

// hideTyping has a console not show what is typed, until show is called.
func hideTyping(fd int) (show func(), err error) {
	console := windows.Handle(fd)
	var was uint32
	if err := windows.GetConsoleMode(console, &was); err != nil {
		return nil, err
	}
	return func() { _ = windows.SetConsoleMode(console, was) }, windows.SetConsoleMode(console, was&^windows.ENABLE_ECHO_INPUT)
}
