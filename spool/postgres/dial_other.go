//go:build !linux

package postgres

import "syscall"

// endSilent does nothing: keepalives alone end a connection here.
func endSilent(string, string, syscall.RawConn) error { return nil }
