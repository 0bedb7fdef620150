package signin

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"
)

// mechanism is one line of the table.
type mechanism struct {
	name string // as registered and as EHLO announces it
	key  string // in the configuration
	// strength orders the choice of "auto"; zero: only when it is named.
	strength int
	// clear means that whoever reads along has the password.
	clear bool
	// password means that there is nothing to say without one.
	password bool
	client   func(user, password string) (sasl.Client, error)
	// bearer makes the client of a mechanism that wants a token instead.
	bearer func(r *Request, token string) *bearer
}

// mechanisms is everything that can be signed in with. A mechanism is added
// by a line here and its client.
func mechanisms() []mechanism {
	return []mechanism{
		{"SCRAM-SHA-512", "scram-sha-512", 60, false, true, scramClient("SCRAM-SHA-512", scram.SHA512), nil},
		{"SCRAM-SHA-256", "scram-sha-256", 50, false, true, scramClient("SCRAM-SHA-256", scram.SHA256), nil},
		{"SCRAM-SHA-1", "scram-sha-1", 40, false, true, scramClient("SCRAM-SHA-1", scram.SHA1), nil},
		{"CRAM-MD5", "cram-md5", 30, false, true, cramClient, nil},
		{"PLAIN", "plain", 20, true, true, plainClient, nil},
		{"LOGIN", "login", 10, true, true, loginClient, nil},
		{"OAUTHBEARER", "oauthbearer", 0, true, false, nil, oauthBearer},
		{"XOAUTH2", "xoauth2", 0, true, false, nil, xoauth2},
	}
}

// choose lists what to sign in with, the best first. An empty list comes with
// an error that says what is missing.
func choose(r *Request) ([]mechanism, error) {
	if len(r.Offered) == 0 {
		return nil, errors.New("the upstream offers no AUTH" + hintTLS(r))
	}
	if r.Auth != "auto" {
		return named(r)
	}
	var found []mechanism
	for _, m := range mechanisms() {
		// RFC 4954 §4: a plaintext mechanism needs protection beneath it.
		if m.strength > 0 && r.offers(m.name) && (r.TLS || !m.clear) {
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no common mechanism: the upstream offers %s%s", r.offered(), hintTLS(r))
	}
	slices.SortStableFunc(found, func(a, b mechanism) int { return b.strength - a.strength })
	return found, nil
}

func named(r *Request) ([]mechanism, error) {
	for _, m := range mechanisms() {
		if m.key != r.Auth {
			continue
		}
		if !r.offers(m.name) {
			return nil, fmt.Errorf("the upstream does not offer %s but %s%s", m.name, r.offered(), hintTLS(r))
		}
		if m.clear && !r.TLS && !r.AllowClear {
			return nil, fmt.Errorf("%s would send the %s in clear", m.name, m.secret())
		}
		return []mechanism{m}, nil
	}
	return nil, fmt.Errorf("unknown mechanism %q", r.Auth)
}

// secret is what the mechanism shows, for people.
func (m *mechanism) secret() string {
	if m.bearer != nil {
		return "token"
	}
	return "password"
}

func hintTLS(r *Request) string {
	if r.TLS {
		return ""
	}
	return " (there is no TLS on this connection)"
}

func (r *Request) offers(name string) bool {
	return slices.ContainsFunc(r.Offered, func(o string) bool { return strings.EqualFold(o, name) })
}

// offered is a bounded list for people; the names come from the wire.
func (r *Request) offered() string {
	return strings.Join(r.Offered[:min(len(r.Offered), 20)], " ")
}
