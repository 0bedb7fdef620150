package api

import "postern/relay/submission"

// Event is what happens at the listeners: a pointer to one of the types below.
// What becomes of messages is told by submission. It is valid until the
// function that it is given to returns; that function is called by many
// goroutines at once, so it must be quick. Texts in it are free of control
// bytes.
type Event interface{ event() }

// Opened: a client was admitted.
type Opened struct{ Client *submission.Client }

// Refused: a client was sent away before its first request.
type Refused struct {
	Client *submission.Client
	Why    string
}

// TLSFailed: a handshake failed; the connection is closed.
type TLSFailed struct {
	Client *submission.Client
	Err    error
}

// SignedIn: a token was right for the first time since it is known; User of the
// client is its name.
type SignedIn struct{ Client *submission.Client }

// SignInFailed: there was no token, or a wrong one.
type SignInFailed struct {
	Client *submission.Client
	Why    string
}

// Abused: a request was refused because of what only an attacker, or a browser
// that one uses, sends.
type Abused struct {
	Client *submission.Client
	What   string
}

// Panicked: a bug met a request, which was answered 500.
type Panicked struct {
	Client *submission.Client
	Value  any
	Stack  []byte
}

// Said is what net/http would write to standard error.
type Said struct {
	Listener string
	Text     string
}

func (*Opened) event()       {}
func (*Refused) event()      {}
func (*TLSFailed) event()    {}
func (*SignedIn) event()     {}
func (*SignInFailed) event() {}
func (*Abused) event()       {}
func (*Panicked) event()     {}
func (*Said) event()         {}
