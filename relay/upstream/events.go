package upstream

import "time"

// Opened tells of a session that is ready for its first message.
type Opened struct {
	Upstream   string
	Remote     string // address that was connected to, "192.0.2.1:587"
	TLSVersion string // "TLS 1.3"; empty: no TLS
	TLSCipher  string
	Verified   bool   // the certificate was checked, by its chain or its pin
	Resumed    bool   // an earlier TLS session was resumed
	Mechanism  string // that signed in; empty: none was wanted
	Pipelining bool
	Duration   time.Duration // from the first packet to here
}

// Closed tells of the end of a session that was Opened.
type Closed struct {
	Upstream string
	Remote   string
	Messages int    // transactions that the upstream answered
	Reason   string // a word or a sentence; no control bytes
	Duration time.Duration
}

// TLSProblem tells that TLS was wanted and is not to be had, or that a
// session goes on in clear because the upstream offers none and
// "opportunistic" allows it.
type TLSProblem struct {
	Upstream string
	Remote   string
	Problem  string
	InClear  bool // the session goes on without TLS
}

// Events observes sessions. Its methods are called concurrently.
type Events interface {
	UpstreamOpened(Opened)
	UpstreamClosed(Closed)
	UpstreamTLSProblem(TLSProblem)
}

type noEvents struct{}

func (noEvents) UpstreamOpened(Opened)         {}
func (noEvents) UpstreamClosed(Closed)         {}
func (noEvents) UpstreamTLSProblem(TLSProblem) {}
