package intake

import (
	"time"

	"postern/relay/submission"
)

// Event is what happens at the listeners: a pointer to one of the types below.
// What becomes of messages is told by submission. It is valid until the
// function that it is given to returns; that function is called by many
// goroutines at once and on the path of a client, so it must be quick.
// Addresses and names in it are checked, texts are free of control bytes.
type Event interface{ event() }

// Opened: a client was admitted.
type Opened struct{ Client *submission.Client }

// Closed ends what Opened began.
type Closed struct {
	Client   *submission.Client
	Why      string // "quit", "client closed", "timeout", "shutdown", "evicted", "errors", …
	Lasted   time.Duration
	Accepted int // messages
}

// Refused: a client was sent away before its first command.
type Refused struct {
	Client *submission.Client
	Why    string
}

// AcceptFailed: the listener could not accept; it tries again.
type AcceptFailed struct {
	Listener string
	Err      error
}

// Unidentified: the kernel could not tell who, on this machine, the client is,
// and something in the configuration asks; it counts as nobody.
type Unidentified struct {
	Client *submission.Client
	Err    error
}

// TLSFailed: a handshake failed; the connection is closed.
type TLSFailed struct {
	Client *submission.Client
	Err    error
}

// SignedIn tells of an AUTH that worked, SignInFailed of one that did not. User
// is as the client gave it, with control bytes replaced.
type SignedIn struct {
	Client          *submission.Client
	Mechanism, User string
}

// SignInFailed is the other end of an AUTH; see SignedIn.
type SignInFailed struct {
	Client               *submission.Client
	Mechanism, User, Why string
}

// Abused: the connection was closed because of what the client sent.
type Abused struct {
	Client *submission.Client
	What   string
}

// Panicked: a bug met the connection, which was closed with 421.
type Panicked struct {
	Client *submission.Client
	Value  any
	Stack  []byte
}

func (*Opened) event()       {}
func (*Closed) event()       {}
func (*Refused) event()      {}
func (*AcceptFailed) event() {}
func (*Unidentified) event() {}
func (*TLSFailed) event()    {}
func (*SignedIn) event()     {}
func (*SignInFailed) event() {}
func (*Abused) event()       {}
func (*Panicked) event()     {}
