package signin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/emersion/go-sasl"
)

// Steps is one exchange that somebody else carries, and whose answers they
// understand: a library of a protocol that wants a security context. Whoever
// starts it closes it. It is for one exchange.
type Steps struct {
	name   string
	client sasl.Client
	rounds int
}

// Start gets what an exchange by a mechanism of Kerberos needs, such as tickets.
// Nothing is said to the other side yet. Where others would let a mechanism go
// without TLS, it does: the context keeps the secrets.
func Start(ctx context.Context, r *Request, name string) (*Steps, error) {
	for _, m := range mechanisms() {
		if m.key != r.Auth || !strings.EqualFold(m.name, name) {
			continue
		}
		if lack := m.lacks(r); lack != "" {
			return nil, fmt.Errorf("%s %s", m.name, lack)
		}
		client, err := m.client(ctx, r)
		if err != nil {
			return nil, err
		}
		return &Steps{name: m.name, client: client}, nil
	}
	return nil, fmt.Errorf("%q doesn't sign in by %s", r.Auth, name)
}

// First is the first message.
func (s *Steps) First() ([]byte, error) {
	_, initial, err := s.client.Start()
	return initial, err
}

// Next answers a message of the other side. more: the context does not stand
// yet, and another one of its messages is due.
func (s *Steps) Next(message []byte) (response []byte, more bool, err error) {
	if s.rounds++; s.rounds > maxRounds {
		return nil, false, fmt.Errorf("%s: more than %d messages", s.name, maxRounds)
	}
	if response, err = s.client.Next(message); err != nil {
		return nil, false, fmt.Errorf("%s: %w", s.name, err)
	}
	g, ok := s.client.(*gssapi)
	return response, ok && !g.stands, nil
}

// Verified is nil once the other side has proven itself.
func (s *Steps) Verified() error {
	v, ok := s.client.(verifier)
	if !ok {
		return errors.New(s.name + " proves nothing")
	}
	return v.verified()
}

// Close forgets keys and tickets.
func (s *Steps) Close() {
	if c, ok := s.client.(io.Closer); ok {
		_ = c.Close()
	}
}
