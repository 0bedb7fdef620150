package submission

import (
	"crypto/sha256"
	"crypto/tls"
	"net/netip"
	"time"

	"postern/config"
	"postern/relay/origin"
	"postern/relay/route"
	"postern/spool"
)

// Client is who hands in a message, as far as its way in knows. What is text
// in it was checked, and holds no control bytes.
type Client struct {
	Listener string     // configured name of the way in, for routes, rates and events
	Peer     string     // "192.0.2.1:4711" or "unix:user"
	Addr     netip.Addr // zero: it did not come over a network
	Helo     string     // what it calls itself; a domain or an address literal
	User     string     // who has signed in, or empty
	UnixUser string     // user of this machine, or empty
	// Senders are rules about whom it may send as that go with how it has signed
	// in, beside those of the policy; nil: none.
	Senders *route.Senders
	// Token: User is the name of a token, and no user of the same name.
	Token bool
	TLS   *tls.ConnectionState
	// Connection is whose connection it is. To find out may take a question to
	// the kernel. nil: nobody's in particular.
	Connection func() origin.Key
	Settings   *Settings // of its way in
}

// Settings are what one way in lets a message be. They are never changed.
type Settings struct {
	MaxSize       int64         // bytes of content
	MaxRecipients int           // of one message
	MaxPriority   int           // what a client asks for above becomes this
	Rates         []config.Rate // of messages and of recipients, for each origin
	RequireUser   bool          // only who has signed in may send
	Repair        bool          // mend headers that other servers would refuse or misread
}

// SettingsOf are those of a listener.
func SettingsOf(l *config.Listener) *Settings {
	return &Settings{
		MaxSize: l.MaxMessageSize, MaxRecipients: l.MaxRecipients, MaxPriority: l.MaxPriority,
		Rates: l.Rate, RequireUser: l.RequireAuth, Repair: l.RepairHeaders,
	}
}

// Envelope is what a client says of a message beside its recipients. Addresses
// and texts are in wire form, as spool.Envelope has them.
type Envelope struct {
	From       string // reverse-path; empty is the null reverse-path <>
	Protocol   string // of the Received field (RFC 3848): "ESMTPSA"
	Body       spool.BodyType
	SMTPUTF8   bool
	RequireTLS bool
	Return     string // "FULL", "HDRS" or empty
	EnvelopeID string
	DeliverBy  *spool.DeliverBy
	Priority   int // -9 to 9
	// NotBefore is when delivery begins, at most MaxDelay from now; zero, or over:
	// at once.
	NotBefore time.Time
	// Key is one that the client chose, of 1 to MaxKey printable ASCII
	// characters, so that the message is taken once however often it is handed
	// in; empty: none, unless the header has a KeyField. What differs in two
	// messages with the same key is not looked at, unless there is a Digest.
	Key string
	// Digest, where it isn't zero, is that of what the client has handed in:
	// another one with the same key is refused (ErrKeyUsed), and so is a second
	// one before the first has ended (ErrKeyBusy).
	Digest [sha256.Size]byte
	// Loose: Digest tells the kind of request alone, so that a second one may come
	// before the first has ended; one of them is taken.
	Loose bool
	// Name is what the sender is called where the message lacks a From; empty:
	// as this machine knows its user.
	Name string
	// Remark and Written go into what is told of the message (Accepted); Remark
	// is text that may be shown.
	Remark  string
	Written time.Time
}

// MaxDelay is how far ahead a message may be handed in.
const MaxDelay = 30 * 24 * time.Hour

var (
	tooFar         = refuse(501, 5, 4, "the time to send it is more than 30 days ahead")
	returnedUnsent = refuse(501, 5, 4, "the time to send it is not before its deadline")
)

// delay says what is wrong with the time of an envelope.
func (e *Envelope) delay(now time.Time) *Refusal {
	switch {
	case e.NotBefore.IsZero():
	case e.NotBefore.Sub(now) > MaxDelay:
		return tooFar
	case e.DeliverBy != nil && e.NotBefore.After(now) && !e.NotBefore.Before(e.DeliverBy.Deadline):
		return returnedUnsent
	}
	return nil
}

// Recipient is one forward-path, and what its sender wants to be told of it.
type Recipient struct {
	Address string
	Notify  spool.Notify
	ORcpt   string // "rfc822;xtext", or empty
}

// Origin is who causes what is told of the client: the user who has signed in,
// or whose connection it is.
func (c *Client) Origin() origin.Key {
	if c.User != "" {
		return origin.User(c.User)
	}
	return c.connection()
}

func (c *Client) connection() origin.Key {
	if c.Connection == nil {
		return origin.Key{}
	}
	return c.Connection()
}

// TLSVersion is "TLS 1.3" and the like, or empty.
func (c *Client) TLSVersion() string {
	if c.TLS == nil {
		return ""
	}
	return tls.VersionName(c.TLS.Version)
}

// query is what routes and senders are asked about the client.
func (c *Client) query(from, to string) route.Query {
	return route.Query{From: from, To: to, Listener: c.Listener, User: c.User, UnixUser: c.UnixUser}
}
