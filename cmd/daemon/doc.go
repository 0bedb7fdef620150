// Package daemon is the relay as a running process: it opens the spool,
// starts the capture server, the queue, the control socket and the listeners, in
// that order, introduces them to each other, replaces their configuration,
// and closes everything in the reverse order.
//
// It owns the order of things and the sentences about a start that failed.
// It decides nothing about mail and reads no command line.
//
// Reading order: Run, start, serve, stop; Reload; status.
package daemon
