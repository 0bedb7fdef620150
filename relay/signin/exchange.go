package signin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"

	"github.com/emersion/go-sasl"

	"postern/config"
)

// maxRounds bounds the challenges of one exchange.
const maxRounds = 16

// Meaning is what an answer means for the exchange, whatever the protocol.
type Meaning int

// The meanings. All but the last two are refusals.
const (
	Refusal          Meaning = iota // of which no more is known
	NotAvailable                    // the mechanism was offered, and yet is not to be had
	WrongCredentials                // or some that are not valid any more
	NotNow                          // the other side could not check them
	Challenge
	Accepted
)

// Reply is an answer in the words of the protocol.
type Reply struct {
	Code     int
	Enhanced string // or empty
	Text     string // fit for people
}

// Answer is what the other side says to one step.
type Answer struct {
	Meaning   Meaning
	Challenge []byte // with the meaning Challenge
	Reply     Reply
}

// Conn carries the steps of an exchange in the frames of a protocol, such as
// the AUTH lines of SMTP or the bind requests of LDAP. It must not keep or
// show what it carries. After an error the session is over.
type Conn interface {
	// Begin names a mechanism as it was offered. initial is the first response;
	// nil: there is none, which is something else than an empty one.
	Begin(mechanism string, initial []byte) (Answer, error)
	// Respond answers a challenge.
	Respond(response []byte) (Answer, error)
	// Cancel ends the exchange from our side.
	Cancel()
}

// Request says who signs in, and how: what the account says, and what is known
// of the channel. See NewRequest.
type Request struct {
	Auth     config.Mechanism
	Username string
	Domain   string // of Windows, for NTLM; may be empty
	// Kerberos is for GSSAPI and GSS-SPNEGO; zero: by password.
	Kerberos config.Kerberos
	// Certificate tells that TLS has a client certificate to show.
	Certificate bool
	// Password fetches the secret, at most once for each exchange; nil: there
	// is none.
	Password func(context.Context) (string, error)
	// Token fetches an access token for the mechanisms that want one, other
	// than refused, which the upstream has just turned down; "": any. It is
	// called once or twice for each Do; nil: there are none.
	Token func(ctx context.Context, refused string) (string, error)
	Host  string // that was connected to; for OAUTHBEARER and Kerberos
	Port  int    // likewise
	// Service is what Kerberos calls the protocol: "ldap"; empty: "smtp".
	Service string
	Offered []string // mechanisms that the other side has announced
	TLS     bool     // the connection is encrypted
	// State is what TLS knows of the connection, for channel bindings; nil:
	// nothing is bound.
	State *tls.ConnectionState
	// AllowClear lets a named plaintext mechanism go without TLS. "auto" and
	// "integrated", which name none, never do that.
	AllowClear bool

	unconnected bool // there is no connection yet: see Foresee
}

// NewRequest is what an account says; whoever signs in adds what is known of
// the channel, and Token where the account has OAuth.
func NewRequest(a *config.Account) *Request {
	r := &Request{Auth: a.Auth, Username: a.Username, Domain: a.Domain, Kerberos: a.Kerberos, Certificate: a.CertFile != ""}
	if r.Auth == "" {
		r.Auth = config.MechanismAuto
	}
	if a.Password.IsSet() {
		r.Password = a.Password.Read
	}
	return r
}

// Refused is an answer of the other side that ended the exchange.
type Refused struct {
	Mechanism string
	Meaning   Meaning
	Reply     Reply
	// Detail is what is known beside the reply: what the upstream said about
	// a token, "invalid_token", or what its refusal has to mean. No control
	// characters; may be empty.
	Detail string
}

func (e *Refused) Error() string {
	s := fmt.Sprintf("%s refused: %d %s", e.Mechanism, e.Reply.Code, e.Reply.Text)
	if e.Detail != "" {
		s += " (" + e.Detail + ")"
	}
	return s
}

// verifier is a client that checks the other side too.
type verifier interface {
	// verified returns nil once the other side has proven itself.
	verified() error
}

// suspicious is a client that knows more of a refusal than the upstream says.
type suspicious interface {
	// suspect tells where to look.
	suspect() string
}

// Do signs in and returns the name of the mechanism that it used. The error
// is a *Refused, or what conn returned, or says what is wrong on our
// side; none of them holds a secret.
func Do(ctx context.Context, conn Conn, r *Request) (string, error) {
	candidates, err := choose(r)
	if err != nil {
		return "", err
	}
	quiet := discreet{conn}
	for i, m := range candidates {
		err := m.signIn(ctx, quiet, r)
		var refused *Refused
		if errors.As(err, &refused) && i+1 < len(candidates) {
			if refused.Meaning == NotAvailable {
				continue // the next one obeys the same rules about TLS
			}
		}
		return m.name, err
	}
	return "", errors.New("no mechanism") // candidates is never empty
}

// signIn tries one mechanism.
func (m *mechanism) signIn(ctx context.Context, conn Conn, r *Request) error {
	if m.bearer != nil {
		return withToken(ctx, conn, r, m)
	}
	client, err := m.client(ctx, r)
	if err != nil {
		return err
	}
	if c, ok := client.(io.Closer); ok {
		defer c.Close() // holds keys and tickets, of which nothing is owed to anybody
	}
	return exchange(conn, m.name, client)
}

// exchange is the loop of challenges and responses (RFC 4422 §5).
func exchange(conn Conn, name string, client sasl.Client) error {
	_, initial, err := client.Start()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	answer, err := conn.Begin(name, initial)
	for round := 0; err == nil; round++ {
		switch {
		case answer.Meaning == Accepted:
			// Nothing but a complete exchange is a success.
			if v, ok := client.(verifier); ok {
				if err := v.verified(); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
			return nil
		case answer.Meaning != Challenge:
			refused := &Refused{Mechanism: name, Meaning: answer.Meaning, Reply: answer.Reply}
			if s, ok := client.(suspicious); ok && answer.Meaning == WrongCredentials {
				refused.Detail = s.suspect()
			}
			return refused
		case round == maxRounds:
			conn.Cancel()
			return fmt.Errorf("%s: more than %d challenges", name, maxRounds)
		}
		response, wrong := client.Next(answer.Challenge)
		if wrong != nil {
			conn.Cancel()
			return fmt.Errorf("%s: %w", name, wrong)
		}
		answer, err = conn.Respond(response)
	}
	return err
}
