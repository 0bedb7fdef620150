package intake

import (
	"time"

	"postern/relay/submission"
)

// Events is told what happens at the listeners; what becomes of messages is
// told by submission. Its methods are called from many
// goroutines at once, on the path of the client, so they must be quick.
// Addresses and names in them are checked, texts are free of control bytes.
type Events interface {
	// ConnectionOpened: a client was admitted.
	ConnectionOpened(c submission.Client)
	// ConnectionClosed ends what ConnectionOpened began. why is "quit",
	// "client closed", "timeout", "shutdown", "evicted", "errors", …
	ConnectionClosed(c submission.Client, why string, lasted time.Duration, accepted int)
	// ConnectionRefused: a client was sent away before its first command.
	ConnectionRefused(c submission.Client, why string)
	// AcceptFailed: the listener could not accept; it tries again.
	AcceptFailed(listener string, err error)
	// Unidentified: the kernel could not tell who, on this machine, the client
	// is, and something in the configuration asks; it counts as nobody.
	Unidentified(c submission.Client, err error)
	// TLSFailed: a handshake failed; the connection is closed.
	TLSFailed(c submission.Client, err error)
	// SignedIn and SignInFailed tell of AUTH. user is as the client gave it,
	// with control bytes replaced.
	SignedIn(c submission.Client, mechanism, user string)
	SignInFailed(c submission.Client, mechanism, user, why string)
	// Abused: the connection was closed because of what the client sent.
	Abused(c submission.Client, what string)
	// Panicked: a bug met the connection, which was closed with 421.
	Panicked(c submission.Client, value any, stack []byte)
}

// silent is the default of Events.
type silent struct{}

func (silent) ConnectionOpened(submission.Client)                             {}
func (silent) ConnectionClosed(submission.Client, string, time.Duration, int) {}
func (silent) ConnectionRefused(submission.Client, string)                    {}
func (silent) AcceptFailed(string, error)                                     {}
func (silent) Unidentified(submission.Client, error)                          {}
func (silent) TLSFailed(submission.Client, error)                             {}
func (silent) SignedIn(submission.Client, string, string)                     {}
func (silent) SignInFailed(submission.Client, string, string, string)         {}
func (silent) Abused(submission.Client, string)                               {}
func (silent) Panicked(submission.Client, any, []byte)                        {}
