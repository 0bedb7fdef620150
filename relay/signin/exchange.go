package signin

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/emersion/go-sasl"
)

const (
	// maxInitialLine is the longest AUTH command with an initial response, in
	// bytes with CRLF. RFC 4954 §4 leaves it at the 512 of RFC 5321
	// §4.5.3.1.4, and servers do break off beyond it.
	maxInitialLine = 512
	// maxResponseLine bounds every other line: RFC 4954 §4.
	maxResponseLine = 12288
	// maxRounds bounds the challenges of one exchange.
	maxRounds = 16
)

// Reply is one answer of the upstream.
type Reply struct {
	Code     int
	Enhanced string // or empty
	Text     string // fit for people
	Raw      string // of the last line, without its code: where a challenge stands
}

// Conn is what the exchange needs of a session.
type Conn interface {
	// Exchange sends a line, to which it adds CRLF, and returns the answer.
	// It must not keep or show the line. After an error the session is over.
	Exchange(line []byte) (Reply, error)
}

// Request says who signs in, and how.
type Request struct {
	Auth     string // "auto" or a key of the table
	Username string
	Domain   string // of Windows, for NTLM; may be empty
	// Kerberos is for GSSAPI and GSS-SPNEGO; zero: by password.
	Kerberos Kerberos
	// Certificate tells that TLS has a client certificate to show.
	Certificate bool
	// Password fetches the secret, at most once for each exchange; nil: there
	// is none.
	Password func(context.Context) (string, error)
	// Token fetches an access token for the mechanisms that want one, other
	// than refused, which the upstream has just turned down; "": any. It is
	// called once or twice for each Do; nil: there are none.
	Token   func(ctx context.Context, refused string) (string, error)
	Host    string   // that was connected to; for OAUTHBEARER and Kerberos
	Port    int      // likewise
	Offered []string // what EHLO announced behind AUTH
	TLS     bool     // the connection is encrypted
	// State is what TLS knows of the connection, for channel bindings; nil:
	// nothing is bound.
	State *tls.ConnectionState
	// AllowClear lets a named plaintext mechanism go without TLS. "auto" and
	// "integrated", which name none, never do that.
	AllowClear bool

	unconnected bool // there is no connection yet: see Foresee
}

// Refused is an answer of the upstream that ended the exchange.
type Refused struct {
	Mechanism string
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
// is a *Refused, or what Exchange returned, or says what is wrong on our
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
			// RFC 4954 §6: announced, and yet not to be had. The next one
			// obeys the same rules about TLS.
			if c := refused.Reply.Code; c == 504 || c == 534 {
				continue
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

// exchange is the loop of RFC 4954 §4.
func exchange(conn Conn, name string, client sasl.Client) error {
	_, initial, err := client.Start()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	reply, pending, err := begin(conn, name, initial)
	for round := 0; err == nil; round++ {
		switch {
		case reply.Code == 235:
			return conclude(name, client, pending)
		case reply.Code != 334:
			refused := &Refused{Mechanism: name, Reply: reply}
			if s, ok := client.(suspicious); ok && reply.Code == 535 {
				refused.Detail = s.suspect()
			}
			return refused
		case round == maxRounds:
			return cancel(conn, fmt.Errorf("%s: more than %d challenges", name, maxRounds))
		}
		response := initial
		if !pending {
			if response, err = client.Next(challenge(reply.Raw)); err != nil {
				return cancel(conn, fmt.Errorf("%s: %w", name, err))
			}
		}
		pending = false
		line := base64.StdEncoding.AppendEncode(nil, response)
		if len(line)+2 > maxResponseLine {
			return cancel(conn, fmt.Errorf("%s: response of %d bytes is too long", name, len(line)))
		}
		reply, err = conn.Exchange(line)
	}
	return err
}

// begin sends AUTH. pending tells that the initial response still has to go
// out, in answer to the first, empty challenge.
func begin(conn Conn, name string, initial []byte) (reply Reply, pending bool, err error) {
	line := append([]byte("AUTH "), name...)
	if initial != nil {
		full := append(line[:len(line):len(line)], ' ')
		if len(initial) == 0 {
			full = append(full, '=') // RFC 4954 §4: an empty one is a "="
		}
		full = base64.StdEncoding.AppendEncode(full, initial)
		if pending = len(full)+2 > maxInitialLine; !pending {
			line = full
		}
	}
	reply, err = conn.Exchange(line)
	return reply, pending, err
}

// conclude is reached by a 235. Nothing but a complete exchange makes it a
// success.
func conclude(name string, client sasl.Client, pending bool) error {
	if pending {
		return fmt.Errorf("%s: the upstream accepted before it was told who we are", name)
	}
	if v, ok := client.(verifier); ok {
		if err := v.verified(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// cancel ends an exchange from our side (RFC 4954 §4) and returns cause.
func cancel(conn Conn, cause error) error {
	_, _ = conn.Exchange([]byte("*")) // whatever comes: cause is what counts
	return cause
}

// challenge decodes the text of a 334. Text that is not base64, such as
// "334 NTLM supported", counts as an empty challenge: it is legal where the
// mechanism expects none, and a mechanism that does expect one refuses it.
func challenge(text string) []byte {
	text = strings.TrimSpace(text)
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		decoded, err = base64.RawStdEncoding.DecodeString(text)
	}
	if err != nil {
		return []byte{}
	}
	return decoded
}
