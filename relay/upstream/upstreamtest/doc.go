// Package upstreamtest is for tests of sessions with an upstream: a Feed that
// records what becomes of its messages, certificates of every kind, an
// upstream that follows a script and misbehaves on command, and one that just
// takes everything.
//
// It is imported by tests only.
package upstreamtest
