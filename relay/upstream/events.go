package upstream

import (
	"time"

	"postern/spool"
)

// Opened tells of a session that is ready for its first message.
type Opened struct {
	Upstream   string
	Remote     string // address that was connected to, "192.0.2.1:587"
	TLSVersion string // "TLS 1.3"; empty: no TLS
	TLSCipher  string
	Verified   bool // the certificate was checked, by its chain or its pin
	// CertificateEnds is when the certificate that the upstream shows does; zero:
	// there is no TLS.
	CertificateEnds time.Time
	Resumed         bool   // an earlier TLS session was resumed
	Mechanism       string // that signed in; empty: none was wanted
	Pipelining      bool
	Duration        time.Duration // from the first packet to here
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
	// Downgrade: "opportunistic" did not fall back behind what is remembered
	// of the upstream.
	Downgrade bool
}

// Fact is what was learnt about the TLS of an upstream.
type Fact string

// The facts.
const (
	LearnedOffer       Fact = "starttls"    // "opportunistic": it offers STARTTLS
	LearnedCertificate Fact = "certificate" // "opportunistic": its certificate is valid
	LearnedWay         Fact = "way"         // "auto": where, and with what TLS, it takes connections
)

// Learned tells of something new that is remembered about an upstream.
type Learned struct {
	Upstream string
	Remote   string // address that was connected to
	Fact     Fact
	Way      string // of LearnedWay: "mail.example.com:465"
	TLS      string // of LearnedWay: "implicit" or "starttls"
	Durable  bool   // false: only this process remembers it
}

// AddressFailed tells that one of several addresses of a host did not come to
// a session, and is tried last for a while.
type AddressFailed struct {
	Upstream string
	Remote   string // "192.0.2.1:587"
	For      time.Duration
	Outcome  spool.Outcome // what it said, or what was missing
}

// Stalled tells that commands sent ahead had no answer in time, or were refused
// as such, and that the upstream gets one after the other for a while.
type Stalled struct {
	Upstream string
	Remote   string
	For      time.Duration
	Outcome  spool.Outcome // of the first command without an answer, or refused
}

// MemoryFailed tells that what is remembered about an upstream could not be
// read, or not be written. Until it can, "opportunistic" takes the worst for
// true.
type MemoryFailed struct {
	Upstream  string
	Operation string // "read" or "write"
	Cause     string
}

// Event is what a Dialer tells of sessions: a pointer to one of the above. It
// is valid until the function that it is given to returns; that function is
// called concurrently.
type Event interface{ event() }

func (*Opened) event()        {}
func (*Closed) event()        {}
func (*TLSProblem) event()    {}
func (*Learned) event()       {}
func (*Stalled) event()       {}
func (*AddressFailed) event() {}
func (*MemoryFailed) event()  {}

func (d *Dialer) tell(e Event) {
	if d.Events != nil {
		d.Events(e)
	}
}
