package intake

import (
	"time"

	"postern/relay/origin"
	"postern/spool"
)

// Events is told what happens at the doors. Its methods are called from many
// goroutines at once, on the path of the client, so they must be quick.
// Addresses and names in them are checked, texts are free of control bytes.
type Events interface {
	// ConnectionOpened: a client was admitted.
	ConnectionOpened(p PeerInfo)
	// ConnectionClosed ends what ConnectionOpened began. why is "quit",
	// "client closed", "timeout", "shutdown", "evicted", "errors", …
	ConnectionClosed(p PeerInfo, why string, lasted time.Duration, accepted int)
	// ConnectionRefused: a client was sent away before its first command.
	ConnectionRefused(p PeerInfo, why string)
	// AcceptFailed: the listener could not accept; it tries again.
	AcceptFailed(listener string, err error)
	// Unidentified: the kernel could not tell who, on this machine, the client
	// is, and something in the configuration asks; it counts as nobody.
	Unidentified(p PeerInfo, err error)
	// TLSFailed: a handshake failed; the connection is closed.
	TLSFailed(p PeerInfo, err error)
	// SignedIn and SignInFailed tell of AUTH. user is as the client gave it,
	// with control bytes replaced.
	SignedIn(p PeerInfo, mechanism, user string)
	SignInFailed(p PeerInfo, mechanism, user, why string)
	// MailRefused: a transaction was refused, at MAIL, RCPT or the end of data.
	MailRefused(p PeerInfo, r Refusal)
	// MessageAccepted: the message is durable; the 250 is about to go out.
	MessageAccepted(p PeerInfo, a Accepted)
	// Abused: the connection was closed because of what the client sent.
	Abused(p PeerInfo, what string)
	// Panicked: a bug met the connection, which was closed with 421.
	Panicked(p PeerInfo, value any, stack []byte)
}

// PeerInfo names a client.
type PeerInfo struct {
	Listener string
	Peer     string // "192.0.2.1:4711" or "unix:user"
	Helo     string // empty before EHLO
	User     string // authenticated user, or empty
	UnixUser string
	TLS      string // "TLS1.3", or empty

	origin func() origin.Key // of the connection; nil: nobody asks
}

// Origin is who causes what is told of the client: the user who has signed in,
// or whose connection it is. Finding out may take a question to the kernel.
func (p *PeerInfo) Origin() origin.Key {
	switch {
	case p.User != "":
		return origin.User(p.User)
	case p.origin != nil:
		return p.origin()
	}
	return origin.Key{}
}

// Refusal is a reply of 4xx or 5xx that ended a transaction or a recipient.
type Refusal struct {
	Stage    string // "MAIL", "RCPT" or "DATA"
	Code     int
	Enhanced string
	Text     string // what the client was told
	From     string
	To       string // of RCPT only
	Cause    error  // what the client was not told; may be nil
}

// Accepted is a message that was taken over.
type Accepted struct {
	ID         spool.ID
	From       string
	Recipients int
	Size       int64 // bytes as the client sent them
	MessageID  string
	Took       time.Duration // from MAIL to durable
}

// silent is the default of Events.
type silent struct{}

func (silent) ConnectionOpened(PeerInfo)                             {}
func (silent) ConnectionClosed(PeerInfo, string, time.Duration, int) {}
func (silent) ConnectionRefused(PeerInfo, string)                    {}
func (silent) AcceptFailed(string, error)                            {}
func (silent) Unidentified(PeerInfo, error)                          {}
func (silent) TLSFailed(PeerInfo, error)                             {}
func (silent) SignedIn(PeerInfo, string, string)                     {}
func (silent) SignInFailed(PeerInfo, string, string, string)         {}
func (silent) MailRefused(PeerInfo, Refusal)                         {}
func (silent) MessageAccepted(PeerInfo, Accepted)                    {}
func (silent) Abused(PeerInfo, string)                               {}
func (silent) Panicked(PeerInfo, any, []byte)                        {}
