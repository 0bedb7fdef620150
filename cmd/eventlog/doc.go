// Package eventlog is the one vocabulary of events: what the rooms have to
// tell, as log lines on standard error and as Prometheus metrics.
//
// Each room declares its events as a small interface of its own; a file of
// this package named after the room implements it. Every event has one fixed
// message and fixed fields, written down in docs/events.md; a test compares
// that page with what the code emits.
//
// The package never decides anything, never writes a secret, and never writes
// a raw control byte: all text passes clean on its way out, whoever wrote it.
package eventlog
