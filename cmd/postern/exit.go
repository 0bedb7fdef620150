package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"postern/cmd/control"
	"postern/config/wire"
)

// Exit codes of sysexits.h.
const (
	exitOK          = 0
	exitUsage       = 64 // the command line is wrong
	exitData        = 65 // what was given or asked for is wrong: no such message
	exitUnavailable = 69 // no daemon answers, an address is taken, not healthy
	exitSoftware    = 70 // a defect, or a fault that has no code of its own
	exitCantCreate  = 73 // a directory, a file or a socket cannot be made
	exitTempFail    = 75 // try again later: the spool is locked, an order is not on disk yet
	exitNoPerm      = 77 // not allowed
	exitConfig      = 78 // the configuration is wrong

	exitInterrupted = 130 // Ctrl-C, or SIGTERM, as a shell has it
)

// failure ends a command: a sentence for the operator, a hint of what to do,
// and an exit code.
type failure struct {
	code int
	text string
	hint string // may be empty
	err  error  // cause; may be nil; its text is not printed again
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.err }

func usage(format string, args ...any) error {
	return &failure{code: exitUsage, text: fmt.Sprintf(format, args...)}
}

// errReported ends a command that has printed its answer, with code.
type errReported struct{ code int }

func (e errReported) Error() string { return "already reported" }

// report prints err as sentences and returns its exit code.
func report(stderr io.Writer, err error) int {
	var said errReported
	if errors.As(err, &said) {
		return said.code
	}
	f := asFailure(err)
	fmt.Fprintf(stderr, "postern: %s\n", safeLines(f.text))
	if f.hint != "" {
		fmt.Fprintf(stderr, "  %s\n", safeLines(f.hint))
	}
	return f.code
}

// asFailure gives every error its code.
func asFailure(err error) *failure {
	var (
		f       *failure
		gone    *control.NoDaemon
		refused *control.Refused
	)
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, context.Canceled):
		return &failure{code: exitInterrupted, text: "interrupted, and nothing was changed"}
	case errors.As(err, &gone):
		if permission(gone.Err) {
			return &failure{code: exitNoPerm, text: gone.Error()}
		}
		return &failure{code: exitUnavailable, text: gone.Error()}
	case errors.As(err, &refused):
		code := exitSoftware
		switch refused.Status {
		case http.StatusNotFound, http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			code = exitData
		case http.StatusForbidden:
			code = exitNoPerm
		case http.StatusConflict, http.StatusServiceUnavailable:
			code = exitTempFail
		case http.StatusUnprocessableEntity:
			code = exitConfig
		}
		switch refused.Obstacle {
		case control.ObstacleTaken:
			code = exitUnavailable
		case control.ObstacleMissing:
			code = exitCantCreate
		case control.ObstacleDenied:
			code = exitNoPerm
		}
		return &failure{code: code, text: refused.Error(), hint: refused.Hint}
	}
	return &failure{code: exitSoftware, text: err.Error()}
}

// safe returns foreign text as it may be shown on a terminal.
func safe(s string) string { return wire.Line(s) }

// safeLines is foreign text of several lines, of which the further are indented.
func safeLines(s string) string { return strings.ReplaceAll(wire.EachLine(s), "\n", "\n  ") }

// permission reports whether err means that the operator is not allowed.
func permission(err error) bool { return errors.Is(err, fs.ErrPermission) }
