package directory

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-ldap/ldap/v3"

	"postern/config"
	"postern/relay/signin"
)

// prepare gets all that a sign-in needs from others than the server: a password,
// tickets. What it returns is the exchange with the server. The error is one of
// our side.
func (d *Directory) prepare(ctx context.Context, s *session) (sign func() error, err error) {
	a := &d.set.Account
	switch a.Auth {
	case config.MechanismAnonymous, "":
		return func() error { return nil }, nil // RFC 4511 §4.2.1: nobody is anonymous
	case config.MechanismExternal:
		if s.server.Socket == "" {
			return nil, errors.New("only the directory of a socket sees who we are")
		}
		return func() error { return signedIn(s.conn.ExternalBind()) }, nil
	case config.MechanismSimple:
		password, err := a.Password.Read(ctx)
		if err == nil && password == "" {
			// RFC 4513 §5.1.2: the server would accept it, as nobody's.
			err = errors.New("no password is configured")
		}
		if err == nil && a.Username == "" {
			err = errors.New("no username is configured")
		}
		return func() error { return signedIn(s.conn.Bind(a.Username, password)) }, err
	}
	r := signin.NewRequest(a)
	r.Service, r.Host, r.State, r.TLS = "ldap", s.server.Host, s.state, s.state != nil
	steps, err := signin.Start(ctx, r, "GSSAPI")
	if err != nil {
		return nil, err
	}
	return func() error {
		defer steps.Close()
		if err := s.conn.GSSAPIBind(&security{steps: steps}, "", ""); err != nil {
			return signedIn(err)
		}
		if err := steps.Verified(); err != nil {
			return &broken{err, true}
		}
		return nil
	}, nil
}

// signedIn tells a refusal, after which no other server is asked, from a server
// that is not to be had.
func signedIn(err error) error {
	switch {
	case err == nil:
		return nil
	case ldap.IsErrorAnyOf(err, ldap.ErrorNetwork, ldap.LDAPResultBusy, ldap.LDAPResultUnavailable):
		return &broken{err, true}
	}
	return &refused{err}
}

// security is the mechanism as the library wants it.
type security struct{ steps *signin.Steps }

func (c *security) InitSecContext(_ string, token []byte) ([]byte, bool, error) {
	if token == nil {
		first, err := c.steps.First()
		return first, true, err
	}
	return c.steps.Next(token)
}

func (c *security) InitSecContextWithOptions(target string, token []byte, _ []int) ([]byte, bool, error) {
	return c.InitSecContext(target, token)
}

func (c *security) NegotiateSaslAuth(token []byte, _ string) ([]byte, error) {
	out, _, err := c.steps.Next(token)
	return out, err
}

func (c *security) DeleteSecContext() error { return nil } // Steps are closed by whoever started them

// root reads what the server says of itself: its schema and its base.
func (s *session) root(ctx context.Context, set *config.Directory) error {
	var root *rawEntry
	_, err := s.search(ctx, query{alone: true, filter: "(objectClass=*)", attrs: []string{
		"supportedCapabilities", "defaultNamingContext", "namingContexts", "vendorName", "vendorVersion",
	}}, func(e *rawEntry) bool {
		root = e
		return true
	})
	if err != nil {
		return err
	}
	if root == nil {
		root = &rawEntry{}
	}
	s.vendor = root.first("vendorName")
	s.schema = schemaOf(set.Schema, root)
	if s.base = set.Base; s.base != "" || s.server.global() {
		return nil
	}
	if s.base = root.first("defaultNamingContext"); s.base != "" {
		return nil
	}
	contexts := root.all("namingContexts")
	if len(contexts) == 1 && contexts[0] != "" {
		s.base = contexts[0]
		return nil
	}
	if len(contexts) == 0 {
		return &broken{errors.New("it doesn't tell what it has; set base"), false}
	}
	return &broken{fmt.Errorf("it has several trees, %s; set base to one of them", list(contexts)), false}
}
