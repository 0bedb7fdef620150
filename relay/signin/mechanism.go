package signin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"postern/config"
)

// mechanism is one line of the table.
type mechanism struct {
	name     string           // as registered and as EHLO announces it
	key      config.Mechanism // in the configuration
	strength int              // orders the choice
	// clear means that it is not safe from whoever reads along: they have the
	// password or the token, or can take the connection over.
	clear bool
	// stored means that the upstream needs the password, or a hash of its own
	// of it, which it has of no account of a Windows domain.
	stored bool
	// lacks tells what the request is missing for it; empty: nothing.
	lacks  func(r *Request) string
	client func(ctx context.Context, r *Request) (sasl.Client, error)
	// bearer makes the client of a mechanism that wants a token instead.
	bearer func(r *Request, token string) *bearer
}

// mechanisms is everything that can be signed in with. A mechanism is added
// by a line here and its client.
func mechanisms() []mechanism {
	table := []mechanism{
		{name: "GSSAPI", key: "gssapi", strength: 110, lacks: lacksKerberos, client: gssapiClient("GSSAPI")},
		{name: "GSS-SPNEGO", key: "gss-spnego", strength: 105, lacks: lacksKerberos, client: gssapiClient("GSS-SPNEGO")},
		scramLine("SCRAM-SHA-512", 60, scram.SHA512, true),
		scramLine("SCRAM-SHA-256", 50, scram.SHA256, true),
		scramLine("SCRAM-SHA-1", 40, scram.SHA1, true),
		scramLine("SCRAM-SHA-512", 60, scram.SHA512, false),
		scramLine("SCRAM-SHA-256", 50, scram.SHA256, false),
		scramLine("SCRAM-SHA-1", 40, scram.SHA1, false),
		{name: "EXTERNAL", key: "external", strength: 120, lacks: lacksCertificate, client: externalClient},
		{name: "NTLM", key: "ntlm", strength: 35, clear: true, lacks: lacksWindowsAccount, client: ntlmClient},
		{name: "CRAM-MD5", key: "cram-md5", strength: 30, stored: true, lacks: lacksPassword, client: withPassword(cramClient)},
		{name: "PLAIN", key: "plain", strength: 20, clear: true, lacks: lacksPassword, client: withPassword(plainClient)},
		{name: "LOGIN", key: "login", strength: 10, clear: true, lacks: lacksPassword, client: withPassword(loginClient)},
		{name: "OAUTHBEARER", key: "oauthbearer", strength: 28, clear: true, lacks: lacksToken, bearer: oauthBearer},
		{name: "XOAUTH2", key: "xoauth2", strength: 26, clear: true, lacks: lacksToken, bearer: xoauth2},
	}
	return append(table, integratedLines()...)
}

// choose lists what to sign in with, the best first. An empty list comes with
// an error that says what is missing.
func choose(r *Request) ([]mechanism, error) {
	if len(r.Offered) == 0 {
		return nil, errors.New("the upstream offers no AUTH" + hintTLS(r))
	}
	var found []mechanism
	var reasons []string
	known := false
	for _, m := range mechanisms() {
		if !m.meant(r) {
			continue
		}
		known = true
		reason := m.obstacle(r)
		switch {
		case reason == "":
			found = append(found, m)
		case r.offers(m.name):
			reasons = append(reasons, m.name+" "+reason)
		}
	}
	slices.SortStableFunc(found, func(a, b mechanism) int { return b.strength - a.strength })
	switch {
	case len(found) > 0:
		return found, nil
	case !known:
		return nil, fmt.Errorf("unknown mechanism %q", r.Auth)
	case len(reasons) > 0:
		return nil, errors.New(strings.Join(reasons, "; "))
	}
	return nil, fmt.Errorf("the upstream does not offer %s but %s%s", wanted(r.Auth), r.offered(), hintTLS(r))
}

// meant tells whether the configuration asks for m, be it among others.
func (m *mechanism) meant(r *Request) bool {
	if r.Auth == config.MechanismAuto {
		return m.key != config.MechanismIntegrated
	}
	return m.key == r.Auth
}

// wanted is what the configuration asks for, for people.
func wanted(auth config.Mechanism) string {
	if auth == config.MechanismAuto {
		return "any mechanism that is known here"
	}
	return strings.ToUpper(string(auth))
}

// obstacle tells why m cannot be used; empty: it can.
func (m *mechanism) obstacle(r *Request) string {
	if !r.offers(m.name) {
		return "is not offered"
	}
	if named := strings.EqualFold(string(r.Auth), m.name); m.clear && !r.TLS && !(named && r.AllowClear) {
		return m.exposes() // RFC 4954 §4: it needs protection beneath it
	}
	if m.stored && r.Auth == config.MechanismAuto && r.Domain != "" {
		return "cannot check the password of a Windows domain"
	}
	return m.lacks(r)
}

// exposes tells what would happen without TLS, for people.
func (m *mechanism) exposes() string {
	switch {
	case m.bearer != nil:
		return "would send the token in clear"
	case m.name == "NTLM", m.key == config.MechanismIntegrated:
		return "without TLS lets others sign in with what they read along"
	}
	return "would send the password in clear"
}

func lacksUser(r *Request) string {
	if r.Username == "" {
		return "needs a username"
	}
	return ""
}

// lacksToken: a token is for somebody.
func lacksToken(r *Request) string {
	if r.Token == nil {
		return "needs an oauth table"
	}
	return lacksUser(r)
}

func lacksPassword(r *Request) string {
	if r.Password == nil {
		return "needs a password"
	}
	return lacksUser(r)
}

// withPassword makes a client of a name and a password.
func withPassword(client func(user, password string) (sasl.Client, error)) func(context.Context, *Request) (sasl.Client, error) {
	return func(ctx context.Context, r *Request) (sasl.Client, error) {
		password, err := r.password(ctx)
		if err != nil {
			return nil, err
		}
		return client(r.Username, password)
	}
}

// password reads the secret.
func (r *Request) password(ctx context.Context) (string, error) {
	password, err := r.Password(ctx)
	if err == nil && password == "" {
		err = errors.New("no password is configured")
	}
	return password, err
}

func hintTLS(r *Request) string {
	if r.TLS {
		return ""
	}
	return " (there is no TLS on this connection)"
}

func (r *Request) offers(name string) bool {
	return r.unconnected || slices.ContainsFunc(r.Offered, func(o string) bool { return strings.EqualFold(o, name) })
}

// offered is a bounded list for people; the names come from the wire.
func (r *Request) offered() string {
	return strings.Join(r.Offered[:min(len(r.Offered), 20)], " ")
}
