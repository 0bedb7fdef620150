// Package eventlog is the one vocabulary of events: what the rooms have to
// tell, as log lines on standard error and as Prometheus metrics.
//
// Each room declares its events as values and tells them to one function; a
// file of this package named after the room has that function. What the process
// itself has to tell are methods of Process. Every event has one fixed
// message and fixed fields, written down in docs/events.md; a test compares
// that page with what the code emits.
//
// The package never decides anything, never writes a secret, and never writes
// a raw control byte: all text passes clean on its way out, whoever wrote it.
package eventlog
