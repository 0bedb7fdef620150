package main

import (
	"fmt"

	"golang.org/x/term"
)

// hidden asks for a secret on the terminal fd. What is typed is not shown, from
// before the question stands there: it may be typed, or pasted, at once.
func (a *app) hidden(fd int, question string) (string, error) {
	text, err := a.typed(fd, func() (string, error) {
		show, err := hideTyping(fd)
		if err != nil {
			return "", err
		}
		defer show()
		fmt.Fprint(a.stderr, question)
		b, err := term.ReadPassword(fd)
		return string(b), err
	})
	fmt.Fprintln(a.stderr)
	return text, err
}
